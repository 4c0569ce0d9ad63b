package pipeline

import (
	"cmp"
	"slices"
	"sync"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// History keeps what traced processes did, second by second, for whoever
// judges it. It is a Sink. What it keeps is bounded: with few processes the
// last ten minutes, with many the last one.
type History struct {
	mu        sync.Mutex
	procs     map[uint32]*past
	gpus      []event.GPUSample
	snapshots []event.Snapshot
	slow      map[slowKey]event.Event
	newest    int64
}

// slowKey: of each operation of a process the slowest event of each second is
// kept.
type slowKey struct {
	second int64
	pid    uint32
	op     event.Op
}

// past is one process in memory.
type past struct {
	stats.Process
	feeders map[uint32]bool
}

const (
	mostSeconds  = 600
	leastSeconds = 60
	// fullProcesses is how many processes are kept for mostSeconds.
	fullProcesses = 8
)

// NewHistory returns an empty history.
func NewHistory() *History {
	return &History{procs: map[uint32]*past{}, slow: map[slowKey]event.Event{}}
}

// Take adds a batch.
func (h *History) Take(b *Batch) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range b.Processes {
		h.describe(p)
	}
	for i := range b.Calls {
		c := &b.Calls[i]
		if c.PID == 0 {
			continue
		}
		s := h.second(c.PID, b)
		if k := slices.IndexFunc(s.Calls, func(x stats.Calls) bool { return x.Op == c.Op }); k >= 0 {
			sum := s.Calls[k].Hist.Clone()
			s.Calls[k].Hist = &sum
			s.Calls[k].Add(c)
		} else {
			s.Calls = append(s.Calls, *c) // its histogram is nobody else's
		}
	}
	for i := range b.Events {
		e := &b.Events[i]
		if k := (slowKey{e.Start / 1e9, e.PID, e.Op}); e.Dur > h.slow[k].Dur {
			h.slow[k] = *e
		}
	}
	h.books(b)
	h.gpus = append(h.gpus, b.GPU...)
	h.snapshots = append(h.snapshots, b.Snapshots...)
	if len(b.Ledger) > 0 {
		h.newest = max(h.newest, b.Second)
		h.prune()
	}
	return nil
}

func (h *History) describe(p Process) {
	q := h.procs[p.PID]
	if q == nil || (q.Ended != 0 && p.Ended == 0) {
		q = &past{feeders: map[uint32]bool{}}
		h.procs[p.PID] = q
	}
	q.Process.Process, q.Ended, q.Status = p.Process, p.Ended, p.Status
}

// second returns the newest second of a process, which is the batch's.
func (h *History) second(pid uint32, b *Batch) *stats.Second {
	q := h.procs[pid]
	if q == nil {
		q = &past{feeders: map[uint32]bool{}}
		q.PID, q.Rank = pid, event.NoRank
		h.procs[pid] = q
	}
	if n := len(q.Seconds); n > 0 && q.Seconds[n-1].At >= b.Second {
		return &q.Seconds[n-1]
	}
	q.Seconds = append(q.Seconds, stats.Second{At: b.Second, Wall: b.Wall})
	return &q.Seconds[len(q.Seconds)-1]
}

// books adds ledgers and pairs. Threads that do nothing but wait are left
// out, unless they make traced calls.
func (h *History) books(b *Batch) {
	for i := range b.Ledger {
		l := &b.Ledger[i]
		s := h.second(l.PID, b)
		q := h.procs[l.PID]
		if q.Comm == "" {
			q.Comm = l.Comm
		}
		if l.Place != 0 {
			q.feeders[l.TID] = true
		}
		if q.feeders[l.TID] || moves(l) {
			s.Ledger = append(s.Ledger, *l)
		}
	}
	for _, p := range b.Pairs {
		if p.PID != 0 {
			s := h.second(p.PID, b)
			s.Pairs = append(s.Pairs, p)
		}
	}
}

// moves reports whether a thread did anything but one long wait.
func moves(l *stats.Ledger) bool {
	total := l.Total()
	for s := event.Disk; s < event.States; s++ {
		if l.NS[s]+uint64(1e6) > total && s != event.Disk && s != event.Fault && s != event.Reclaim {
			return false
		}
	}
	return true
}

// prune forgets what is too old.
func (h *History) prune() {
	keep := int64(mostSeconds)
	if n := len(h.procs); n > fullProcesses {
		keep = max(mostSeconds*fullProcesses/int64(n), leastSeconds)
	}
	oldest := h.newest - keep
	for pid, q := range h.procs {
		k := 0
		for k < len(q.Seconds) && q.Seconds[k].At < oldest {
			k++
		}
		q.Seconds = slices.Delete(q.Seconds, 0, k)
		if q.Ended != 0 && len(q.Seconds) == 0 {
			delete(h.procs, pid)
		}
	}
	for k := range h.slow {
		if k.second < oldest {
			delete(h.slow, k)
		}
	}
	h.gpus = slices.DeleteFunc(h.gpus, func(g event.GPUSample) bool { return g.Time < oldest*1e9 })
	h.snapshots = slices.DeleteFunc(h.snapshots, func(s event.Snapshot) bool { return s.Time < oldest*1e9 })
}

// Processes returns what is kept, by PID. It must not be changed, and is
// valid until the next Take.
func (h *History) Processes() []stats.Process {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]stats.Process, 0, len(h.procs))
	for _, q := range h.procs {
		out = append(out, q.Process)
	}
	slices.SortFunc(out, func(a, b stats.Process) int { return cmp.Compare(a.PID, b.PID) })
	return out
}

// GPUs returns the samples of the devices that are kept.
func (h *History) GPUs() []event.GPUSample {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.gpus)
}

// Snapshots returns the states of the machine from one time up to another,
// unix ns.
func (h *History) Snapshots(from, to int64) []event.Snapshot {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(h.snapshots), func(s event.Snapshot) bool { return s.Time < from || s.Time >= to })
}

// Slowest returns the slowest events of an operation of a process from one
// time up to another, unix ns, at most one for each second; the slowest first.
func (h *History) Slowest(pid uint32, op event.Op, from, to int64, limit int) []event.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []event.Event
	for k, e := range h.slow {
		if k.pid == pid && k.op == op && e.Start >= from && e.Start < to {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b event.Event) int { return cmp.Or(cmp.Compare(b.Dur, a.Dur), cmp.Compare(a.Start, b.Start)) })
	return all[:min(limit, len(all))]
}

// Newest is the last second that is complete, unix s; 0: none yet.
func (h *History) Newest() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.newest
}
