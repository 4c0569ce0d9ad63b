package pipeline

import (
	"sync"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// recentSeconds is how far back the percentiles of the live view reach.
const recentSeconds = 60

// Window keeps what the live view shows: totals since the start and what was
// done in each second of the last minute, by process. It is a Sink.
type Window struct {
	mu       sync.Mutex
	total    map[uint32]totals            // by process that lives, of calls and operations of the host
	recent   [recentSeconds][]stats.Calls // by second, modulo; histograms are shared and never changed
	stamp    [recentSeconds]int64
	procs    map[uint32]Process // that live
	callers  map[uint32]bool    // those that made a traced call
	ended    int                // that made a traced call
	feeders  map[uint32]bool    // threads that made a traced call
	fed      float64            // ns these threads lived while we traced
	first    int64              // start of the first caller, unix ns
	last     int64              // end of the last caller that has ended, unix ns
	snapshot event.Snapshot
	books    books
	dropped  uint64
	now      func() time.Time
	began    time.Time
	latest   time.Time // when counts last arrived
}

// totals is what one process did since the start.
type totals map[event.Op]*stats.Calls

// others is the number under which all processes are counted together that
// have ended, or that nobody could be told about.
const others = 0

// NewWindow returns an empty window.
func NewWindow(now func() time.Time) *Window {
	return &Window{now: now, began: now(), total: map[uint32]totals{}, procs: map[uint32]Process{}, callers: map[uint32]bool{}, feeders: map[uint32]bool{}}
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
			w.of(l.PID, e.Op).Hist.Add(0)
		}
	}
	for i := range b.Calls {
		c := &b.Calls[i]
		w.of(c.PID, c.Op).Add(c)
		k := b.Second % recentSeconds
		if w.stamp[k] != b.Second {
			w.stamp[k], w.recent[k] = b.Second, nil
		}
		w.recent[k] = append(w.recent[k], *c)
		if !c.Op.IsCall() {
			continue
		}
		w.latest = w.now()
		w.callers[c.PID] = true
		if start := w.procs[c.PID].Start; start != 0 && (w.first == 0 || start < w.first) {
			w.first = start
		}
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

// of returns the total of an operation of a process.
func (w *Window) of(pid uint32, op event.Op) *stats.Calls {
	if _, known := w.procs[pid]; !known {
		pid = others
	}
	t := w.total[pid]
	if t == nil {
		t = totals{}
		w.total[pid] = t
	}
	if t[op] == nil {
		t[op] = &stats.Calls{PID: pid, Op: op, Hist: &stats.Histogram{}}
	}
	return t[op]
}

// forget keeps of a process that has ended only what it adds to the totals.
func (w *Window) forget(p Process) {
	if w.callers[p.PID] {
		w.ended++
		w.last = max(w.last, p.Ended)
		delete(w.callers, p.PID)
	}
	if w.procs[p.PID].Start > p.Start { // the number is used again
		return
	}
	delete(w.procs, p.PID)
	for op, t := range w.total[p.PID] {
		w.of(others, op).Add(t)
	}
	if p.PID != others {
		delete(w.total, p.PID)
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

// Overhead is the share of the time of the threads that make traced calls
// that probes took, when each call costs so much,
// and each stack of a recorded one.
func (w *Window) Overhead(perCall, perStack time.Duration) float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	took := 0.0
	for _, process := range w.total {
		for op, t := range process {
			if op.IsCall() {
				took += float64(t.Hist.Count())*float64(perCall) + float64(t.Recorded)*float64(perStack)
			}
		}
	}
	if w.fed == 0 {
		return 0
	}
	return min(took/w.fed, 1)
}
