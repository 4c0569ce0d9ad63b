package store

import (
	"cmp"
	"container/heap"
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"

	"ingero/internal/event"
)

// Stored is an event as it was recorded.
type Stored struct {
	event.Event
	Node string
	Seq  int64 // number on its node
}

// Events returns the newest events of the window, at most limit, the newest
// last.
func (r *Reader) Events(ctx context.Context, f Filter, limit int) ([]Stored, error) {
	if limit <= 0 {
		return nil, nil
	}
	all, err := read(ctx, r, "events", func(ctx context.Context, c *readConn) ([]Stored, error) {
		if r.kind == kindRecording {
			return recordingEvents(ctx, c, f, "timestamp DESC", limit)
		}
		return newestEvents(ctx, c, f, limit)
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b Stored) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Seq, b.Seq))
	})
	return all, nil
}

// newest is a heap with the oldest of the newest events on top.
type newest []Stored

// Len is part of heap.Interface.
func (h newest) Len() int { return len(h) }

// Less is part of heap.Interface.
func (h newest) Less(i, j int) bool { return h[i].Start < h[j].Start }

// Swap is part of heap.Interface.
func (h newest) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push is part of heap.Interface.
func (h *newest) Push(x any) { *h = append(*h, x.(Stored)) }

// Pop is part of heap.Interface.
func (h *newest) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// chunksAtOnce is how many chunks are listed by the first statement; each
// further one lists twice as many.
const chunksAtOnce = 64

// newestEvents goes through the chunks from the one that ends last until no
// further chunk can hold a newer event.
func newestEvents(ctx context.Context, c *readConn, f Filter, limit int) ([]Stored, error) {
	var h newest
	var dec decoder
	for skip, n := 0, chunksAtOnce; ; skip, n = skip+n, 2*n {
		list, seen, err := chunkRefs(ctx, c, f, listing{newest: true, skip: skip, n: n, noDigest: f.PIDs == nil && f.Ops == nil}, nil)
		if err != nil {
			return nil, err
		}
		for _, x := range list {
			if len(h) == limit && x.last <= h[0].Start {
				return h, nil
			}
			found, err := chunkEventsOf(ctx, c, &dec, x.id, f, order{colStart, math.MinInt64}, limit)
			if err != nil {
				return nil, err
			}
			for _, e := range found {
				if len(h) < limit {
					heap.Push(&h, e)
				} else if e.Start > h[0].Start {
					h[0] = e
					heap.Fix(&h, 0)
				}
			}
		}
		if seen < n {
			return h, nil
		}
	}
}

// order says which events come first: those with the largest values of a
// column, which must be at least so large.
type order struct {
	by    column
	least int64
}

// chunkEventsOf returns the first events of one chunk, at most limit.
func chunkEventsOf(ctx context.Context, c *readConn, dec *decoder, id int64, f Filter, o order, limit int) ([]Stored, error) {
	var node string
	var seq int64
	var data []byte
	err := c.QueryRowContext(ctx, "SELECT node, seq, data FROM event_chunks WHERE id = ?", id).Scan(&node, &seq, &data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil // dropped meanwhile
	}
	if err != nil {
		return nil, err
	}
	ch, err := parseChunk(data)
	if err != nil {
		return nil, err
	}
	at, err := matching(dec, &ch, f, o, limit)
	if err != nil {
		return nil, err
	}
	k := 0
	events, err := dec.events(&ch, func(i int) bool {
		if k < len(at) && at[k] == i {
			k++
			return true
		}
		return false
	})
	if err != nil {
		return nil, err
	}
	out := make([]Stored, len(events))
	for k := range events {
		out[k] = Stored{events[k], node, seq + int64(at[k])}
	}
	return out, nil
}

// matching returns the indexes of the first matching events, in the order of
// the chunk.
func matching(dec *decoder, ch *chunk, f Filter, o order, limit int) ([]int, error) {
	by, ok, err := dec.ints(ch, o.by, nil)
	if err != nil || !ok || len(by) == 0 || slices.Max(by) < o.least {
		return nil, err
	}
	var cols [3][]int64
	for k, col := range [...]column{colStart, colPID, colOp} {
		if (col == colPID && f.PIDs == nil) || (col == colOp && f.Ops == nil) {
			continue
		}
		v, ok, err := dec.ints(ch, col, nil)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, nil
		}
		cols[k] = v
	}
	var at []int
	for i, start := range cols[0] {
		if by[i] >= o.least && start >= f.From && start < f.end() &&
			(f.PIDs == nil || f.hasPID(uint32(cols[1][i]))) &&
			(f.Ops == nil || f.hasOp(event.Op(cols[2][i]))) {
			at = append(at, i)
		}
	}
	if len(at) > limit {
		slices.SortFunc(at, func(a, b int) int {
			if o.by == colStart {
				return cmp.Compare(by[b], by[a])
			}
			return cmp.Or(cmp.Compare(by[b], by[a]), cmp.Compare(cols[0][a], cols[0][b]), cmp.Compare(a, b))
		})
		at = at[:limit]
		slices.Sort(at)
	}
	return at, nil
}
