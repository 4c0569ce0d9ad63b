package store

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"ingero/internal/event"
)

// Each calls do with all recorded events of the window, in the order of their
// start, a batch at a time; a batch is valid until do returns. Of events that
// start together, the outer call comes first, then the longer one.
//
// Chunks are in the order in which events ended, so those that overlap are
// merged; only these are in memory, and of a chunk whose first event began
// long before the others only that one. Nothing is read twice: if the file is
// changed meanwhile by a writer that began after we did, it is an error.
func (r *Reader) Each(ctx context.Context, f Filter, do func([]Stored) error) error {
	params, immutable := r.params()
	before, err := os.Stat(r.path)
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	err = r.once(ctx, params, func(ctx context.Context, c *readConn) error {
		if r.kind == kindRecording {
			return eachRecorded(ctx, c, f, do)
		}
		// One transaction: what is read does not change under us.
		if _, err := c.ExecContext(ctx, "BEGIN"); err != nil {
			return err
		}
		m := merge{ctx: ctx, c: c, f: f}
		if err := m.list(); err != nil {
			return err
		}
		return m.run(do)
	})
	if after, statErr := os.Stat(r.path); immutable && ctx.Err() == nil &&
		(statErr != nil || after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime())) {
		return fmt.Errorf("read events: somebody began to record into %s meanwhile; try again", r.name)
	}
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	return nil
}

// eachBatch is how many events are handed on at once.
const eachBatch = 4096

// eachRecorded is Each for a recording of an older ingero, which SQLite sorts.
func eachRecorded(ctx context.Context, c *readConn, f Filter, do func([]Stored) error) error {
	batch := make([]Stored, 0, eachBatch)
	flush := func() error {
		defer func() { batch = batch[:0] }()
		if len(batch) == 0 {
			return nil
		}
		return do(batch)
	}
	err := scanRecording(ctx, c, f, "timestamp, duration DESC, rowid_of", math.MaxInt32, func(e *Stored) error {
		if batch = append(batch, *e); len(batch) == eachBatch {
			return flush()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// A hole this long between two events of a chunk, with so many events after
// it, makes a chunk wait for its time: until then it takes no memory.
const (
	longHole  = int64(500 * time.Millisecond)
	worthHole = 256
)

// waiting is a chunk that has not been read, or the rest of one.
type waiting struct {
	id, first int64 // start of its first event
	skip      int   // events of it that were handed on, in the order of Each
}

// strand is events of a chunk that are being merged, in order.
type strand struct {
	events []event.Event
	order  []uint32 // indexes into events
	index  []uint32 // of each event in the chunk; nil: as in events
	node   string
	seq    int64 // of the chunk's first event
	i      int   // the next one of order
}

func (p *strand) event() *event.Event { return &p.events[p.order[p.i]] }

// next returns the next event and goes on.
func (p *strand) next() Stored {
	slot := p.order[p.i]
	p.i++
	at := slot
	if p.index != nil {
		at = p.index[slot]
	}
	return Stored{p.events[slot], p.node, p.seq + int64(at)}
}

// merge is the state of Each.
type merge struct {
	ctx   context.Context
	c     *readConn
	f     Filter
	later laterHeap
	open  openHeap
	dec   decoder
	blob  []byte
	spare [][]event.Event
}

type laterHeap []waiting

// Len is part of heap.Interface.
func (h laterHeap) Len() int { return len(h) }

// Less is part of heap.Interface.
func (h laterHeap) Less(i, j int) bool { return h[i].first < h[j].first }

// Swap is part of heap.Interface.
func (h laterHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push is part of heap.Interface.
func (h *laterHeap) Push(x any) { *h = append(*h, x.(waiting)) }

// Pop is part of heap.Interface.
func (h *laterHeap) Pop() any {
	x := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return x
}

type openHeap []*strand

// Len is part of heap.Interface.
func (h openHeap) Len() int { return len(h) }

// Less is part of heap.Interface.
func (h openHeap) Less(i, j int) bool {
	a, b := h[i], h[j]
	return cmp.Or(compareEvents(a.event(), b.event()), cmp.Compare(a.node, b.node), cmp.Compare(a.seq, b.seq)) < 0
}

// Swap is part of heap.Interface.
func (h openHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push is part of heap.Interface.
func (h *openHeap) Push(x any) { *h = append(*h, x.(*strand)) }

// Pop is part of heap.Interface.
func (h *openHeap) Pop() any {
	x := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return x
}

// compareEvents is the order of Each.
func compareEvents(a, b *event.Event) int {
	if a.Start != b.Start {
		return cmp.Compare(a.Start, b.Start)
	}
	return cmp.Or(cmp.Compare(a.Depth, b.Depth), cmp.Compare(b.Dur, a.Dur))
}

// list finds the chunks.
func (m *merge) list() error {
	rows, err := m.c.QueryContext(m.ctx,
		"SELECT id, first_ns FROM event_chunks INDEXED BY event_chunks_time WHERE last_ns >= ? AND first_ns < ?", m.f.From, m.f.end())
	if err != nil {
		return fmt.Errorf("list events: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var w waiting
		if err := rows.Scan(&w.id, &w.first); err != nil {
			return fmt.Errorf("list events: %w", err)
		}
		m.later = append(m.later, w)
	}
	heap.Init(&m.later)
	return rows.Err()
}

// run hands on all events.
func (m *merge) run(do func([]Stored) error) error {
	data, err := m.c.PrepareContext(m.ctx, "SELECT node, seq, data FROM event_chunks WHERE id = ?")
	if err != nil {
		return err
	}
	defer data.Close()
	batch := make([]Stored, 0, eachBatch)
	for len(m.later)+len(m.open) > 0 {
		// All chunks that may hold the next event.
		for len(m.later) > 0 && (len(m.open) == 0 || m.later[0].first <= m.open[0].event().Start) {
			w := heap.Pop(&m.later).(waiting)
			p := &strand{}
			if err := data.QueryRowContext(m.ctx, w.id).Scan(&p.node, &p.seq, &m.blob); err != nil {
				return err
			}
			if err := m.load(w, p); err != nil {
				return err
			}
		}
		if len(m.open) == 0 {
			continue
		}
		batch = m.take(batch)
		if len(batch) == cap(batch) || len(m.later)+len(m.open) == 0 {
			if err := do(batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	if len(batch) > 0 {
		return do(batch)
	}
	return nil
}

// take moves events to the batch while the strand that is first now stays so.
func (m *merge) take(batch []Stored) []Stored {
	p := m.open[0]
	limit := int64(math.MaxInt64)
	if len(m.later) > 0 {
		limit = m.later[0].first
	}
	for i := 1; i <= 2 && i < len(m.open); i++ {
		limit = min(limit, m.open[i].event().Start)
	}
	for first := true; p.i < len(p.order) && len(batch) < cap(batch); first = false {
		if p.event().Start >= limit && !first {
			break
		}
		batch = append(batch, p.next())
	}
	if p.i < len(p.order) {
		heap.Fix(&m.open, 0)
		return batch
	}
	heap.Pop(&m.open)
	m.spare = append(m.spare, p.events[:0])
	return batch
}

// load unpacks the chunk that m.blob is, puts its events in order and keeps
// those up to the first long hole.
func (m *merge) load(w waiting, p *strand) error {
	ch, err := parseChunk(m.blob)
	if err != nil {
		return err
	}
	at, err := matching(&m.dec, &ch, m.f, order{colStart, math.MinInt64}, math.MaxInt)
	if err != nil || len(at) <= w.skip {
		return err
	}
	if n := len(m.spare); n > 0 {
		p.events, m.spare = m.spare[n-1], m.spare[:n-1]
	}
	if p.events, err = m.dec.all(p.events, &ch); err != nil {
		return err
	}
	p.order = make([]uint32, len(at))
	for k, i := range at {
		p.order[k] = uint32(i)
	}
	compare := func(a, b uint32) int {
		return cmp.Or(compareEvents(&p.events[a], &p.events[b]), cmp.Compare(a, b))
	}
	if !slices.IsSortedFunc(p.order, compare) {
		slices.SortFunc(p.order, compare)
	}
	p.order = p.order[w.skip:]
	for k := 1; len(p.order)-k >= worthHole; k++ {
		next := p.events[p.order[k]].Start
		if next-p.events[p.order[k-1]].Start >= longHole {
			heap.Push(&m.later, waiting{w.id, next, w.skip + k})
			m.shorten(p, k)
			break
		}
	}
	heap.Push(&m.open, p)
	return nil
}

// shorten keeps the first k events only, in memory of their own.
func (m *merge) shorten(p *strand, k int) {
	few, order := make([]event.Event, k), make([]uint32, k)
	for i, from := range p.order[:k] {
		few[i], order[i] = p.events[from], uint32(i)
	}
	m.spare = append(m.spare, p.events[:0])
	p.index, p.events, p.order = p.order[:k:k], few, order
}
