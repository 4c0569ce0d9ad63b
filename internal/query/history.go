package query

import (
	"cmp"
	"context"
	"slices"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
)

type historyParams struct {
	Scope
	Ops    OpNames `json:"op,omitempty" jsonschema:"only these operations, such as cudaMemcpy, comma-separated"`
	Points int     `json:"points,omitempty" jsonschema:"steps over time, at most so many (120)"`
}

// HistoryAnswer is every operation over time.
type HistoryAnswer struct {
	Window Window      `json:"window"`
	Step   int64       `json:"step_seconds"`
	Ops    []OpHistory `json:"ops" rows:""` // most time first
}

// OpHistory is one operation over time, of all processes that were asked for.
type OpHistory struct {
	Source string   `json:"source"`
	Op     string   `json:"op"`
	Class  string   `json:"class"`
	Series []OpStep `json:"series" rows:""` // steps without calls are left out
}

// OpStep is one step of an operation; counts and percentiles are exact.
type OpStep struct {
	At    time.Time `json:"at"`
	Count uint64    `json:"count"`
	Bytes uint64    `json:"bytes"`
	Total uint64    `json:"total_ns"`
	P50   uint64    `json:"p50_ns"`
	P95   uint64    `json:"p95_ns"`
	P99   uint64    `json:"p99_ns"`
	Max   uint64    `json:"max_ns"`
}

func askHistory(ctx context.Context, a *Asked, p historyParams) (*HistoryAnswer, error) {
	f, err := a.filter(ctx, p.Scope, p.Ops, hour)
	if err != nil {
		return nil, err
	}
	books, err := a.Data.Books(ctx, f)
	if err != nil {
		return nil, err
	}
	out := &HistoryAnswer{Window: newWindow(f.From, f.To), Step: stepOf(f.From, f.To, limit(p.Points, points, most)), Ops: []OpHistory{}}
	sums := map[event.Op]map[int64]*stats.Calls{}
	for i := range books {
		for k := range books[i].Seconds {
			s := &books[i].Seconds[k]
			at := floorDiv(s.At, out.Step) * out.Step
			for j := range s.Calls {
				if c := &s.Calls[j]; len(p.Ops) == 0 || slices.Contains(p.Ops, c.Op) {
					addStep(sums, at, c)
				}
			}
		}
	}
	totals := map[string]uint64{}
	for op, steps := range sums {
		h := newOpHistory(op, steps)
		for _, s := range h.Series {
			totals[h.Source+h.Op] += s.Total
		}
		out.Ops = append(out.Ops, h)
	}
	slices.SortFunc(out.Ops, func(x, y OpHistory) int {
		return cmp.Or(cmp.Compare(totals[y.Source+y.Op], totals[x.Source+x.Op]), cmp.Compare(x.Source, y.Source), cmp.Compare(x.Op, y.Op))
	})
	return out, nil
}

func addStep(sums map[event.Op]map[int64]*stats.Calls, at int64, c *stats.Calls) {
	if sums[c.Op] == nil {
		sums[c.Op] = map[int64]*stats.Calls{}
	}
	if sums[c.Op][at] == nil {
		sums[c.Op][at] = &stats.Calls{}
	}
	sums[c.Op][at].Add(c)
}

func newOpHistory(op event.Op, steps map[int64]*stats.Calls) OpHistory {
	out := OpHistory{Source: op.Source().String(), Op: op.String(), Class: op.Class().String(), Series: []OpStep{}}
	for at, c := range steps {
		h := c.Hist
		quantile := func(q float64) uint64 { return min(h.Quantile(q), h.Max()) }
		out.Series = append(out.Series, OpStep{
			At: time.Unix(at, 0).UTC(), Count: h.Count(), Bytes: c.Bytes, Total: h.Sum(),
			P50: quantile(0.5), P95: quantile(0.95), P99: quantile(0.99), Max: h.Max(),
		})
	}
	slices.SortFunc(out.Series, func(x, y OpStep) int { return x.At.Compare(y.At) })
	return out
}
