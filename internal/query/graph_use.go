package query

import (
	"cmp"
	"context"
	"slices"

	"ingero/internal/store"
)

// GraphFrequency is how graphs are used.
type GraphFrequency struct {
	Window    Window     `json:"window"`
	Graphs    []GraphUse `json:"graphs" rows:""` // most launches first
	Hot       int        `json:"hot"`            // the fewest graphs that make 80 % of the launches
	Cold      int        `json:"cold"`
	Unused    int        `json:"unused"`           // instantiated and never launched
	Pool      int        `json:"pool_peak"`        // executable graphs at the same time, at most
	Recapture float64    `json:"captures_per_min"` // since the first launch: above 0, the pool lacks graphs
	Truncated string     `json:"truncated,omitempty"`
	Rest
}

// GraphUse is one executable graph.
type GraphUse struct {
	Exec     string  `json:"exec"`
	PID      uint32  `json:"pid"`
	Comm     string  `json:"comm"`
	Node     string  `json:"node"`
	Launches uint64  `json:"launches"`
	Share    float64 `json:"share"`          // of all launches
	Rate     float64 `json:"launches_per_s"` // while it existed
	Heat     string  `json:"heat"`           // hot, cold or unused
}

// hotShare is the part of all launches that hot graphs make.
const hotShare = 0.8

func askGraphFrequency(ctx context.Context, a *Asked, p graphParams) (*GraphFrequency, error) {
	f, err := a.filter(ctx, p.Scope, graphOps, hour)
	if err != nil {
		return nil, err
	}
	g, err := graphs(ctx, a.Data, f)
	if err != nil {
		return nil, err
	}
	out := &GraphFrequency{Window: g.Window, Graphs: []GraphUse{}, Truncated: g.Truncated}
	var total, seen uint64
	for i := range g.Graphs {
		total += g.Graphs[i].Launches
	}
	slices.SortStableFunc(g.Graphs, func(x, y Graph) int { return cmp.Compare(y.Launches, x.Launches) })
	for i := range g.Graphs {
		u := newGraphUse(&g.Graphs[i], total, f)
		switch {
		case u.Launches == 0:
			u.Heat = "unused"
			out.Unused++
		case float64(seen) < hotShare*float64(total):
			u.Heat = "hot"
			out.Hot++
		default:
			u.Heat = "cold"
			out.Cold++
		}
		seen += u.Launches
		out.Graphs = append(out.Graphs, u)
	}
	out.Pool, out.Recapture = pool(g.Graphs, f)
	out.Graphs, out.Rest = page(out.Graphs, p.Offset, limit(p.Limit, 50, most))
	return out, nil
}

func newGraphUse(g *Graph, total uint64, f store.Filter) GraphUse {
	u := GraphUse{Exec: g.Exec, PID: g.PID, Comm: g.Comm, Node: g.Node, Launches: g.Launches}
	if total > 0 {
		u.Share = float64(g.Launches) / float64(total)
	}
	from, to := g.life(f)
	u.Rate = float64(g.Launches) / (float64(to-from) / 1e9)
	return u
}

// life is the part of the window in which the graph existed, unix ns.
func (g *Graph) life(f store.Filter) (from, to int64) {
	from, to = f.From, f.To
	if g.Instantiated != nil {
		from = g.Instantiated.UnixNano()
	}
	if g.Destroyed != nil {
		to = g.Destroyed.UnixNano()
	}
	return from, max(to, from+1)
}

// pool returns how many graphs existed at the same time, at most, and how
// many were captured in a minute after the first launch.
func pool(all []Graph, f store.Filter) (peak int, perMinute float64) {
	type change struct {
		at   int64
		more int
	}
	var changes []change
	first := int64(0)
	for i := range all {
		from, to := all[i].life(f)
		changes = append(changes, change{from, 1}, change{to, -1})
		if t := all[i].FirstLaunch; t != nil && (first == 0 || t.UnixNano() < first) {
			first = t.UnixNano()
		}
	}
	slices.SortFunc(changes, func(x, y change) int { return cmp.Or(cmp.Compare(x.at, y.at), cmp.Compare(x.more, y.more)) })
	now := 0
	for _, c := range changes {
		now += c.more
		peak = max(peak, now)
	}
	if first == 0 {
		return peak, 0
	}
	captures := 0
	for i := range all {
		if t := all[i].Captured; t != nil && t.UnixNano() > first {
			captures++
		}
	}
	return peak, float64(captures) / max(float64(f.To-first)/6e10, 1.0/60)
}
