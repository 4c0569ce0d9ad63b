package store

import (
	"cmp"
	"slices"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
)

const (
	// busyEnough is what a thread must do in a second, outside of one single
	// wait, to be stored on its own.
	busyEnough = uint64(time.Millisecond)
	// namedFor is for how many seconds a thread counts as one that waits for
	// others or wakes them.
	namedFor = 60
	// sameStart is how far apart two reports of the start of one process may
	// be: /proc knows it to 10 ms, the kernel side to the nanosecond.
	sameStart = int64(2 * time.Second)
	// manyThreads is how many threads of a process are remembered; above it,
	// those not seen for namedFor are forgotten.
	manyThreads = 4096
	// mostNS bounds what is stored in one row, 13 days, so that sums of rows
	// never overflow.
	mostNS = uint64(1) << 50
)

type threadState struct {
	comm   string
	start  int64
	feeder bool
	named  int64 // second in which a pair last named it
	seen   int64 // second in which it was last told apart
	listed bool  // in the table of threads, or about to be
}

type threadKey struct {
	p   *processState
	tid uint32
}

type ledgerKey struct {
	threadKey
	second int64
	place  event.Op
}

type waitKey struct {
	threadKey
	second             int64
	state              event.State
	otherPID, otherTID uint32
	otherComm          string
}

type waitSum struct{ ns, count uint64 }

// Books adds where the time of one second (unix s) went and who cost whom
// time. Several calls for the same second add up. Threads are told apart if
// they make calls, wait for others, wake them or do something; all others
// are summed up under thread 0 of their process.
func (w *Writer) Books(second int64, ledger []stats.Ledger, pairs []stats.Pair) {
	owners := make([]*processState, len(ledger))
	// The oldest first: a process that nobody knows begins with that thread.
	oldest := make([]int, len(ledger))
	for i := range ledger {
		oldest[i] = i
	}
	slices.SortFunc(oldest, func(a, b int) int { return cmp.Compare(ledger[a].Start, ledger[b].Start) })
	for _, i := range oldest {
		l := &ledger[i]
		owners[i] = w.owner(l.PID, l.Start, l.Start)
		if p := owners[i]; p.met && !p.known && p.row.Comm != l.Comm && (l.TID == l.PID || p.row.Comm == "") {
			p.row.Comm, p.changed = l.Comm, true
		}
		if l.Place != 0 {
			owners[i].thread(l.TID).feeder = true
		}
	}
	for i := range pairs {
		w.pair(second, &pairs[i])
	}
	busy := busyThreads(ledger, owners)
	for i := range ledger {
		l, at := &ledger[i], threadKey{owners[i], ledger[i].TID}
		if t := at.p.threads[at.tid]; busy[at] || (t != nil && (t.feeder || second-t.named < namedFor)) {
			w.list(second, at, l)
		} else {
			at.tid = 0
		}
		k := ledgerKey{at, second, l.Place}
		sum := w.ledger[k]
		if sum == nil {
			sum = new(stats.Ledger)
			w.ledger[k] = sum
		}
		addLedger(sum, l)
	}
}

// busyThreads returns the threads that spent enough of the second outside of
// the state in which they waited longest.
func busyThreads(ledger []stats.Ledger, owners []*processState) map[threadKey]bool {
	sums := map[threadKey]*[event.States]uint64{}
	for i := range ledger {
		k := threadKey{owners[i], ledger[i].TID}
		if sums[k] == nil {
			sums[k] = new([event.States]uint64)
		}
		for s, ns := range ledger[i].NS {
			sums[k][s] += min(ns, mostNS)
		}
	}
	busy := map[threadKey]bool{}
	for k, sum := range sums {
		var all, longest uint64
		for s, ns := range sum {
			all += ns
			if event.State(s).Blocked() {
				longest = max(longest, ns)
			}
		}
		busy[k] = k.tid != 0 && all-longest >= busyEnough
	}
	return busy
}

func addLedger(sum, l *stats.Ledger) {
	for s := range l.NS {
		sum.NS[s] = min(sum.NS[s]+min(l.NS[s], mostNS), mostNS)
		sum.Count[s] = min(sum.Count[s]+min(l.Count[s], mostNS), mostNS)
		sum.Max[s] = min(max(sum.Max[s], l.Max[s]), mostNS)
	}
}

// list keeps the name of a thread that is told apart.
func (w *Writer) list(second int64, at threadKey, l *stats.Ledger) {
	t := at.p.thread(at.tid)
	if !t.listed || t.comm != l.Comm || t.start != l.Start || floorDiv(t.seen, 60) < floorDiv(second, 60) {
		t.comm, t.start, t.listed = l.Comm, l.Start, true
		w.threads[at] = t
	}
	t.seen = second
	if len(at.p.threads) > manyThreads {
		for tid, t := range at.p.threads {
			if second-max(t.seen, t.named) > namedFor {
				delete(at.p.threads, tid)
			}
		}
	}
}

func (w *Writer) pair(second int64, x *stats.Pair) {
	at := threadKey{w.owner(x.PID, (second+1)*1e9, second*1e9), x.TID}
	if x.TID != 0 {
		at.p.thread(x.TID).named = second
		if len(w.byPID[x.OtherPID]) > 0 && x.OtherTID != 0 {
			w.owner(x.OtherPID, (second+1)*1e9, second*1e9).thread(x.OtherTID).named = second
		}
	}
	k := waitKey{at, second, min(x.State, event.Other), x.OtherPID, x.OtherTID, x.OtherComm}
	sum := w.waits[k]
	sum.ns = min(sum.ns+min(x.NS, mostNS), mostNS)
	sum.count = min(sum.count+min(x.Count, mostNS), mostNS)
	w.waits[k] = sum
}

func (p *processState) thread(tid uint32) *threadState {
	t := p.threads[tid]
	if t == nil {
		if p.threads == nil {
			p.threads = map[uint32]*threadState{}
		}
		t = &threadState{named: -namedFor}
		p.threads[tid] = t
	}
	return t
}

// owner finds the process that had this number when something of it began
// and that still lived at a later time. If nothing was said of it yet, such
// as of a worker that makes no calls, it is entered as met.
func (w *Writer) owner(pid uint32, began, lived int64) *processState {
	for _, fits := range []func(*processState) bool{
		func(p *processState) bool { return p.row.Start <= began && (p.row.Ended == 0 || p.row.Ended >= lived) },
		func(p *processState) bool {
			return p.row.Start <= began+sameStart && (p.row.Ended == 0 || p.row.Ended >= lived)
		},
		func(p *processState) bool { return p.row.Ended == 0 }, // the wall clock was stepped meanwhile
	} {
		var best *processState
		for _, p := range w.byPID[pid] {
			if fits(p) && (best == nil || p.row.Start > best.row.Start) {
				best = p
			}
		}
		if best != nil {
			return best
		}
	}
	p := w.process(processKey{pid, began})
	p.met = true
	return p
}

// adopt returns a process that was met by the ledger alone and turns out to
// be key.
func (w *Writer) adopt(key processKey) *processState {
	for _, p := range w.byPID[key.pid] {
		apart := max(p.row.Start-key.start, key.start-p.row.Start)
		if p.met && !p.known && !p.counted && key.start != 0 && apart <= sameStart {
			delete(w.processes, processKey{key.pid, p.row.Start})
			w.processes[key] = p
			p.row.Start, p.changed, p.moved = key.start, true, p.id != 0
			return p
		}
	}
	return nil
}

// forget drops a process that has ended.
func (w *Writer) forget(key processKey) {
	p := w.processes[key]
	delete(w.processes, key)
	w.byPID[key.pid] = slices.DeleteFunc(w.byPID[key.pid], func(x *processState) bool { return x == p })
	if len(w.byPID[key.pid]) == 0 {
		delete(w.byPID, key.pid)
	}
}

func compareThreads(a, b threadKey) int {
	return cmp.Or(cmp.Compare(a.p.row.PID, b.p.row.PID), cmp.Compare(a.tid, b.tid))
}
