package store

import (
	"context"
	"fmt"
	"math"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// small reads a number that must fit 32 bits; others are from a damaged or
// hostile file.
func (x row) small(i int) uint32 {
	if n := x.num(i); n >= 0 && n <= math.MaxUint32 {
		return uint32(n)
	}
	return math.MaxUint32
}

// unsigned reads a number that is never negative in a sound file.
func (x row) unsigned(i int) uint64 { return notNegative(x.num(i)) }

func (x row) state(i int) event.State {
	if n := x.num(i); n >= 0 && n < int64(event.States) {
		return event.State(n)
	}
	return event.Other // of a newer version
}

// op reads source and code, from two columns.
func (x row) op(i int) event.Op { return event.MakeOp(event.Source(x.num(i)), uint8(x.num(i+1))) }

// pieces hands out values in order and cuts them into slices, out of few pieces
// of memory.
type pieces[T any] struct {
	slab []T
	from int
}

const slabRun = 512

func (r *pieces[T]) add() *T {
	if len(r.slab) == cap(r.slab) {
		open := r.slab[r.from:]
		r.slab = append(make([]T, 0, max(slabRun, 2*len(open))), open...)
		r.from = 0
	}
	var zero T
	r.slab = append(r.slab, zero)
	return &r.slab[len(r.slab)-1]
}

// cut returns what was added since the last cut.
func (r *pieces[T]) cut() []T {
	s := r.slab[r.from:len(r.slab):len(r.slab)]
	r.from = len(r.slab)
	return s
}

// turn prepares for a row of a process and second; false if the process is
// not wanted. When one of them changes, done takes over what was added.
func (h *history) turn(process, at int64, done func(*stats.Second)) bool {
	if process == h.id && at == h.at {
		return h.ok
	}
	h.close(done)
	h.id, h.at = process, at
	_, h.ok = h.processes[process]
	return h.ok
}

// close ends the current second.
func (h *history) close(done func(*stats.Second)) {
	if !h.ok {
		return
	}
	h.ok = false
	s := stats.Second{At: h.at}
	done(&s)
	if len(s.Calls)+len(s.Ledger)+len(s.Pairs) > 0 {
		h.seconds[h.id] = append(h.seconds[h.id], s)
	}
}

// firstColumn is where the columns of a table begin after time and process.
const firstColumn = 2

// scan reads the rows of one part of a table, in the order of the key.
func (h *history) scan(ctx context.Context, p part, table, columns string, done func(*stats.Second), f func(row) error) error {
	if p.from >= p.to {
		return nil
	}
	span := int64(0)
	if p.period == "minute" {
		span = 60
	}
	end := func(s *stats.Second) {
		done(s)
		s.Span = span
	}
	h.id, h.at, h.ok = 0, math.MinInt64, false
	text := fmt.Sprintf("SELECT %[1]s, process, %[2]s FROM %[3]s WHERE %[1]s >= %[4]d AND %[1]s < %[5]d%[6]s",
		p.period, columns, table+p.table, p.from, p.to, h.only)
	err := h.raw.each(ctx, text, func(x row) error {
		if !h.turn(x.num(1), x.num(0), end) {
			return nil
		}
		return f(x)
	})
	h.close(end)
	return err
}

func (h *history) readCalls(ctx context.Context, p part) error {
	columns := "source, op, nested, errors, bytes, recorded, lost, histogram"
	if h.o.Sums {
		columns = "source, op, nested, errors, bytes, recorded, lost, count, sum_ns, max_ns"
	}
	done := func(s *stats.Second) { s.Calls = h.calls.cut() }
	return h.scan(ctx, p, "call_stats", columns, done, func(v row) (err error) {
		const c = firstColumn
		op := v.op(c)
		if !h.ops(op) {
			return nil
		}
		owner := h.processes[h.id]
		x := h.calls.add()
		x.PID, x.Start, x.Op = owner.PID, owner.Start, op
		x.Nested, x.Errors, x.Bytes = uint64(v.num(c+2)), uint64(v.num(c+3)), uint64(v.num(c+4))
		x.Recorded, x.Lost = uint64(v.num(c+5)), uint64(v.num(c+6))
		if h.o.Sums {
			x.Hist = h.hists.Sum(v.unsigned(c+7), v.unsigned(c+8), v.unsigned(c+9))
			return nil
		}
		if x.Hist, err = h.hists.Decode(v.blob(c + 7)); err != nil {
			return fmt.Errorf("%w: statistics of %s: %w", ErrDamaged, op, err)
		}
		return nil
	})
}

func (h *history) readLedger(ctx context.Context, p part) error {
	var x *stats.Ledger
	done := func(s *stats.Second) { s.Ledger, x = h.ledger.cut(), nil }
	return h.scan(ctx, p, "ledger", "tid, source, op, state, ns, count, max_ns", done, func(v row) error {
		const c = firstColumn
		tid, place := v.small(c), v.op(c+1)
		if x == nil || x.TID != tid || x.Place != place {
			x = h.ledger.add()
			owner := h.processes[h.id]
			x.PID, x.TID, x.Place, x.Start = owner.PID, tid, place, owner.Start
			if t, ok := h.threads[[2]int64{h.id, int64(tid)}]; ok {
				x.Comm, x.Start = t.comm, t.start
			}
		}
		s := v.state(c + 3)
		x.NS[s] += v.unsigned(c + 4)
		x.Count[s] += v.unsigned(c + 5)
		x.Max[s] = max(x.Max[s], v.unsigned(c+6))
		return nil
	})
}

func (h *history) readPairs(ctx context.Context, p part) error {
	done := func(s *stats.Second) { s.Pairs = h.pairs.cut() }
	return h.scan(ctx, p, "waits", "tid, state, other_pid, other_tid, other_comm, ns, count", done, func(v row) error {
		const c = firstColumn
		*h.pairs.add() = stats.Pair{
			PID: h.processes[h.id].PID, TID: v.small(c), State: v.state(c + 1), OtherPID: v.small(c + 2), OtherTID: v.small(c + 3),
			OtherComm: h.name(v.blob(c + 4)), NS: v.unsigned(c + 5), Count: v.unsigned(c + 6),
		}
		return nil
	})
}

// name returns b as a string; few different names come again and again.
func (h *history) name(b []byte) string {
	s, ok := h.names[string(b)]
	if !ok {
		s = string(b)
		h.names[s] = s
	}
	return s
}
