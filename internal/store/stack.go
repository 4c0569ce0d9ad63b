package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"ingero/internal/event"
)

// frameRow is a frame as it is stored, with the keys of older recordings.
type frameRow struct {
	IP      string `json:"i,omitempty"`
	Symbol  string `json:"s,omitempty"`
	File    string `json:"f,omitempty"`
	Source  string `json:"src,omitempty"`
	Line    int    `json:"ln,omitempty"`
	Inlined bool   `json:"in,omitempty"`
	PyFile  string `json:"pf,omitempty"`
	PyFunc  string `json:"pfn,omitempty"`
	PyLine  int    `json:"pl,omitempty"`
}

// Stack records a call stack.
func (w *Writer) Stack(s event.Stack) { w.stacks[s.Hash] = s }

// stackBytes is about what the pending stacks take.
func (w *Writer) stackBytes() (n int64) {
	for _, s := range w.stacks {
		n += int64(len(s.Frames))*96 + rowBytes
	}
	return n
}

// writeStacks stores the pending stacks.
func (w *Writer) writeStacks(ctx context.Context) error {
	for hash, s := range w.stacks {
		ips := make([]string, len(s.IPs))
		for i, ip := range s.IPs {
			ips[i] = hex(ip)
		}
		frames := make([]frameRow, len(s.Frames))
		for i, f := range s.Frames {
			frames[i] = frameRow{"", f.Symbol, f.File, f.Source, f.Line, f.Inlined, f.PyFile, f.PyFunc, f.PyLine}
			if f.IP != 0 {
				frames[i].IP = hex(f.IP)
			}
		}
		a, err := json.Marshal(ips)
		if err != nil {
			return err
		}
		b, err := json.Marshal(frames)
		if err != nil {
			return err
		}
		if _, err := w.exec(ctx, `INSERT INTO stack_traces (hash, ips, frames, pid, seen_at) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET frames = excluded.frames`, int64(hash), string(a), string(b), s.PID, w.opts.Now().Unix()); err != nil {
			return err
		}
	}
	return nil
}

func hex(v uint64) string { return "0x" + strconv.FormatUint(v, 16) }

// dropStacks removes stacks that are older than a second (unix), unless a
// process that lived after it may have had them. It returns about how many
// bytes that freed.
func (w *Writer) dropStacks(ctx context.Context, before int64) (freed int64, err error) {
	const old = ` FROM stack_traces WHERE seen_at < ?1 AND pid NOT IN
		(SELECT pid FROM processes WHERE ended = 0 OR ended >= ?1 * 1000000000)`
	var n sql.NullInt64
	read, err := w.prepare(ctx, "SELECT sum(length(frames) + length(ips))"+old)
	if err != nil {
		return 0, err
	}
	if err := read.QueryRowContext(ctx, before).Scan(&n); err != nil || !n.Valid {
		return 0, err
	}
	_, err = w.exec(ctx, "DELETE"+old, before)
	return n.Int64, err
}

// Stacks returns the frames of stacks, innermost first. Those that are not
// known are left out.
func (r *Reader) Stacks(ctx context.Context, hashes []uint64) (map[uint64][]event.Frame, error) {
	all := map[uint64][]event.Frame{}
	if len(hashes) == 0 {
		return all, nil
	}
	err := r.do(ctx, func(ctx context.Context, c *readConn) error {
		has, err := tableColumns(ctx, c, "stack_traces")
		if err != nil || !has["hash"] || !has["ips"] || !has["frames"] {
			return err
		}
		read, err := c.PrepareContext(ctx, "SELECT ips, frames FROM stack_traces WHERE hash = ?")
		if err != nil {
			return err
		}
		defer read.Close()
		for _, h := range hashes {
			if h == 0 || all[h] != nil {
				continue
			}
			var ips, frames string
			err := read.QueryRowContext(ctx, int64(h)).Scan(&ips, &frames)
			if errors.Is(err, sql.ErrNoRows) {
				continue
			}
			if err != nil {
				return err
			}
			all[h] = decodeFrames(ips, frames)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read stacks: %w", err)
	}
	return all, nil
}

// decodeFrames reads the frames, or else the addresses, of a stack; what is
// no JSON has none.
func decodeFrames(ips, frames string) []event.Frame {
	var rows []frameRow
	out := []event.Frame{}
	if json.Unmarshal([]byte(frames), &rows) == nil && len(rows) > 0 {
		for _, f := range rows {
			out = append(out, event.Frame{IP: parseAddress(f.IP), Symbol: f.Symbol, File: f.File, Source: f.Source, Line: f.Line, Inlined: f.Inlined, PyFile: f.PyFile, PyFunc: f.PyFunc, PyLine: f.PyLine})
		}
		return out
	}
	var list []string
	if json.Unmarshal([]byte(ips), &list) == nil {
		for _, text := range list {
			out = append(out, event.Frame{IP: parseAddress(text)})
		}
	}
	return out
}

func parseAddress(text string) uint64 {
	v, err := strconv.ParseUint(text, 0, 64)
	if err != nil {
		return 0
	}
	return v
}

// StackTime is what the recorded events of one operation with one stack add
// up to. Runnable and Blocked are 0 where they were not measured.
type StackTime struct {
	Op                       event.Op
	Stack                    uint64 // 0: no stack was taken
	PID                      uint32
	Count                    uint64
	Total, Runnable, Blocked int64 // ns
	Max                      int64
}

type stackKey struct {
	op    event.Op
	pid   uint32
	stack uint64
}

// Add adds one event.
func (t *StackTime) Add(e *event.Event) { t.add(e.Dur, e.Runnable, e.Blocked) }

func (t *StackTime) add(dur, runnable, blocked int64) {
	t.Count++
	t.Total += dur
	t.Max = max(t.Max, dur)
	t.Runnable += max(runnable, 0)
	t.Blocked += max(blocked, 0)
}

func (t *StackTime) merge(o *StackTime) {
	t.Count += o.Count
	t.Total += o.Total
	t.Max = max(t.Max, o.Max)
	t.Runnable += o.Runnable
	t.Blocked += o.Blocked
}

// StackTimes adds up the recorded events of the window by operation and
// stack, the most time first.
func (r *Reader) StackTimes(ctx context.Context, f Filter) ([]StackTime, error) {
	sums := map[stackKey]*StackTime{}
	err := r.do(ctx, func(ctx context.Context, c *readConn) error {
		clear(sums)
		if r.kind == kindRecording {
			return recordingStackTimes(ctx, c, f, sums)
		}
		return stackTimes(ctx, c, f, sums)
	})
	if err != nil {
		return nil, fmt.Errorf("add up events by stack: %w", err)
	}
	all := make([]StackTime, 0, len(sums))
	for _, t := range sums {
		all = append(all, *t)
	}
	SortStackTimes(all)
	return all, nil
}

// SortStackTimes puts the most time first.
func SortStackTimes(all []StackTime) {
	slices.SortFunc(all, func(a, b StackTime) int {
		return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Op, b.Op), cmp.Compare(a.PID, b.PID), cmp.Compare(a.Stack, b.Stack))
	})
}

func (k stackKey) in(sums map[stackKey]*StackTime) *StackTime {
	t := sums[k]
	if t == nil {
		t = &StackTime{Op: k.op, PID: k.pid, Stack: k.stack}
		sums[k] = t
	}
	return t
}

// stackTimes takes what digests say of chunks that are wholly in the window,
// and looks into the others.
func stackTimes(ctx context.Context, c *readConn, f Filter, sums map[stackKey]*StackTime) error {
	refs, _, err := chunkRefs(ctx, c, f, listing{}, func(x *chunkRef, t *StackTime) {
		if x.inside {
			stackKey{t.Op, t.PID, t.Stack}.in(sums).merge(t)
		}
	})
	if err != nil {
		return err
	}
	var dec decoder
	for _, x := range refs {
		if x.inside && x.digested {
			continue
		}
		var data []byte
		err := c.QueryRowContext(ctx, "SELECT data FROM event_chunks WHERE id = ?", x.id).Scan(&data)
		if errors.Is(err, sql.ErrNoRows) {
			continue // dropped meanwhile
		}
		if err != nil {
			return err
		}
		if err := addChunk(&dec, data, f, sums); err != nil {
			return err
		}
	}
	return nil
}

// addChunk adds up one chunk, of which it unpacks what it needs.
func addChunk(dec *decoder, data []byte, f Filter, sums map[stackKey]*StackTime) error {
	ch, err := parseChunk(data)
	if err != nil {
		return err
	}
	at, err := matching(dec, &ch, f, order{colStart, math.MinInt64}, math.MaxInt)
	if err != nil || len(at) == 0 {
		return err
	}
	const op, pid, stack, dur, runnable, blocked = 0, 1, 2, 3, 4, 5
	var cols [6][]int64
	for k, id := range [...]column{colOp, colPID, colStack, colDur, colRunnable, colBlocked} {
		v, ok, err := dec.ints(&ch, id, nil)
		if err != nil {
			return err
		}
		if !ok {
			v = make([]int64, ch.n)
		}
		cols[k] = v
	}
	for _, i := range at {
		k := stackKey{event.Op(cols[op][i]), uint32(cols[pid][i]), uint64(cols[stack][i])}
		k.in(sums).add(cols[dur][i], cols[runnable][i], cols[blocked][i])
	}
	return nil
}

func recordingStackTimes(ctx context.Context, c *readConn, f Filter, sums map[stackKey]*StackTime) error {
	if err := attachRecording(ctx, c); err != nil {
		return err
	}
	rows, err := c.QueryContext(ctx, "SELECT source, op, pid, stack_hash, count(*), sum(duration), max(duration) FROM events WHERE "+
		f.where("timestamp")+" GROUP BY source, op, pid, stack_hash")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var source, op uint8
		var k stackKey
		var stack, count, total, most int64
		if err := rows.Scan(&source, &op, &k.pid, &stack, &count, &total, &most); err != nil {
			return err
		}
		k.op, k.stack = event.MakeOp(event.Source(source), op), uint64(stack)
		t := k.in(sums)
		t.Count, t.Total, t.Max = t.Count+notNegative(count), t.Total+total, max(t.Max, most)
	}
	return rows.Err()
}
