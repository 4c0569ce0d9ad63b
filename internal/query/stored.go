package query

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"ingero/internal/store"
)

// Recorded is a Source that keeps incidents.
type Recorded interface {
	Source
	Chains(ctx context.Context, f store.Filter) ([]store.Chain, error)
	// Recording reports whether the data was recorded by an older ingero.
	Recording() bool
}

// StoredChains returns the findings that were made while recording, the most
// harmful first, without looking at the data again.
func StoredChains(ctx context.Context, s Recorded, f store.Filter) (*Explanation, error) {
	stored, err := s.Chains(ctx, f)
	if err != nil {
		return nil, err
	}
	cover, err := s.Coverage(ctx, f)
	if err != nil {
		return nil, err
	}
	e := &Explanation{
		Schema: SchemaExplain, Window: newWindow(f.From, f.To), Processes: []Job{}, Chains: []Chain{}, Notes: []string{},
		Coverage: Coverage{Lost: &cover.Lost, Overhead: cover.Overhead, Gaps: append([]string{}, cover.Gaps...)},
	}
	for _, x := range stored {
		e.Chains = append(e.Chains, restore(x))
	}
	sortChains(e.Chains)
	if s.Recording() && len(e.Chains) > 0 {
		e.Notes = append(e.Notes, "these findings are those of the older ingero that recorded this: it blamed what happened at the same time, "+
			"without measuring what it took; 'ingero explain' without --chains says what the data can support")
	}
	return e, nil
}

// restore reads a chain back.
func restore(x store.Chain) Chain {
	var c Chain
	if len(x.Detail) > 0 && json.Unmarshal(x.Detail, &c) == nil {
		return c
	}
	c = Chain{
		ID: x.ID, Severity: x.Severity, Node: x.Node, PID: x.PID, Started: time.Unix(0, x.Started).UTC(),
		Cause:    Cause{Kind: x.Kind, Summary: x.RootCause, Culprits: []Culprit{}},
		Symptom:  Symptom{Op: x.Op, PID: x.PID, P50: x.P50 * 1000, P99: x.P99 * 1000},
		Impact:   Impact{Lost: x.LostNS, Share: x.Share},
		Timeline: restoreTimeline(x), Stack: []Frame{}, Fixes: []Fix{}, Evidence: []Evidence{},
	}
	if x.Ended != 0 {
		end := time.Unix(0, x.Ended).UTC()
		c.Ended = &end
	}
	for _, text := range x.Recommendations {
		c.Fixes = append(c.Fixes, Fix{Text: text})
	}
	return c
}

// restoreTimeline reads the timelines of older recordings, whose entries have
// a layer, an operation and a detail.
func restoreTimeline(x store.Chain) []Moment {
	var old []struct {
		Layer  string `json:"layer"`
		Op     string `json:"op"`
		Detail string `json:"detail"`
		Nanos  int64  `json:"duration_us"`
	}
	out := []Moment{}
	if json.Unmarshal([]byte(x.Timeline), &old) != nil {
		return out
	}
	for _, m := range old {
		text := strings.TrimSpace(fmt.Sprintf("%s %s", m.Op, m.Detail))
		out = append(out, Moment{At: time.Unix(0, x.Started).UTC(), Layer: m.Layer, PID: x.PID, Text: text, Duration: m.Nanos * 1000})
	}
	return out
}
