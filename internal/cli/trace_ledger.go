package cli

import (
	"fmt"
	"maps"
	"slices"

	"ingero/internal/event"
	"ingero/internal/pipeline"
	"ingero/internal/rule"
)

const (
	feedersShown = 3    // threads
	cellsShown   = 6    // of each
	smallCell    = 0.01 // smaller shares are shown together
)

// ledger says where the time of the busiest feeders went. The shares of each
// add up to 100 %.
func ledger(v pipeline.View, col paint) []string {
	if len(v.Feeders) == 0 {
		return nil
	}
	t := table{heads: []string{"Thread", " Where", " State", "Time", "Longest"}}
	for i, f := range v.Feeders {
		if i == feedersShown {
			break
		}
		name, rest := fmt.Sprintf("%s %d", f.Comm, f.TID), 1.0
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
	lines := t.lines()
	if more := len(v.Feeders) - feedersShown; more > 0 {
		lines = append(lines, fmt.Sprintf("  and %s more", plural(more, "thread", "threads")))
	}
	out := append([]string{"  " + col("bold", "Where The Time Went") + ", last 10 seconds"}, lines...)
	return append(append(out, ""), tell(v, col)...)
}

func placeName(op event.Op) string {
	if op == 0 {
		return "between calls"
	}
	return op.String()
}

// findings are the causes of lost time that can be told from the ledger of
// the last minute, those that are over as well.
func findings(v pipeline.View) []rule.Finding {
	var all []rule.Finding
	for _, pid := range slices.Sorted(maps.Keys(v.Seconds)) {
		p := rule.Process{Process: event.Process{PID: pid}}
		for _, live := range v.Processes {
			if live.PID == pid {
				p.Process = live.Process
			}
		}
		for _, s := range v.Seconds[pid] {
			p.Seconds = append(p.Seconds, rule.Second{At: s.At, Ledger: s.Ledger, Pairs: s.Pairs})
			if p.Comm == "" && len(s.Ledger) > 0 {
				p.Comm = s.Ledger[0].Comm // it has ended
			}
		}
		all = append(all, rule.Find(p)...)
	}
	return all
}

// tell prints the findings of severity MEDIUM and above, and what to do.
func tell(v pipeline.View, col paint) []string {
	var out []string
	for _, f := range findings(v) {
		if f.Severity == rule.Low {
			continue
		}
		state := "until " + f.End.Format("15:04:05")
		if f.Ongoing {
			state = "now"
		}
		colour := map[rule.Severity]string{rule.High: "red", rule.Medium: "yellow"}[f.Severity]
		out = append(out, col(colour, fmt.Sprintf("  ⚠ [%s] %s, from %s %s", f.Severity, f.Summary, f.Start.Format("15:04:05"), state)))
		for _, x := range f.Fixes {
			line := "      Fix: " + x.Text
			if x.Command != "" {
				line += ": " + x.Command
			}
			out = append(out, line)
		}
	}
	if len(out) > 0 {
		out = append(out, "")
	}
	return out
}
