package query

import (
	"cmp"
	"math"
	"slices"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// ledgers adds up the books of a process's threads over a window.
type ledgers struct {
	sums    map[spot]*stats.Ledger
	names   map[uint32]string
	seconds map[uint32][]presence // of each thread
	length  map[int64]uint64      // of a second: the time from one drain to the next, ns
}

type spot struct {
	tid   uint32
	place event.Op
}

// presence is how much of a second a thread's books cover.
type presence struct {
	at int64
	ns uint64
}

func newLedgers() *ledgers {
	return &ledgers{sums: map[spot]*stats.Ledger{}, names: map[uint32]string{}, seconds: map[uint32][]presence{}, length: map[int64]uint64{}}
}

func (b *ledgers) add(s *stats.Second) {
	walls := map[uint32]uint64{}
	for i := range s.Ledger {
		l := &s.Ledger[i]
		if l.Comm != "" {
			b.names[l.TID] = l.Comm
		}
		at := spot{l.TID, l.Place}
		if b.sums[at] == nil {
			b.sums[at] = &stats.Ledger{}
		}
		sum := b.sums[at]
		for state := range l.NS {
			sum.NS[state] += l.NS[state]
			sum.Count[state] += l.Count[state]
			sum.Max[state] = max(sum.Max[state], l.Max[state])
		}
		walls[l.TID] += l.Total()
	}
	for tid, ns := range walls {
		b.seconds[tid] = append(b.seconds[tid], presence{s.At, ns})
	}
	b.length[s.At] = uint64(s.Wall)
}

// feeders are the threads that made traced calls.
func (b *ledgers) feeders() map[uint32]bool {
	all := map[uint32]bool{}
	for at := range b.sums {
		if at.place != 0 && at.tid != 0 {
			all[at.tid] = true
		}
	}
	return all
}

// threads returns the feeders, the one with most time in calls first.
func (b *ledgers) threads() []Thread {
	feeders := b.feeders()
	byTID, in := map[uint32]*Thread{}, map[uint32]uint64{}
	for at, sum := range b.sums {
		if !feeders[at.tid] {
			continue
		}
		t := byTID[at.tid]
		if t == nil {
			t = &Thread{TID: at.tid, Comm: b.names[at.tid], Ledger: []Cell{}}
			byTID[at.tid] = t
		}
		place := betweenCalls
		if at.place != 0 {
			place = at.place.String()
			in[at.tid] += sum.Total()
		}
		for state, ns := range sum.NS {
			if ns > 0 {
				t.Ledger = append(t.Ledger, Cell{Place: place, State: event.State(state).String(), NS: ns, Count: sum.Count[state], Max: sum.Max[state]})
				t.Wall += ns
			}
		}
	}
	out := []Thread{}
	for tid, t := range byTID {
		for i := range t.Ledger {
			t.Ledger[i].Share = float64(t.Ledger[i].NS) / float64(t.Wall)
		}
		slices.SortFunc(t.Ledger, func(a, b Cell) int {
			return cmp.Or(cmp.Compare(b.NS, a.NS), cmp.Compare(a.Place, b.Place), cmp.Compare(a.State, b.State))
		})
		t.Unaccounted = b.unaccounted(tid)
		out = append(out, *t)
	}
	slices.SortFunc(out, func(x, y Thread) int {
		return cmp.Or(cmp.Compare(in[y.TID], in[x.TID]), cmp.Compare(x.TID, y.TID))
	})
	return out
}

// unaccounted compares a thread's books with the clock, over the seconds
// between its first and its last: in those it may have begun and ended. The
// books of two neighbouring seconds may divide their time a little otherwise
// than the clock, their sum may not.
func (b *ledgers) unaccounted(tid uint32) float64 {
	seconds := slices.Clone(b.seconds[tid])
	slices.SortFunc(seconds, func(a, b presence) int { return cmp.Compare(a.at, b.at) })
	if len(seconds) < 3 {
		return 0
	}
	var booked, clock float64
	for i, s := range seconds[1 : len(seconds)-1] {
		if b.length[s.at] == 0 {
			continue // an older database does not say
		}
		booked += float64(s.ns)
		clock += float64(b.length[s.at])
		if gap := s.at - seconds[i].at - 1; gap > 0 {
			clock += float64(gap) * 1e9 // books of these seconds are missing
		}
	}
	if clock == 0 {
		return 0
	}
	return math.Abs(clock-booked) / clock
}
