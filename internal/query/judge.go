package query

import (
	"cmp"
	"context"
	"regexp"
	"slices"

	"ingero/internal/event"
	"ingero/internal/rule"
	"ingero/internal/store"
)

// Moments is what timelines are made of.
type Moments interface {
	// Snapshots returns the state of the machine.
	Snapshots(ctx context.Context, f store.Filter) ([]event.Snapshot, error)
	// Slowest returns the events of the window that took longest, at most limit.
	Slowest(ctx context.Context, f store.Filter, limit int) ([]store.Stored, error)
	StackSource
}

// Judge applies the rules to a window and tells the findings as chains.
func Judge(ctx context.Context, w rule.Window, m Moments, pids []uint32) ([]Chain, []rule.Finding, error) {
	chains := []Chain{}
	findings := rule.Find(w)
	for _, f := range findings {
		if !wanted(pids, f.Process.PID) {
			continue
		}
		c, err := newChain(ctx, m, f)
		if err != nil {
			return nil, nil, err
		}
		chains = append(chains, c)
	}
	return chains, findings, nil
}

// distinct keeps the first of the chains that have the same cause, process and
// operation, and counts the others.
func distinct(all []Chain) []Chain {
	type like struct {
		node, kind, op, cause string
		pid                   uint32
	}
	out, at := []Chain{}, map[like]int{}
	for _, c := range all {
		key := like{node: c.Node, kind: c.Cause.Kind, op: c.Symptom.Op, pid: c.PID}
		if c.Cause.Kind == "" { // of an older ingero, which has a summary only
			key.cause = digits.ReplaceAllString(c.Cause.Summary, "#")
		}
		if i, known := at[key]; known {
			out[i].Same++
			continue
		}
		at[key] = len(out)
		out = append(out, c)
	}
	return out
}

var digits = regexp.MustCompile(`[0-9]+`)

// sortChains puts the most harmful first.
func sortChains(all []Chain) {
	rank := map[string]int{string(rule.High): 3, string(rule.Medium): 2, string(rule.Low): 1}
	slices.SortStableFunc(all, func(a, b Chain) int {
		return cmp.Or(cmp.Compare(rank[b.Severity], rank[a.Severity]), cmp.Compare(b.Impact.Lost, a.Impact.Lost), a.Started.Compare(b.Started), cmp.Compare(a.ID, b.ID))
	})
}
