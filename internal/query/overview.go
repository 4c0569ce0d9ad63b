package query

import (
	"context"

	"ingero/internal/rule"
)

// OverviewAnswer is the state of things at a glance.
type OverviewAnswer struct {
	Window    Window         `json:"window"`
	Coverage  Coverage       `json:"coverage"`
	Events    uint64         `json:"event_count"` // recorded in the window, those of the host as well
	Chains    int            `json:"chain_count"`
	Severity  map[string]int `json:"chains_by_severity"`
	Top       *Chain         `json:"top_chain"` // the most harmful; null: none
	Snapshot  *Snapshot      `json:"snapshot"`  // the newest of the window; null: none
	GPUs      []GPU          `json:"gpus"`      // the newest of each
	Processes []Brief        `json:"processes"`
	Recording bool           `json:"recording"` // an agent is writing
}

// Brief is a process in a few words.
type Brief struct {
	PID      uint32  `json:"pid"`
	Comm     string  `json:"comm"`
	Node     string  `json:"node"`
	Calls    uint64  `json:"calls"`
	CallTime uint64  `json:"call_ns"`
	Share    float64 `json:"share"` // of the window, in outermost calls; above 1 with several threads
}

func askOverview(ctx context.Context, a *Asked, p Scope) (*OverviewAnswer, error) {
	f, err := a.filter(ctx, p, nil, hour)
	if err != nil {
		return nil, err
	}
	ops, err := Ops(ctx, a.Data, OpsParams{f, true})
	if err != nil {
		return nil, err
	}
	out := &OverviewAnswer{Window: ops.Window, Coverage: ops.Coverage, GPUs: []GPU{}, Processes: briefs(ops.Ops, ops.Window),
		Severity: map[string]int{string(rule.High): 0, string(rule.Medium): 0, string(rule.Low): 0}}
	for _, o := range ops.Ops {
		out.Events += o.Recorded
	}
	chains, err := StoredChains(ctx, a.Data, f)
	if err != nil {
		return nil, err
	}
	out.Chains = len(chains.Chains)
	for i := range chains.Chains {
		out.Severity[chains.Chains[i].Severity]++
	}
	if out.Chains > 0 {
		out.Top = &chains.Chains[0]
	}
	if err := out.machine(ctx, a, p); err != nil {
		return nil, err
	}
	out.Recording, err = a.Data.InUse()
	return out, err
}

// machine adds the newest state of the machine and of its GPUs.
func (o *OverviewAnswer) machine(ctx context.Context, a *Asked, p Scope) error {
	m, err := askSnapshots(ctx, a, snapshotsParams{Scope: p, Points: most})
	if err != nil {
		return err
	}
	if n := len(m.Snapshots); n > 0 {
		o.Snapshot = &m.Snapshots[n-1]
	}
	newest := map[int]GPU{}
	for _, g := range m.GPUs {
		newest[g.GPU] = g
	}
	for i := range 1024 {
		if g, ok := newest[i]; ok {
			o.GPUs = append(o.GPUs, g)
		}
	}
	return nil
}

func briefs(ops []Op, w Window) []Brief {
	out := []Brief{}
	for _, o := range ops {
		if o.PID == nil || ofHost(o) != 0 {
			continue
		}
		if n := len(out); n == 0 || out[n-1].PID != *o.PID || out[n-1].Node != *o.Node || out[n-1].Comm != *o.Comm {
			out = append(out, Brief{PID: *o.PID, Comm: *o.Comm, Node: *o.Node})
		}
		b := &out[len(out)-1]
		b.Calls += o.Count
		if o.Count > 0 {
			b.CallTime += uint64(float64(o.Total) * float64(o.Count-o.Nested) / float64(o.Count))
		}
		b.Share = float64(b.CallTime) / (w.Seconds * 1e9)
	}
	return out
}
