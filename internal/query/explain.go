package query

import (
	"cmp"
	"context"
	"slices"
	"time"

	"ingero/internal/event"
	"ingero/internal/rule"
	"ingero/internal/stats"
	"ingero/internal/store"
)

// Books is a Source that knows where the time went.
type Books interface {
	Source
	Moments
	// Books returns the processes of the window with what they did in each second.
	Books(ctx context.Context, f store.Filter) ([]stats.Process, error)
	// GPU returns what the driver said of the devices.
	GPU(ctx context.Context, f store.Filter) ([]event.GPUSample, error)
	// Places returns where processes ran that took time from traced ones.
	Places(ctx context.Context) (map[uint32]store.Place, error)
}

// SchemaExplain names the form of Explanation.
const SchemaExplain = "explain/1"

// Explanation says where the time went and what took it.
type Explanation struct {
	Schema    string   `json:"schema"`
	Window    Window   `json:"window"`
	Coverage  Coverage `json:"coverage"`
	Processes []Job    `json:"processes"`
	Chains    []Chain  `json:"chains" rows:""`
	Ops       []Op     `json:"ops,omitempty"` // per process, if asked for
	Basis     string   `json:"basis"`         // what it was told from: "ledger", or "calls" where no ledger was recorded
	Notes     []string `json:"notes"`         // what these data cannot tell
	Rest               // findings
}

// Job is one traced process and where the time of its feeders went.
type Job struct {
	PID        uint32     `json:"pid"`
	Comm       string     `json:"comm"`
	Node       string     `json:"node"`
	Rank       *int32     `json:"rank"` // null: not known
	Cgroup     uint64     `json:"cgroup"`
	Container  string     `json:"container,omitempty"`
	Throughput Throughput `json:"throughput"`
	Threads    []Thread   `json:"threads"` // feeders, busiest first
}

// Throughput is the speed of a job: all launches, those of graphs count once.
type Throughput struct {
	Launches float64  `json:"launches_per_s"`
	Baseline *float64 `json:"baseline_launches_per_s"` // when all was well; null: not known
}

// Thread is a feeder and its ledger, whose parts add up to its wall time.
type Thread struct {
	TID         uint32  `json:"tid"`
	Comm        string  `json:"comm"`
	Wall        uint64  `json:"wall_ns"`
	Ledger      []Cell  `json:"ledger" rows:""`    // largest first
	Unaccounted float64 `json:"unaccounted_share"` // of the time it lived in whole seconds of the window
}

// Cell is the time of one thread at one place in one state.
type Cell struct {
	Place string  `json:"place"` // the outermost traced call, "capturing" a graph, or "between calls"
	State string  `json:"state"`
	NS    uint64  `json:"ns"`
	Share float64 `json:"share"`
	Count uint64  `json:"count"`
	Max   uint64  `json:"max_ns"`
}

// ExplainParams says what to explain. From and To must both be set.
type ExplainParams struct {
	store.Filter
	PerProcess bool // also exact percentiles of every operation of each process
}

// lookBack is how long before the window seconds are read to learn what is
// normal.
const lookBack = 10 * time.Minute

// Explain says what took the time in the window.
func Explain(ctx context.Context, s Books, p ExplainParams) (*Explanation, error) {
	w, err := readWindow(ctx, s, p.Filter)
	if err != nil {
		return nil, err
	}
	e := &Explanation{Schema: SchemaExplain, Window: newWindow(p.From, p.To), Basis: basis(w), Processes: []Job{}, Chains: []Chain{}, Notes: []string{}}
	if p.PerProcess || e.Basis == basisCalls {
		ops, err := Ops(ctx, s, OpsParams(p))
		if err != nil {
			return nil, err
		}
		e.Coverage = ops.Coverage
		if p.PerProcess {
			e.Ops = ops.Ops
		}
	} else if e.Coverage, err = covered(ctx, s, p.Filter, w); err != nil {
		return nil, err
	}
	var findings []rule.Finding
	if e.Chains, findings, err = Judge(ctx, *w, s, p.PIDs); err != nil {
		return nil, err
	}
	for i := range w.Processes {
		if q := &w.Processes[i]; wanted(p.PIDs, q.PID) {
			if j, ok := newJob(q, w.From, w.To, findings); ok {
				e.Processes = append(e.Processes, j)
			}
		}
	}
	slices.SortStableFunc(e.Processes, func(a, b Job) int { return cmp.Compare(wall(b), wall(a)) })
	if e.Basis == basisCalls && len(w.Processes) > 0 {
		e.Notes = append(e.Notes, "recorded without a time ledger: what calls took is known, but not why threads waited, nor who kept them waiting")
	}
	return e, nil
}

// covered is the coverage that Ops would report, from what was read already.
func covered(ctx context.Context, s Source, f store.Filter, w *rule.Window) (Coverage, error) {
	cover, err := s.Coverage(ctx, f)
	if err != nil {
		return Coverage{}, err
	}
	lost := cover.Lost
	c := Coverage{Overhead: cover.Overhead, Gaps: append([]string{}, cover.Gaps...), Lost: &lost}
	for i := range w.Processes {
		p := &w.Processes[i]
		if !wanted(f.PIDs, p.PID) {
			continue
		}
		for k := range p.Seconds {
			if s := &p.Seconds[k]; s.At >= w.From && s.At < w.To {
				c.add(s)
			}
		}
	}
	return c, nil
}

func (c *Coverage) add(s *stats.Second) {
	for i := range s.Calls {
		x := &s.Calls[i]
		*c.Lost += x.Lost
		if x.Op.IsCall() {
			c.Calls += x.Hist.Count()
			c.Recorded += x.Recorded
		}
	}
}

func wanted(pids []uint32, pid uint32) bool { return len(pids) == 0 || slices.Contains(pids, pid) }

// readWindow reads all processes: thieves, workers and sharers of a device
// are found among those that were not asked for.
func readWindow(ctx context.Context, s Books, f store.Filter) (*rule.Window, error) {
	w := &rule.Window{From: floorDiv(f.From, 1e9), To: floorDiv(f.To-1, 1e9) + 1}
	f.PIDs, f.Ops = nil, nil
	f.From = max(f.From-int64(lookBack), 0)
	var err error
	if w.Processes, err = s.Books(ctx, f); err != nil {
		return nil, err
	}
	if w.GPU, err = s.GPU(ctx, f); err != nil {
		return nil, err
	}
	places, err := s.Places(ctx)
	w.Place = func(pid uint32) (cgroup, container string) { return places[pid].Cgroup, places[pid].Container }
	return w, err
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func wall(j Job) (ns uint64) {
	for _, t := range j.Threads {
		for _, c := range t.Ledger {
			if c.Place != betweenCalls {
				ns += c.NS
			}
		}
	}
	return ns
}

// betweenCalls is the place outside of all traced calls.
const betweenCalls = "between calls"

// newJob sums up a process; false: it made no call in the window.
func newJob(p *stats.Process, from, to int64, findings []rule.Finding) (Job, bool) {
	j := Job{PID: p.PID, Comm: p.Comm, Node: p.Node, Cgroup: p.Cgroup, Container: p.Container, Threads: []Thread{}}
	if p.Rank.Rank >= 0 {
		j.Rank = &p.Rank.Rank
	}
	var launches, calls uint64
	var first, last int64
	sums := newLedgers()
	for i := range p.Seconds {
		s := &p.Seconds[i]
		if s.At < from || s.At >= to {
			continue
		}
		for k := range s.Calls {
			c := &s.Calls[k]
			if !c.Op.IsCall() {
				continue
			}
			calls += c.Hist.Count()
			if c.Op.Class() == event.Launch {
				launches += c.Hist.Count() - c.Nested
			}
			if first == 0 {
				first = s.At
			}
			last = s.At + 1
		}
		sums.add(s)
	}
	if calls == 0 && len(sums.feeders()) == 0 {
		return j, false
	}
	j.Threads = sums.threads()
	if last > first {
		j.Throughput.Launches = float64(launches) / float64(last-first)
	}
	for _, f := range findings {
		if f.Process.PID == p.PID && f.Process.Start == p.Start && f.Before != nil {
			j.Throughput.Baseline = f.Before
			break
		}
	}
	return j, true
}
