package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"ingero/internal/event"
)

// A digest is what the events of a chunk add up to:
//
//	1 byte   version
//	uvarint  number of rows
//	for each row: uvarint operation, process; 8 bytes stack; uvarint count;
//	              varint total, runnable, blocked, longest, in ns
const (
	digestVersion = 1
	digestRows    = 1024 // more of them cost more than they save
)

// appendDigest returns nothing if there would be too many rows.
func appendDigest(b []byte, events []event.Event) []byte {
	sums := map[stackKey]*StackTime{}
	for i := range events {
		e := &events[i]
		stackKey{e.Op, e.PID, e.Stack}.in(sums).Add(e)
		if len(sums) > digestRows {
			return nil
		}
	}
	rows := make([]StackTime, 0, len(sums))
	for _, t := range sums {
		rows = append(rows, *t)
	}
	slices.SortFunc(rows, func(a, b StackTime) int {
		return cmp.Or(cmp.Compare(a.Op, b.Op), cmp.Compare(a.PID, b.PID), cmp.Compare(a.Stack, b.Stack))
	})
	b = binary.AppendUvarint(append(b, digestVersion), uint64(len(rows)))
	for _, t := range rows {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(t.Op)), uint64(t.PID))
		b = binary.LittleEndian.AppendUint64(b, t.Stack)
		b = binary.AppendUvarint(b, t.Count)
		for _, ns := range [...]int64{t.Total, t.Runnable, t.Blocked, t.Max} {
			b = binary.AppendVarint(b, ns)
		}
	}
	return b
}

// decodeDigest appends the rows to rows. It reports false if the digest is none
// that we can read: then the chunk itself must be looked at.
func decodeDigest(b []byte, rows []StackTime) ([]StackTime, bool) {
	if len(b) == 0 || b[0] != digestVersion {
		return nil, false
	}
	b = b[1:]
	next := func() (v uint64) {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			b = nil
			return 0
		}
		b = b[n:]
		return v
	}
	signed := func() (v int64) {
		v, n := binary.Varint(b)
		if n <= 0 {
			b = nil
			return 0
		}
		b = b[n:]
		return v
	}
	n := next()
	if n > digestRows {
		return nil, false
	}
	for range n {
		op, pid := next(), next()
		if len(b) < 8 || op > math.MaxUint16 || pid > math.MaxUint32 {
			return nil, false
		}
		t := StackTime{Op: event.Op(op), PID: uint32(pid), Stack: binary.LittleEndian.Uint64(b)}
		b = b[8:]
		t.Count, t.Total, t.Runnable, t.Blocked, t.Max = next(), signed(), signed(), signed(), signed()
		if b == nil {
			return nil, false
		}
		rows = append(rows, t)
	}
	return rows, true
}

// chunkRef is a chunk of which a part may be wanted.
type chunkRef struct {
	id, last int64
	inside   bool // all its events are in the window
	digested bool // it has a digest
	longest  int64
}

// listing says which chunks to list, and in which order.
type listing struct {
	newest   bool // those that end last first, else by id
	skip, n  int  // of those only n, after the first skip; n 0: all
	noDigest bool // digests are not needed
}

// chunkRefs lists the chunks of the window that may hold an event of the
// filter, and says how many were looked at. Of those that have a digest, each
// gets the matching rows.
func chunkRefs(ctx context.Context, c *readConn, f Filter, l listing, each func(ref *chunkRef, t *StackTime)) (all []chunkRef, seen int, err error) {
	has, err := tableColumns(ctx, c, "event_digests")
	if err != nil {
		return nil, 0, err
	}
	text := "SELECT c.id, c.first_ns, c.last_ns, NULL FROM event_chunks c INDEXED BY event_chunks_time"
	if has["data"] && !l.noDigest {
		text = "SELECT c.id, c.first_ns, c.last_ns, d.data FROM event_chunks c INDEXED BY event_chunks_time LEFT JOIN event_digests d ON d.chunk = c.id"
	}
	text += " WHERE c.last_ns >= ? AND c.first_ns < ? ORDER BY "
	if l.newest {
		text += "c.last_ns DESC"
	} else {
		text += "c.id"
	}
	if l.n > 0 {
		text += fmt.Sprintf(" LIMIT %d OFFSET %d", l.n, l.skip)
	}
	rows, err := c.QueryContext(ctx, text, f.From, f.end())
	if err != nil {
		return nil, 0, fmt.Errorf("list events: %w", err)
	}
	defer rows.Close()
	var sums []StackTime
	for ; rows.Next(); seen++ {
		var first int64
		var data sql.RawBytes
		x := chunkRef{longest: math.MinInt64}
		if err := rows.Scan(&x.id, &first, &x.last, &data); err != nil {
			return nil, 0, fmt.Errorf("list events: %w", err)
		}
		x.inside = first >= f.From && x.last < f.end()
		sums, x.digested = decodeDigest(data, sums[:0])
		matching := false
		for i := range sums {
			if t := &sums[i]; f.hasOp(t.Op) && f.hasPID(t.PID) {
				matching = true
				x.longest = max(x.longest, t.Max)
				if each != nil {
					each(&x, t)
				}
			}
		}
		if matching || !x.digested {
			all = append(all, x)
		}
	}
	return all, seen, rows.Err()
}
