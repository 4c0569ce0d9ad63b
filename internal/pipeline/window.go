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
	host     map[event.Op]*stats.Calls // operations of the host, since the start
	procs    map[uint32]Process        // that live
	callers  map[uint32]bool           // those that made a traced call
	ended    int                       // that made a traced call
	feeders  map[uint32]bool           // threads that made a traced call
	fed      float64                   // ns these threads lived while we traced
	first    int64                     // start of the first caller, unix ns
	last     int64                     // end of the last caller that has ended, unix ns
	snapshot event.Snapshot
	books    books
	dropped  uint64
	now      func() time.Time
	began    time.Time
	latest   time.Time // when counts last arrived
}

// NewWindow returns an empty window.
func NewWindow(now func() time.Time) *Window {
	return &Window{now: now, began: now(), total: map[event.Op]*stats.Calls{}, host: map[event.Op]*stats.Calls{}, procs: map[uint32]Process{}, callers: map[uint32]bool{}, feeders: map[uint32]bool{}}
}

// Take adds a batch.
func (w *Window) Take(b *Batch) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.books.take(b)
	w.feed(b.Ledger)
	for _, p := range b.Processes {
		if p.Ended == 0 {
			w.procs[p.PID] = p
		}
	}
	for _, l := range b.Life {
		if e, ok := l.Event(); ok && e.Op.Class() == event.Lifecycle { // others are counted by the kernel side
			w.hostOf(e.Op).Hist.Add(0)
		}
	}
	for i := range b.Calls {
		c := &b.Calls[i]
		if !c.Op.IsCall() {
			w.hostOf(c.Op).Add(c)
			continue
		}
		w.latest = w.now()
		w.callers[c.PID] = true
		if start := w.procs[c.PID].Start; start != 0 && (w.first == 0 || start < w.first) {
			w.first = start
		}
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

// hostOf returns the total of an operation of the host.
func (w *Window) hostOf(op event.Op) *stats.Calls {
	if w.host[op] == nil {
		w.host[op] = &stats.Calls{Op: op, Hist: &stats.Histogram{}}
	}
	return w.host[op]
}

// forget keeps of a process that has ended only what it adds to the totals.
func (w *Window) forget(p Process) {
	if w.callers[p.PID] {
		w.ended++
		w.last = max(w.last, p.Ended)
		delete(w.callers, p.PID)
	}
	if w.procs[p.PID].Start <= p.Start { // or the number is used again
		delete(w.procs, p.PID)
	}
}

// feed adds up how long the threads that make traced calls have lived.
func (w *Window) feed(all []stats.Ledger) {
	for i := range all {
		if all[i].Place != 0 {
			w.feeders[all[i].TID] = true
		}
	}
	for i := range all {
		if w.feeders[all[i].TID] {
			w.fed += float64(all[i].Total())
		}
	}
	if len(w.feeders) > 1<<16 {
		clear(w.feeders) // threads that have long ended
	}
}

// wall is the time in which traced calls were made: from the first caller's
// start, or ours, to now or the last caller's end.
func (w *Window) wall() time.Duration {
	end := w.latest
	if len(w.callers) == 0 && w.last != 0 {
		end = time.Unix(0, w.last)
	}
	begin := w.began
	if first := time.Unix(0, w.first); w.first != 0 && first.After(begin) {
		begin = first
	}
	return max(end.Sub(begin), 1)
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
	Bytes uint64
	Hist  *stats.Histogram // how long they took, if they take time
}

// View is what the live view shows at one moment.
type View struct {
	Ops       []OpView // busiest first, by source
	Host      []HostView
	Processes []Process // that made calls and live, by PID
	Ended     int
	Snapshot  event.Snapshot
	Feeders   []Feeder // where their time went in the last seconds, busiest first
	Calls     uint64
	Recorded  uint64
	Lost      uint64
}

// Overhead is the share of the time of the threads that make traced calls
// that probes took, when each call costs so much,
// and each stack of a recorded one.
func (w *Window) Overhead(perCall, perStack time.Duration) float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	took := 0.0
	for _, t := range w.total {
		took += float64(t.Hist.Count())*float64(perCall) + float64(t.Recorded)*float64(perStack)
	}
	if w.fed == 0 {
		return 0
	}
	return min(took/w.fed, 1)
}

// View returns the state now.
func (w *Window) View() View {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now().Unix()
	v := View{Snapshot: w.snapshot, Lost: w.dropped, Ended: w.ended}
	v.Feeders = w.books.view(now - bookSeconds)
	recent := map[event.Op]*stats.Histogram{}
	wall := min(w.wall(), recentSeconds*time.Second)
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
		t := w.host[op]
		h := t.Hist.Clone()
		v.Host = append(v.Host, HostView{op, h.Count(), t.Bytes, &h})
		v.Lost += t.Lost
	}
	for _, pid := range slices.Sorted(maps.Keys(w.procs)) {
		if w.callers[pid] { // not a shell on the way to the job, a helper
			v.Processes = append(v.Processes, w.procs[pid])
		}
	}
	return v
}
