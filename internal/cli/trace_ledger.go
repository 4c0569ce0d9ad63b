package cli

import (
	"fmt"

	"ingero/internal/event"
	"ingero/internal/pipeline"
	"ingero/internal/query"
	"ingero/internal/rule"
)

const (
	feedersShown = 3    // threads
	cellsShown   = 6    // of each
	smallCell    = 0.01 // smaller shares are shown together
)

// ledger says where the time of the busiest feeders went. The shares of each
// add up to 100 %.
func (s sheet) ledger(v pipeline.View) []string {
	if len(v.Feeders) == 0 {
		return nil
	}
	t := table{heads: []string{"Thread", " Where", " State", "Time", "Longest"}}
	for i, f := range v.Feeders {
		if i == feedersShown && !s.all {
			break
		}
		name, rest := fmt.Sprintf("%s %d", printable(f.Comm), f.TID), 1.0
		for k, c := range f.Cells {
			if k == cellsShown || c.Share < smallCell {
				break
			}
			t.add(name, placeName(c.Place), c.State.String(), fmt.Sprintf("%.1f%%", 100*c.Share), shortTime(c.Max))
			name, rest = "", rest-c.Share
		}
		if rest >= 0.0005 {
			t.add(name, "everything else", "", fmt.Sprintf("%.1f%%", 100*rest), "")
		}
	}
	t.fit(s.width, "Longest")
	lines := t.lines()
	if more := len(v.Feeders) - feedersShown; more > 0 && !s.all {
		lines = append(lines, fmt.Sprintf("  and %s more", plural(more, "thread", "threads")))
	}
	span := s.span
	if span == "" || span == sinceStart {
		span = "last minute" // more is not kept
	}
	out := append([]string{"  " + s.col("bold", "Where The Time Went") + ", " + span}, lines...)
	return append(out, "")
}

func placeName(op event.Op) string {
	if op == 0 {
		return "between calls"
	}
	return op.String()
}

// tell prints the findings of severity MEDIUM and above, and what to do.
func tell(chains []query.Chain, col paint) []string {
	var out []string
	for _, c := range chains {
		colour := map[string]string{string(rule.High): "red", string(rule.Medium): "yellow"}[c.Severity]
		if colour == "" {
			continue
		}
		state := "now"
		if c.Ended != nil {
			state = "until " + c.Ended.Local().Format("15:04:05")
		}
		out = append(out, col(colour, fmt.Sprintf("  ⚠ [%s] %s, from %s %s", c.Severity, printable(c.Cause.Summary), c.Started.Local().Format("15:04:05"), state)))
		for _, x := range c.Fixes {
			line := "      Fix: " + printable(x.Text)
			if x.Command != "" {
				line += ": " + printable(x.Command)
			}
			out = append(out, line)
		}
	}
	if len(out) > 0 {
		out = append(out, "")
	}
	return out
}
