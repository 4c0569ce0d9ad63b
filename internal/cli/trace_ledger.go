package cli

import (
	"fmt"
	"time"

	"ingero/internal/event"
	"ingero/internal/pipeline"
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
	for _, x := range thieves(v) {
		lines = append(lines, col("yellow", "  "+x))
	}
	return append(append([]string{"  " + col("bold", "Where The Time Went") + ", last 10 seconds"}, lines...), "")
}

func placeName(op event.Op) string {
	if op == 0 {
		return "between calls"
	}
	return op.String()
}

// thieves names who ran while the feeders waited for a CPU, when that wait is
// worth a word.
func thieves(v pipeline.View) []string {
	waited, wall := map[uint32]float64{}, map[uint32]float64{}
	for _, f := range v.Feeders {
		wall[f.PID] += float64(f.Wall)
		for _, c := range f.Cells {
			if c.State == event.Runnable {
				waited[f.PID] += float64(c.NS)
			}
		}
	}
	var out []string
	for _, x := range v.Thieves {
		if wall[x.Victim] == 0 || waited[x.Victim]/wall[x.Victim] < smallCell || x.Share < 0.1 {
			continue
		}
		who := fmt.Sprintf("%s (PID %d) had the CPU", x.Comm, x.PID)
		switch {
		case x.PID == x.Victim:
			who = "its own threads had the CPU"
		case x.PID == 0 && x.NS < x.Count*uint64(time.Millisecond):
			continue // no more than waking up
		case x.PID == 0:
			who = "the CPU was idle: it is held back by a quota (cpu.max)"
		}
		out = append(out, fmt.Sprintf("while PID %d waited for one, %s: %.0f%% of that time", x.Victim, who, 100*x.Share))
	}
	return out
}
