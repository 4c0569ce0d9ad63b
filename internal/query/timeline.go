package query

import (
	"cmp"
	"context"
	"slices"

	"ingero/internal/event"
	"ingero/internal/stats"
	"ingero/internal/store"
)

// What exports are made of.
type (
	Filter    = store.Filter
	Stored    = store.Stored
	StackTime = store.StackTime
	Process   = stats.Process
)

// Streamed is Data that hands out all that it holds, a part at a time.
type Streamed interface {
	Data
	// Each calls do with all recorded events of the window, in the order of
	// their start, the outer one first; a batch is valid until do returns.
	Each(ctx context.Context, f store.Filter, do func([]store.Stored) error) error
	// Processes returns what is known of every process.
	Processes(ctx context.Context) ([]stats.Process, error)
	// CopyRows writes a new database in which the events are plain rows.
	CopyRows(ctx context.Context, path string, f store.Filter, progress func(at int64, events uint64)) (events uint64, chains int, err error)
	// BooksWith is Books with options.
	BooksWith(ctx context.Context, f store.Filter, o store.BookOptions) ([]stats.Process, error)
}

// ThreadID is a thread for ever: numbers are used again.
type ThreadID struct {
	Node  string
	PID   uint32
	Start int64 // of the process, unix ns
	TID   uint32
}

// Tile is a stretch of time that stands for one state of a thread. A ledger
// knows for how long a thread was in each state in a second, but not when: a
// thread's second is laid out as one tile for each state, in the order of the
// states. So each tile is as long as the time it stands for, they follow each
// other, and together they are the thread's life; where a tile lies within its
// second says nothing.
type Tile struct {
	Thread     ThreadID
	Comm       string
	Start, End int64 // unix ns
	State      event.State
	Places     []TilePlace // where the thread was; in the order of the operations, between calls first
	Span       int64       // seconds that were laid out together: 1, or 60 where older data is kept by the minute
	Wakers     []Waker     // who ended these waits, the most time first
}

// TilePlace is the part of a tile at one place.
type TilePlace struct {
	Place string // the outermost traced call, "capturing" a graph, or "between calls"
	NS    int64
}

// Waker is a thread that ended waits of another one.
type Waker struct {
	Thread ThreadID // Start is 0 if it is not a traced one
	Comm   string
	NS     int64 // that was waited
	Count  uint64
}

// tilesAtOnce is how many seconds of ledgers are read at once; whole minutes,
// since that is how older data is kept.
const tilesAtOnce = 60

// tileSlack is how far, in ns, the second of a ledger may be from that of the
// clock: the kernel's books are drained when there is time to.
const tileSlack = int64(5e8)

// Tiles calls do with the tiles of every thread that the ledger tells apart,
// about a minute at a time, in the order of their start. From and To of the
// filter must both be set; the window is widened to whole seconds.
func Tiles(ctx context.Context, s Streamed, f Filter, do func([]Tile) error) error {
	l := tiler{ends: map[ThreadID]int64{}}
	last := floorDiv(f.To-1, 1e9) + 1
	for from := floorDiv(f.From, 1e9); from < last; {
		to := min(floorDiv(from, tilesAtOnce)*tilesAtOnce+tilesAtOnce, last)
		part := f
		part.From, part.To = from*1e9, to*1e9
		books, err := s.BooksWith(ctx, part, store.BookOptions{NoCalls: true})
		if err != nil {
			return err
		}
		l.tiles = l.tiles[:0]
		for i := range books {
			l.lay(&books[i], books)
		}
		slices.SortStableFunc(l.tiles, func(a, b Tile) int { return cmp.Compare(a.Start, b.Start) })
		if err := do(l.tiles); err != nil {
			return err
		}
		from = to
	}
	return nil
}

type tiler struct {
	ends  map[ThreadID]int64 // of the last tile
	tiles []Tile
}

// lay lays out the seconds of a process.
func (l *tiler) lay(p *stats.Process, all []stats.Process) {
	for i := range p.Seconds {
		s := &p.Seconds[i]
		for from := 0; from < len(s.Ledger); {
			to := from + 1
			for to < len(s.Ledger) && s.Ledger[to].TID == s.Ledger[from].TID {
				to++
			}
			if s.Ledger[from].TID != 0 { // not the sum of threads that did nothing
				l.second(p, s, s.Ledger[from:to], all)
			}
			from = to
		}
	}
}

// second lays out one second of one thread.
func (l *tiler) second(p *stats.Process, s *stats.Second, cells []stats.Ledger, all []stats.Process) {
	id := ThreadID{p.Node, p.PID, p.Start, cells[0].TID}
	span := max(s.Span, 1)
	at := s.At * 1e9
	if end, known := l.ends[id]; known && at-end < tileSlack {
		at = end
	} else if start := cells[0].Start; start > at && start < at+span*1e9 {
		at = start
	}
	for state := range event.States {
		t := Tile{Thread: id, Comm: cmp.Or(cells[0].Comm, p.Comm), Start: at, State: state, Span: span}
		for k := range cells {
			if ns := int64(cells[k].NS[state]); ns > 0 {
				t.Places = append(t.Places, TilePlace{placeName(cells[k].Place), ns})
				at += ns
			}
		}
		if t.End = at; t.End == t.Start {
			continue
		}
		if state.Blocked() {
			t.Wakers = wakers(id, state, s.Pairs, all)
		}
		l.tiles = append(l.tiles, t)
	}
	l.ends[id] = at
}

func placeName(op event.Op) string {
	if op == 0 {
		return betweenCalls
	}
	return op.String()
}

// wakers are those who ended the waits of a thread.
func wakers(id ThreadID, state event.State, pairs []stats.Pair, all []stats.Process) (out []Waker) {
	for i := range pairs {
		x := &pairs[i]
		if x.TID != id.TID || x.State != state || x.OtherPID == 0 {
			continue
		}
		w := Waker{ThreadID{Node: id.Node, PID: x.OtherPID, TID: x.OtherTID}, x.OtherComm, int64(x.NS), x.Count}
		if x.OtherPID == id.PID {
			w.Thread.Start = id.Start
		} else {
			for k := range all {
				if p := &all[k]; p.Node == id.Node && p.PID == x.OtherPID {
					w.Thread.Start = p.Start // the last one of that number
				}
			}
		}
		out = append(out, w)
	}
	slices.SortStableFunc(out, func(a, b Waker) int { return cmp.Compare(b.NS, a.NS) })
	return out
}

// SlowestOf returns the recorded call, or gap, that shows a finding best: the
// slowest of those that suffered while it lasted. False if none is known.
func SlowestOf(ctx context.Context, s Moments, c *Chain) (Stored, bool, error) {
	f := Filter{From: c.Started.UnixNano()}
	if c.Ended != nil {
		f.To = c.Ended.UnixNano()
	}
	pid := cmp.Or(c.Symptom.PID, c.PID)
	if f.Ops = event.FindOps(c.Symptom.Op); c.Symptom.Op == betweenCalls {
		f.Ops = []event.Op{opGap}
	}
	if pid == 0 || len(f.Ops) == 0 || f.To != 0 && f.To <= f.From {
		return Stored{}, false, nil
	}
	f.PIDs = []uint32{pid}
	all, err := s.Slowest(ctx, f, 1)
	if err != nil || len(all) == 0 {
		return Stored{}, false, err
	}
	return all[0], true, nil
}

// IsGap reports whether an event is a time between two calls of a thread.
func IsGap(op event.Op) bool { return op == opGap }
