package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// String is the line printed for a run.
func (r Result) String() string {
	if r.Uncovered != "" {
		return fmt.Sprintf("%-28s not covered: %s", r.Name, r.Uncovered)
	}
	verdict := "ok"
	if p := r.problems(); len(p) > 0 {
		verdict = strings.Join(p, "; ")
	}
	if !r.Fault {
		return fmt.Sprintf("%-28s %-37s lost %6.2fs (%2.0f %%) unaccounted %.2f %%  %s", r.Name, "healthy",
			r.Lost.Seconds(), 100*r.LostShare, 100*r.Unaccounted, verdict)
	}
	return fmt.Sprintf("%-28s %-18s %-18s lost %6.2fs (%2.0f %%) %s  found %s  %s", r.Name, dash(r.Kind), dash(r.Culprit),
		r.Lost.Seconds(), 100*r.LostShare, r.lossError(), r.foundText(), verdict)
}

func dash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

func (r Result) lossError() string {
	if !r.LossAsked {
		return "–"
	}
	return fmt.Sprintf("%+.0f %%", 100*r.LossError)
}

func (r Result) foundText() string {
	if r.Found < 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f s", r.Found.Seconds())
}

// count is so many of so many.
type count struct{ yes, of int }

func (c *count) add(yes bool) {
	c.of++
	if yes {
		c.yes++
	}
}

func (c count) String() string {
	if c.of == 0 {
		return "–"
	}
	return fmt.Sprintf("%d of %d (%.1f %%)", c.yes, c.of, 100*float64(c.yes)/float64(c.of))
}

// summary is the score of all runs together.
type summary struct {
	kind, culprit, loss, found, quiet count
	worstLoss, unaccounted            float64
	slowest                           time.Duration
	falseInFaults, failed, uncovered  int
	disturbed                         int
}

func sum(all []Result) summary {
	var s summary
	for _, r := range all {
		switch {
		case r.Uncovered != "":
			s.uncovered++
			continue
		case r.Error != "":
			s.failed++
			continue
		}
		if r.Foreign > maxForeign {
			s.disturbed++
		}
		s.unaccounted = max(s.unaccounted, r.Unaccounted)
		if !r.Fault {
			s.quiet.add(len(r.False) == 0)
			continue
		}
		s.falseInFaults += len(r.False)
		s.kind.add(r.KindRight)
		if r.CulpritAsked {
			s.culprit.add(r.CulpritRight)
		}
		if r.LossAsked {
			e := max(r.LossError, -r.LossError)
			s.loss.add(e <= maxLossError)
			s.worstLoss = max(s.worstLoss, e)
		}
		s.found.add(r.Found >= 0 && r.Found <= maxFound)
		s.slowest = max(s.slowest, r.Found)
	}
	return s
}

// figures are the rows of the summary.
func figures(all []Result) [][2]string {
	s := sum(all)
	return [][2]string{
		{"right cause first", s.kind.String()},
		{"culprit named", s.culprit.String()},
		{"lost time within 15 %", s.loss.String()},
		{"worst error of the lost time", fmt.Sprintf("%.0f %%", 100*s.worstLoss)},
		{"told live within 5 s", s.found.String()},
		{"slowest", fmt.Sprintf("%.1f s", s.slowest.Seconds())},
		{"healthy runs without a false finding", s.quiet.String()},
		{"false findings beside the right one", fmt.Sprint(s.falseInFaults)},
		{"worst unaccounted time of a thread", fmt.Sprintf("%.2f %%", 100*s.unaccounted)},
		{"runs that failed themselves", fmt.Sprint(s.failed)},
		{"runs disturbed by other work on the machine", fmt.Sprint(s.disturbed)},
		{"cases this machine cannot do", fmt.Sprint(s.uncovered)},
		{"date", today()},
		{"machine", machine()},
	}
}

func today() string { return time.Now().UTC().Format(time.DateOnly) }

// summarize is the summary as rows of a table.
func summarize(all []Result) string {
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, r := range figures(all) {
		fmt.Fprintf(w, "%s\t%s\n", r[0], r[1])
	}
	w.Flush()
	return text.String()
}

func machine() string {
	var u unix.Utsname
	unix.Uname(&u)
	model := ""
	b, _ := os.ReadFile("/proc/cpuinfo")
	for l := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = ", " + strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("%d CPUs%s, Linux %s %s", runtime.NumCPU(), model, unix.ByteSliceToString(u.Release[:]), runtime.GOARCH)
}

// report is docs/accuracy.md.
func report(all []Result, rounds int) string {
	var text strings.Builder
	fmt.Fprintf(&text, `# Accuracy

`+"`make faults`"+` injects known causes into a simulated CUDA job while `+"`ingero trace`"+` records it, asks
`+"`ingero explain`"+` what was wrong, and compares the answer with what was done and with the job's own account of its
progress. Lost time is the time of the fault less the steps done in it, each at its healthy pace. Every case ran
%d time(s). This page is written by the run.

| | |
|---|---|
`, rounds)
	for l := range strings.Lines(summarize(all)) {
		name, value, _ := strings.Cut(strings.TrimSpace(l), "  ")
		fmt.Fprintf(&text, "| %s | %s |\n", name, strings.TrimSpace(value))
	}
	text.WriteString("\n## Faults\n\n| case | what is injected | said first | culprit | lost | error | found after | remarks |\n|---|---|---|---|---|---|---|---|\n")
	for _, r := range inOrder(all) {
		if r.Fault && r.Uncovered == "" {
			fmt.Fprintf(&text, "| %s | %s | %s | %s | %.0f %% | %s | %s | %s |\n", r.Name, textOf(r.Name), dash(r.Kind), dash(r.Culprit),
				100*r.LostShare, r.lossError(), r.foundText(), cell(r))
		}
	}
	text.WriteString("\n## Healthy look-alikes\n\n| case | what | unaccounted | remarks |\n|---|---|---|---|\n")
	for _, r := range inOrder(all) {
		if !r.Fault && r.Uncovered == "" {
			fmt.Fprintf(&text, "| %s | %s | %.2f %% | %s |\n", r.Name, textOf(r.Name), 100*r.Unaccounted, cell(r))
		}
	}
	text.WriteString("\n## Not covered\n\n| what | why |\n|---|---|\n")
	for _, n := range notCovered {
		fmt.Fprintf(&text, "| %s | %s |\n", n.what, n.why)
	}
	for _, r := range inOrder(all) {
		if r.Uncovered != "" {
			fmt.Fprintf(&text, "| %s | %s |\n", r.Name, r.Uncovered)
		}
	}
	return text.String()
}

// inOrder keeps the rounds of a case together.
func inOrder(all []Result) []Result {
	place := map[string]int{}
	for i, c := range cases() {
		place[c.Name] = i
	}
	out := slices.Clone(all)
	slices.SortStableFunc(out, func(a, b Result) int { return place[a.Name] - place[b.Name] })
	return out
}

func textOf(name string) string {
	for _, c := range cases() {
		if c.Name == name {
			return c.Text
		}
	}
	return ""
}

func cell(r Result) string {
	return strings.NewReplacer("|", "/", "\n", " ").Replace(strings.Join(r.problems(), "; "))
}
