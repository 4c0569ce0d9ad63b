package query

import (
	"cmp"
	"context"
	"slices"

	"ingero/internal/event"
	"ingero/internal/stats"
)

type thievesParams struct {
	Scope
	Limit  int `json:"limit,omitempty" jsonschema:"at most so many (50)"`
	Offset int `json:"offset,omitempty" jsonschema:"leave out so many of the first"`
}

// ThievesAnswer is who cost whom time, the most first.
type ThievesAnswer struct {
	Window  Window  `json:"window"`
	Thieves []Thief `json:"thieves" rows:""`
	Rest
}

// Roles of a Thief.
const (
	roleThief = "thief" // ran on the CPU that the process waited for
	roleRival = "rival" // used the disk that the process waited for: ns is what its own requests took
	roleWaker = "waker" // ended the waits of a thread
)

// Thief is a party that cost a traced process time. PID 0 is the kernel on
// its own behalf, or an idle CPU: the process was not allowed to run.
type Thief struct {
	Role      string  `json:"role"`
	PID       uint32  `json:"pid"`
	TID       uint32  `json:"tid,omitempty"` // of a waker
	Comm      string  `json:"comm"`
	Cgroup    string  `json:"cgroup"`
	Container string  `json:"container"`
	Victim    uint32  `json:"victim_pid"`
	VictimTID uint32  `json:"victim_tid,omitempty"` // whose waits a waker ended
	VictimOf  string  `json:"victim_comm"`
	Node      string  `json:"node"`
	State     string  `json:"state"` // of the victim
	NS        uint64  `json:"ns"`
	Count     uint64  `json:"count"`
	Share     float64 `json:"share"` // of the window
}

func askThieves(ctx context.Context, a *Asked, p thievesParams) (*ThievesAnswer, error) {
	f, err := a.filter(ctx, p.Scope, nil, hour)
	if err != nil {
		return nil, err
	}
	books, err := a.Data.Books(ctx, f)
	if err != nil {
		return nil, err
	}
	places, err := a.Data.Places(ctx)
	if err != nil {
		return nil, err
	}
	out := &ThievesAnswer{Window: newWindow(f.From, f.To), Thieves: []Thief{}}
	for i := range books {
		sums := map[Thief]*stats.Pair{} // by all that tells one row from another
		for k := range books[i].Seconds {
			for _, pair := range books[i].Seconds[k].Pairs {
				key := newThief(&books[i], pair)
				if sums[key] == nil {
					sums[key] = &stats.Pair{}
				}
				sums[key].NS += pair.NS
				sums[key].Count += pair.Count
			}
		}
		for t, sum := range sums {
			t.NS, t.Count, t.Share = sum.NS, sum.Count, float64(sum.NS)/float64(f.To-f.From)
			t.Cgroup, t.Container = places[t.PID].Cgroup, places[t.PID].Container
			out.Thieves = append(out.Thieves, t)
		}
	}
	slices.SortFunc(out.Thieves, func(x, y Thief) int {
		return cmp.Or(cmp.Compare(y.NS, x.NS), cmp.Compare(x.Victim, y.Victim), cmp.Compare(x.VictimTID, y.VictimTID),
			cmp.Compare(x.PID, y.PID), cmp.Compare(x.TID, y.TID), cmp.Compare(x.Comm, y.Comm), cmp.Compare(x.State, y.State))
	})
	out.Thieves, out.Rest = page(out.Thieves, p.Offset, limit(p.Limit, 50, most))
	return out, nil
}

// newThief is a pair without its figures.
func newThief(victim *stats.Process, p stats.Pair) Thief {
	t := Thief{
		Role: roleWaker, PID: p.OtherPID, TID: p.OtherTID, Comm: p.OtherComm,
		Victim: victim.PID, VictimTID: p.TID, VictimOf: victim.Comm, Node: victim.Node, State: p.State.String(),
	}
	switch {
	case p.TID == 0 && p.State == event.Runnable:
		t.Role, t.TID = roleThief, 0
	case p.TID == 0:
		t.Role, t.TID = roleRival, 0
	}
	return t
}
