package pipeline

import (
	"cmp"
	"slices"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// books keeps the ledger of the last minute.
type books struct {
	stamp  [recentSeconds]int64
	ledger [recentSeconds][]stats.Ledger
}

func (k *books) take(b *Batch) {
	if len(b.Ledger) == 0 {
		return
	}
	i := b.Second % recentSeconds
	if k.stamp[i] != b.Second {
		k.stamp[i], k.ledger[i] = b.Second, nil
	}
	k.ledger[i] = append(k.ledger[i], b.Ledger...)
}

// Cell is the time one thread spent at one place in one state.
type Cell struct {
	Place event.Op // 0 is between calls
	State event.State
	NS    uint64
	Share float64 // of the thread's time
	Max   uint64  // the longest single interval, ns
}

// Feeder is a thread that makes traced calls, and where its time went. The
// shares of its cells add up to 1.
type Feeder struct {
	PID, TID uint32
	Comm     string
	Wall     uint64 // ns
	Cells    []Cell // largest first
}

// view adds up the seconds from since on.
func (k *books) view(since int64) (feeders []Feeder) {
	type place struct {
		tid uint32
		op  event.Op
	}
	sums, threads := map[place]*stats.Ledger{}, map[uint32]*Feeder{}
	for i := range k.stamp {
		if k.stamp[i] < since {
			continue
		}
		for _, l := range k.ledger[i] {
			if threads[l.TID] == nil {
				threads[l.TID] = &Feeder{PID: l.PID, TID: l.TID}
			}
			t := threads[l.TID]
			t.Comm, t.Wall = l.Comm, t.Wall+l.Total()
			at := place{l.TID, l.Place}
			if sums[at] == nil {
				sums[at] = &stats.Ledger{}
			}
			for s, ns := range l.NS {
				sums[at].NS[s] += ns
				sums[at].Max[s] = max(sums[at].Max[s], l.Max[s])
			}
		}
	}
	calls := map[uint32]bool{}
	for at, sum := range sums {
		t := threads[at.tid]
		calls[at.tid] = calls[at.tid] || at.op != 0
		for s, ns := range sum.NS {
			if ns > 0 {
				t.Cells = append(t.Cells, Cell{at.op, event.State(s), ns, float64(ns) / float64(t.Wall), sum.Max[s]})
			}
		}
	}
	for tid, t := range threads {
		if !calls[tid] {
			continue
		}
		slices.SortFunc(t.Cells, func(a, b Cell) int {
			return cmp.Or(cmp.Compare(b.NS, a.NS), cmp.Compare(a.Place, b.Place), cmp.Compare(a.State, b.State))
		})
		feeders = append(feeders, *t)
	}
	// The busiest first: the one that spends least time waiting between calls.
	slices.SortFunc(feeders, func(a, b Feeder) int {
		return cmp.Or(cmp.Compare(b.inCalls(), a.inCalls()), cmp.Compare(a.TID, b.TID))
	})
	return feeders
}

// inCalls is the time spent inside traced calls.
func (f Feeder) inCalls() uint64 {
	var ns uint64
	for _, c := range f.Cells {
		if c.Place != 0 {
			ns += c.NS
		}
	}
	return ns
}
