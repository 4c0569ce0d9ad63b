package pipeline

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// recentSeconds is how far back the percentiles of the live view reach.
const recentSeconds = 60

// Window keeps what the live view shows: totals since the start and the
// distribution of the last minute. It is a Sink.
type Window struct {
	mu       sync.Mutex
	total    map[event.Op]*stats.Calls
	recent   [recentSeconds]map[event.Op]*stats.Histogram // by second, modulo
	stamp    [recentSeconds]int64
	host     map[event.Op]uint64
	procs    map[uint32]Process // that live
	callers  map[uint32]bool    // those that made a traced call
	ended    int                // that made a traced call
	lived    float64            // ns, of all that ended, while we traced
	snapshot event.Snapshot
	books    books
	dropped  uint64
	now      func() time.Time
	began    time.Time
	latest   time.Time // when counts last arrived
}

// NewWindow returns an empty window.
func NewWindow(now func() time.Time) *Window {
	return &Window{now: now, began: now(), total: map[event.Op]*stats.Calls{}, host: map[event.Op]uint64{}, procs: map[uint32]Process{}, callers: map[uint32]bool{}}
}

// Take adds a batch.
func (w *Window) Take(b *Batch) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.books.take(b)
	for _, p := range b.Processes {
		if p.Ended == 0 {
			w.procs[p.PID] = p
		}
	}
	for _, l := range b.Life {
		if e, ok := l.Event(); ok {
			w.host[e.Op]++
		}
	}
	if len(b.Calls) > 0 {
		w.latest = w.now()
	}
	for i := range b.Calls {
		c := &b.Calls[i]
		w.callers[c.PID] = true
		t := w.total[c.Op]
		if t == nil {
			t = &stats.Calls{Op: c.Op}
			w.total[c.Op] = t
		}
		t.Add(c)
		k := b.Second % recentSeconds
		if w.stamp[k] != b.Second {
			w.stamp[k], w.recent[k] = b.Second, map[event.Op]*stats.Histogram{}
		}
		if w.recent[k][c.Op] == nil {
			w.recent[k][c.Op] = &stats.Histogram{}
		}
		w.recent[k][c.Op].Merge(c.Hist)
	}
	for _, p := range b.Processes {
		if p.Ended != 0 {
			w.forget(p)
		}
	}
	for _, n := range b.Dropped {
		w.dropped += n
	}
	if n := len(b.Snapshots); n > 0 {
		w.snapshot = b.Snapshots[n-1]
	}
	return nil
}

// forget keeps of a process that has ended only what it adds to the totals.
func (w *Window) forget(p Process) {
	if w.callers[p.PID] {
		w.ended++
		w.lived += w.alive(p, p.Ended)
		delete(w.callers, p.PID)
	}
	if w.procs[p.PID].Start <= p.Start { // or the number is used again
		delete(w.procs, p.PID)
	}
}

// alive is how many ns a process has lived while we traced.
func (w *Window) alive(p Process, until int64) float64 {
	return float64(max(until-max(p.Start, w.began.UnixNano()), 0))
}

// OpView is one row of the live view.
type OpView struct {
	stats.Calls                  // since the start
	Recent      *stats.Histogram // of the last minute
	Wall        float64          // share of the last minute's wall time, all threads added up
}

// HostView counts one kind of host event.
type HostView struct {
	Op    event.Op
	Count uint64
}

// View is what the live view shows at one moment.
type View struct {
	Ops       []OpView // busiest first, by source
	Host      []HostView
	Processes []Process // that made calls and live, by PID
	Ended     int
	Snapshot  event.Snapshot
	Feeders   []Feeder            // where their time went in the last seconds, busiest first
	Seconds   map[uint32][]Second // the ledger of the last minute, by process
	Calls     uint64
	Recorded  uint64
	Lost      uint64
}

// Overhead is the share of the traced processes' time that probes took, when
// each call costs so much. It counts only processes that made calls.
func (w *Window) Overhead(perCall time.Duration) float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	calls, lived := 0.0, w.lived
	for _, t := range w.total {
		calls += float64(t.Hist.Count())
	}
	for pid := range w.callers {
		lived += w.alive(w.procs[pid], w.latest.UnixNano())
	}
	if lived == 0 {
		return 0
	}
	return calls * float64(perCall) / lived
}

// View returns the state now.
func (w *Window) View() View {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now().Unix()
	v := View{Snapshot: w.snapshot, Lost: w.dropped, Ended: w.ended}
	v.Feeders, v.Seconds = w.books.view(now-bookSeconds), w.books.seconds(now-recentSeconds)
	recent := map[event.Op]*stats.Histogram{}
	wall := min(w.latest.Sub(w.began), recentSeconds*time.Second)
	for k := range w.recent {
		if w.stamp[k] == 0 || w.stamp[k] <= now-recentSeconds {
			continue
		}
		for op, h := range w.recent[k] {
			if recent[op] == nil {
				recent[op] = &stats.Histogram{}
			}
			recent[op].Merge(h)
		}
	}
	for op, t := range w.total {
		row := OpView{Calls: *t, Recent: recent[op]}
		if row.Recent == nil {
			row.Recent = t.Hist
		} else {
			row.Wall = float64(row.Recent.Sum()) / float64(max(wall, 1))
		}
		h := t.Hist.Clone()
		row.Hist = &h
		v.Ops = append(v.Ops, row)
		v.Calls += t.Hist.Count()
		v.Recorded += t.Recorded
		v.Lost += t.Lost
	}
	slices.SortFunc(v.Ops, func(a, b OpView) int {
		return cmp.Or(cmp.Compare(b.Hist.Count(), a.Hist.Count()), cmp.Compare(a.Op, b.Op))
	})
	for _, op := range slices.Sorted(maps.Keys(w.host)) {
		v.Host = append(v.Host, HostView{op, w.host[op]})
	}
	for _, pid := range slices.Sorted(maps.Keys(w.procs)) {
		if w.callers[pid] { // not a shell on the way to the job, a helper
			v.Processes = append(v.Processes, w.procs[pid])
		}
	}
	return v
}
