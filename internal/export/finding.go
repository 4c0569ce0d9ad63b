package export

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"ingero/internal/query"
)

// findingMark is a moment of a finding on its track.
type findingMark struct {
	track *track
	mark  mark
}

// findFindings reads the findings that were made while it was recorded, and
// the call that shows each best: an arrow leads from the begin of a finding
// through that call to where the finding ends.
func (w *walker) findFindings(ctx context.Context) error {
	e, err := query.StoredChains(ctx, w.src, w.o.Filter)
	if err != nil {
		return err
	}
	w.result.Chains = len(e.Chains)
	for i := range e.Chains {
		c := &e.Chains[i]
		begin := mark{at: c.Started.UnixNano(), name: findingName(c), category: "finding", severity: c.Severity, args: findingFacts(c)}
		end := mark{at: w.o.End, name: findingName(c) + ": still going on", category: "finding", severity: c.Severity}
		if c.Ended != nil {
			end.at, end.name = max(c.Ended.UnixNano(), begin.at), fmt.Sprintf("%s: over, %s lost", findingName(c), query.ShortDuration(int64(c.Impact.Lost)))
		}
		t := w.findings(c)
		call, ok, err := query.SlowestOf(ctx, w.src, c)
		if err != nil {
			return err
		}
		key := storedKey{call.Node, call.Seq}
		_, taken := w.shown[key]
		if ok && !taken && call.Start >= begin.at && call.Start <= end.at && w.inWindow(&call) {
			w.flows++
			w.shown[key] = w.flows
			begin.flows, end.flows = []flow{{w.flows, flowBegin}}, []flow{{w.flows, flowEnds}}
		}
		w.marks = append(w.marks, findingMark{t, begin})
		if end.at > begin.at || begin.flows != nil {
			w.marks = append(w.marks, findingMark{t, end})
		}
	}
	slices.SortStableFunc(w.marks, func(a, b findingMark) int { return cmp.Compare(a.mark.at, b.mark.at) })
	return nil
}

func (w *walker) inWindow(e *query.Stored) bool {
	return e.Start >= w.o.From && (w.o.To == 0 || e.Start < w.o.To) && (w.o.PIDs == nil || slices.Contains(w.o.PIDs, e.PID))
}

func (w *walker) writeFindings(context.Context) error {
	for i := range w.marks {
		w.sink.instant(w.marks[i].track, &w.marks[i].mark)
	}
	return w.sink.err()
}

// findingName is "[HIGH] cpu_contention: hog (PID 9948) ran where …".
func findingName(c *query.Chain) string {
	name := c.Cause.Summary
	if c.Cause.Kind != "" {
		name = c.Cause.Kind + ": " + name
	}
	return "[" + c.Severity + "] " + name
}

// mostCulprits is how many are named of those who did it, the worst first.
const mostCulprits = 10

func findingFacts(c *query.Chain) []arg {
	args := []arg{
		{name: factId, kind: argText, text: c.ID},
		{name: factSeverity, kind: argText, text: c.Severity},
		{name: factKind, kind: argText, text: c.Cause.Kind},
		{name: factSymptom, kind: argText, text: c.Symptom.Op},
		{name: factLostNs, num: int64(c.Impact.Lost)},
		{name: factLostPercent, num: int64(100*c.Impact.Share + 0.5)},
	}
	var culprits, fixes []string
	for i, x := range c.Cause.Culprits {
		if i == mostCulprits {
			culprits = append(culprits, fmt.Sprintf("and %d more", len(c.Cause.Culprits)-i))
			break
		}
		culprits = append(culprits, fmt.Sprintf("%s (PID %d): %s", x.Comm, x.PID, query.ShortDuration(int64(x.NS))))
	}
	for _, x := range c.Fixes {
		fixes = append(fixes, strings.TrimSpace(x.Text+"  "+x.Command))
	}
	if len(culprits) > 0 {
		args = append(args, arg{name: factCulprits, kind: argText, text: strings.Join(culprits, "; ")})
	}
	if len(fixes) > 0 {
		args = append(args, arg{name: factFixes, kind: argText, text: strings.Join(fixes, "; ")})
	}
	return args
}
