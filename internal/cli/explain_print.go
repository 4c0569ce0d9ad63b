package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"ingero/internal/query"
	"ingero/internal/rule"
)

// showExplanation prints the report for people; path is where it is from.
func showExplanation(env *Env, path string, e *query.Explanation, why string, o explainOptions) error {
	col := paint(plain)
	if isTerminal(env.Stdout) && colours(env) {
		col = sgr
	}
	var b strings.Builder
	length := time.Duration(e.Window.Seconds * 1e9).Round(time.Second)
	fmt.Fprintf(&b, "%s, %s to %s (%s)", path, localTime(e.Window.From), localTime(e.Window.To), length)
	if why != "" {
		fmt.Fprintf(&b, ": %s", why)
	}
	b.WriteString("\n\n")
	if len(e.Processes) > 0 {
		b.WriteString(whereTimeWent(e, col))
	}
	b.WriteString(report(e, col))
	if o.perProcess {
		b.WriteString(perProcess(e))
	}
	for _, n := range e.Notes {
		b.WriteString("  " + n + "\n")
	}
	if !o.chains && e.Coverage.Calls > 0 {
		b.WriteString("  " + coverageText(e.Coverage) + "\n")
	}
	_, err := io.WriteString(env.Stdout, b.String())
	return err
}

// jobsShown and threadsShown bound the ledger at the head of the report.
const (
	jobsShown    = 4
	threadsShown = 2
)

// whereTimeWent is the ledger of the busiest feeders; the shares of each add
// up to 100 %.
func whereTimeWent(e *query.Explanation, col paint) string {
	t := table{heads: []string{"Thread", " Where", " State", "Time", "Share", "Longest"}}
	more := 0
	for i, j := range e.Processes {
		for k, th := range j.Threads {
			if i >= jobsShown || k >= threadsShown {
				more++
				continue
			}
			addThread(&t, j, th)
		}
	}
	if len(t.rows) == 0 {
		return ""
	}
	lines := t.lines()
	if more > 0 {
		lines = append(lines, fmt.Sprintf("  and %s more (--json has all)", plural(more, "thread", "threads")))
	}
	return "  " + col("bold", "Where The Time Went") + "\n" + strings.Join(lines, "\n") + "\n\n"
}

func addThread(t *table, j query.Job, th query.Thread) {
	name, rest, restNS := fmt.Sprintf("%s %d", printable(j.Comm), th.TID), 1.0, th.Wall
	for k, c := range th.Ledger {
		if k == cellsShown || c.Share < smallCell {
			break
		}
		t.add(name, c.Place, c.State, shortTime(c.NS), fmt.Sprintf("%.1f%%", 100*c.Share), shortTime(c.Max))
		name, rest, restNS = "", rest-c.Share, restNS-c.NS
	}
	if rest >= 0.0005 {
		t.add(name, "everything else", "", shortTime(restNS), fmt.Sprintf("%.1f%%", 100*rest), "")
		name = ""
	}
	if th.Unaccounted >= 0.0005 {
		t.add(name, "not accounted for", "", "", fmt.Sprintf("%.1f%%", 100*th.Unaccounted), "")
	}
}

// report prints the findings.
func report(e *query.Explanation, col paint) string {
	if len(e.Chains) == 0 {
		if e.Basis != "ledger" {
			return "  No findings in what calls took.\n\n"
		}
		return "  " + col("green", "No findings.") + " Nothing took time from the job that it does not take when all is well.\n\n"
	}
	counts := map[string]int{}
	for _, c := range e.Chains {
		counts[c.Severity]++
	}
	var parts []string
	for _, s := range []rule.Severity{rule.High, rule.Medium, rule.Low} {
		if n := counts[string(s)]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  -  %s found (%s)\n\n", col("bold", "INCIDENT REPORT"), plural(len(e.Chains), "causal chain", "causal chains"), strings.Join(parts, ", "))
	for i := range e.Chains {
		b.WriteString(chainText(&e.Chains[i], col))
	}
	return b.String()
}

func chainText(c *query.Chain, col paint) string {
	var b strings.Builder
	colour := map[string]string{string(rule.High): "red", string(rule.Medium): "yellow"}[c.Severity]
	head := "[" + c.Severity + "]"
	if colour != "" {
		head = col(colour, head)
	}
	fmt.Fprintf(&b, "%s %s", head, symptomText(c))
	if kind := strings.ReplaceAll(c.Cause.Kind, "_", " "); kind != "" {
		fmt.Fprintf(&b, "  -  %s", kind)
	}
	if c.Impact.Lost > 0 {
		until := "still going on"
		if c.Ended != nil {
			until = "to " + c.Ended.Local().Format("15:04:05")
		}
		fmt.Fprintf(&b, "\n  PID %d (%s), from %s %s: %s lost, %.0f%% of the time", c.PID, printable(c.Comm),
			localTime(c.Started), until, shortTime(c.Impact.Lost), 100*c.Impact.Share)
		if base := c.Impact.BaselineRate; base != nil {
			fmt.Fprintf(&b, "; %.0f units of work/s, normally %.0f", c.Impact.PerSecond, *base)
		}
	}
	b.WriteString("\n")
	if len(c.Timeline) > 0 {
		b.WriteString("  Timeline:\n")
		for _, m := range c.Timeline {
			fmt.Fprintf(&b, "    %s  %-8s  %s\n", m.At.Local().Format("15:04:05"), "["+m.Layer+"]", printable(m.Text))
		}
		b.WriteString("\n")
	}
	if len(c.Stack) > 0 {
		fmt.Fprintf(&b, "  %s:\n%s\n", stackHead(c), framesText(c.Stack))
	}
	fmt.Fprintf(&b, "  Root cause: %s\n", printable(c.Cause.Summary))
	if c.Explained < 0.9 && c.Impact.BaselineRate != nil {
		fmt.Fprintf(&b, "  Not explained: %.0f%% of what the job lacks\n", 100*(1-c.Explained))
	}
	if c.Limit != "" {
		fmt.Fprintf(&b, "  Only %s: %s\n", c.Severity, c.Limit)
	}
	for _, f := range c.Fixes {
		b.WriteString("  Fix: " + printable(f.Text) + "\n")
		if f.Command != "" {
			b.WriteString("       " + printable(f.Command) + "\n")
		}
	}
	b.WriteString("\n")
	return b.String()
}

// stackHead says what the stack of a finding is. That of a gap is the stack of
// the call that ended it.
func stackHead(c *query.Chain) string {
	if c.Symptom.Class == "gap" {
		return "Most time " + c.Symptom.Op + " was before this call"
	}
	return "Most time in " + c.Symptom.Op + " came from here"
}

// symptomText says what the job felt, as in "cudaStreamSync p99=142ms (8.5x p50)".
func symptomText(c *query.Chain) string {
	s := c.Symptom
	if s.Op == "" {
		return printable(c.Comm)
	}
	if s.P99 == 0 {
		return s.Op
	}
	if c.Cause.Kind == "cold_start" {
		return fmt.Sprintf("%s took %s", s.Op, query.ShortDuration(int64(s.P99)))
	}
	text := fmt.Sprintf("%s p99=%s", s.Op, query.ShortDuration(int64(s.P99)))
	switch {
	case s.BaselineP99 != nil && *s.BaselineP99 > 0 && s.P99 >= *s.BaselineP99+*s.BaselineP99/5:
		text += fmt.Sprintf(" (normally %s)", query.ShortDuration(int64(*s.BaselineP99)))
	case s.P50 > 0 && s.Count > 1 && 5*s.P99 >= 6*s.P50:
		text += fmt.Sprintf(" (%.1fx p50)", float64(s.P99)/float64(s.P50))
	}
	return text
}

// perProcess prints the calls of each process.
func perProcess(e *query.Explanation) string {
	var b strings.Builder
	b.WriteString("PER-PROCESS GPU API BREAKDOWN\n")
	var last uint32
	gpu := map[uint32]bool{}
	for _, o := range e.Ops {
		if o.Class == "lifecycle" || o.PID == nil {
			continue
		}
		if *o.PID != last {
			fmt.Fprintf(&b, "\n  PID %d (%s)\n", *o.PID, printable(*o.Comm))
			last = *o.PID
		}
		fmt.Fprintf(&b, "    %-26s %12s %-5s  p50=%-9s p95=%-9s p99=%s\n", o.Op, thousands(o.Count), map[bool]string{true: "calls", false: "times"}[o.Source != "host"],
			query.ShortDuration(int64(o.P50)), query.ShortDuration(int64(o.P95)), query.ShortDuration(int64(o.P99)))
		switch o.Class {
		case "launch", "copy", "sync":
			gpu[*o.PID] = true
		}
	}
	b.WriteString("\n")
	if len(gpu) > 1 {
		fmt.Fprintf(&b, "  %d processes use the GPU; a finding says so if one of them holds another up\n\n", len(gpu))
	}
	return b.String()
}
