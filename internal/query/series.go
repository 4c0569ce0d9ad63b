package query

import (
	"cmp"
	"context"
	"slices"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// points is how many steps a series over time has at most, unless told.
const points = 120

type ledgerParams struct {
	Scope
	Points int `json:"points,omitempty" jsonschema:"steps over time, at most so many (120)"`
}

// LedgerAnswer is where the time of all feeders went.
type LedgerAnswer struct {
	Window    Window          `json:"window"`
	Step      int64           `json:"step_seconds"`
	Processes []LedgerProcess `json:"processes" rows:""` // busiest first
}

// LedgerProcess is a traced process.
type LedgerProcess struct {
	PID     uint32         `json:"pid"`
	Comm    string         `json:"comm"`
	Node    string         `json:"node"`
	Rank    *int32         `json:"rank"` // null: not known
	Threads []LedgerThread `json:"threads" rows:""`
}

// LedgerThread is a feeder with its ledger in total and over time.
type LedgerThread struct {
	Thread
	Series []LedgerStep `json:"series" rows:"-"` // steps without data are left out
}

// LedgerStep is one step of a thread's time.
type LedgerStep struct {
	At     time.Time         `json:"at"`
	InCall uint64            `json:"in_call_ns"` // inside traced calls, whatever the state
	States map[string]uint64 `json:"states_ns"`
}

func askLedger(ctx context.Context, a *Asked, p ledgerParams) (*LedgerAnswer, error) {
	f, err := a.filter(ctx, p.Scope, nil, hour)
	if err != nil {
		return nil, err
	}
	books, err := a.Data.Books(ctx, f)
	if err != nil {
		return nil, err
	}
	out := &LedgerAnswer{Window: newWindow(f.From, f.To), Step: stepOf(f.From, f.To, limit(p.Points, points, most)), Processes: []LedgerProcess{}}
	jobs := map[*LedgerProcess]uint64{}
	var order []*LedgerProcess
	for i := range books {
		if q, busy := newLedgerProcess(&books[i], out.Step); len(q.Threads) > 0 {
			order = append(order, q)
			jobs[q] = busy
		}
	}
	slices.SortStableFunc(order, func(x, y *LedgerProcess) int { return cmp.Compare(jobs[y], jobs[x]) })
	for _, q := range order {
		out.Processes = append(out.Processes, *q)
	}
	return out, nil
}

// stepOf is the whole number of seconds that makes n steps of the window.
func stepOf(from, to int64, n int) int64 {
	return max((to-from+int64(n)*1e9-1)/(int64(n)*1e9), 1)
}

// newLedgerProcess also returns the time of its feeders in calls.
func newLedgerProcess(p *stats.Process, step int64) (*LedgerProcess, uint64) {
	sums := newLedgers()
	series := map[uint32]map[int64]*LedgerStep{}
	var busy uint64
	for i := range p.Seconds {
		s := &p.Seconds[i]
		sums.add(s)
		for k := range s.Ledger {
			l := &s.Ledger[k]
			if series[l.TID] == nil {
				series[l.TID] = map[int64]*LedgerStep{}
			}
			at := floorDiv(s.At, step) * step
			x := series[l.TID][at]
			if x == nil {
				x = &LedgerStep{At: time.Unix(at, 0).UTC(), States: map[string]uint64{}}
				series[l.TID][at] = x
			}
			x.add(l)
			if l.Place != 0 {
				busy += l.Total()
			}
		}
	}
	q := &LedgerProcess{PID: p.PID, Comm: p.Comm, Node: p.Node, Rank: rankOf(p.Rank), Threads: []LedgerThread{}}
	for _, t := range sums.threads() {
		lt := LedgerThread{Thread: t, Series: []LedgerStep{}}
		for _, x := range series[t.TID] {
			lt.Series = append(lt.Series, *x)
		}
		slices.SortFunc(lt.Series, func(x, y LedgerStep) int { return x.At.Compare(y.At) })
		q.Threads = append(q.Threads, lt)
	}
	return q, busy
}

func (x *LedgerStep) add(l *stats.Ledger) {
	for state, ns := range l.NS {
		if ns > 0 {
			x.States[event.State(state).String()] += ns
		}
	}
	if l.Place.IsCall() {
		x.InCall += l.Total()
	}
}

func rankOf(r event.Rank) *int32 {
	if r.Rank < 0 {
		return nil
	}
	return &r.Rank
}

type snapshotsParams struct {
	Scope
	Points int `json:"points,omitempty" jsonschema:"at most so many, of which each is an average (600)"`
}

// SnapshotsAnswer is the machine over time.
type SnapshotsAnswer struct {
	Window    Window     `json:"window"`
	Snapshots []Snapshot `json:"snapshots" rows:""`
	GPUs      []GPU      `json:"gpus"`
}

// Snapshot is the state of the machine. Null is not known.
type Snapshot struct {
	Time     time.Time `json:"timestamp"`
	CPU      float64   `json:"cpu_percent"`
	Mem      float64   `json:"mem_percent"`
	MemAvail float64   `json:"mem_available_mib"`
	Swap     float64   `json:"swap_mib"`
	Load     float64   `json:"load_avg_1m"`
	PSICPU   *float64  `json:"psi_cpu_percent"` // of the time, some task waited for a CPU
	PSIMem   *float64  `json:"psi_memory_percent"`
	PSIIO    *float64  `json:"psi_io_percent"`
	Cores    []float64 `json:"cores_percent"`
}

// GPU is what the driver says of one GPU at one moment. Null is not known.
type GPU struct {
	Time     time.Time `json:"timestamp"`
	GPU      int       `json:"gpu"`
	Util     *float64  `json:"utilization_percent"`
	MemUsed  *float64  `json:"mem_used_mib"`
	MemTotal *float64  `json:"mem_total_mib"`
	SMClock  *float64  `json:"sm_clock_mhz"`
	SMMax    *float64  `json:"sm_clock_max_mhz"`
	Power    *float64  `json:"power_w"`
	Temp     *float64  `json:"temperature_c"`
	Throttle string    `json:"throttle_reasons"`
}

func askSnapshots(ctx context.Context, a *Asked, p snapshotsParams) (*SnapshotsAnswer, error) {
	f, err := a.filter(ctx, p.Scope, nil, recent)
	if err != nil {
		return nil, err
	}
	all, err := a.Data.Snapshots(ctx, f)
	if err != nil {
		return nil, err
	}
	gpus, err := a.Data.GPU(ctx, f)
	if err != nil {
		return nil, err
	}
	out := &SnapshotsAnswer{Window: newWindow(f.From, f.To), Snapshots: []Snapshot{}, GPUs: []GPU{}}
	n := limit(p.Points, 600, most)
	for _, group := range grouped(all, n) {
		out.Snapshots = append(out.Snapshots, average(group))
	}
	every := max((len(gpus)+n-1)/n, 1)
	for i, g := range gpus {
		if i%every == 0 || i == len(gpus)-1 {
			out.GPUs = append(out.GPUs, newGPU(g))
		}
	}
	return out, nil
}

// grouped divides all into at most n neighbours of the same length.
func grouped[T any](all []T, n int) [][]T {
	return slices.Collect(slices.Chunk(all, max((len(all)+n-1)/n, 1)))
}

// average is a group as one; its time is that of the last.
func average(group []event.Snapshot) Snapshot {
	mean := func(of func(event.Snapshot) float64) float64 {
		var sum float64
		for _, s := range group {
			sum += of(s)
		}
		return sum / float64(len(group))
	}
	last := group[len(group)-1]
	return Snapshot{
		Time: time.Unix(0, last.Time).UTC(),
		CPU:  mean(func(s event.Snapshot) float64 { return s.CPU }), Mem: mean(func(s event.Snapshot) float64 { return s.Mem }),
		MemAvail: mean(func(s event.Snapshot) float64 { return float64(s.MemAvail) }),
		Swap:     mean(func(s event.Snapshot) float64 { return float64(s.Swap) }),
		Load:     mean(func(s event.Snapshot) float64 { return s.Load }),
		PSICPU:   known(mean(func(s event.Snapshot) float64 { return s.PSICPU })),
		PSIMem:   known(mean(func(s event.Snapshot) float64 { return s.PSIMem })),
		PSIIO:    known(mean(func(s event.Snapshot) float64 { return s.PSIIO })),
		Cores:    append([]float64{}, last.Cores...),
	}
}

// known is nil for what is not: -1, or an average with some of it.
func known(v float64) *float64 {
	if v < 0 {
		return nil
	}
	return &v
}

func newGPU(g event.GPUSample) GPU {
	return GPU{
		Time: time.Unix(0, g.Time).UTC(), GPU: g.GPU, Util: known(g.Util), MemUsed: known(g.MemUsed), MemTotal: known(g.MemTotal),
		SMClock: known(g.SMClock), SMMax: known(g.SMMax), Power: known(g.Power), Temp: known(g.Temp), Throttle: g.Throttle,
	}
}
