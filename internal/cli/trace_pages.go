package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"ingero/internal/pipeline"
	"ingero/internal/query"
	"ingero/internal/rule"
)

// pages are what the live screen can show.
var pages = [detailTop]struct {
	name  string
	state func(*screen) []string // what its rows are, and in which order
	draw  func(*screen) []string
}{
	{"all", rowsState, allPage}, {"time", timeState, timePage}, {"calls", rowsState, callsPage},
	{"findings", findingsState, findingsText}, {"host", rowsState, hostPage},
}

func rowsState(s *screen) []string {
	parts := []string{"by " + s.order.String(), spans[s.span].text}
	if s.perProcess {
		parts = append(parts, "per process")
	}
	return parts
}

func timeState(*screen) []string { return []string{"busiest thread first"} }

func findingsState(s *screen) []string {
	ongoing := countOngoing(s.now.findings)
	return []string{fmt.Sprintf("%d now", ongoing), fmt.Sprintf("%d ended", len(s.now.findings)-ongoing), "most time lost first"}
}

// Places that can be scrolled: the pages, then these.
const (
	findingsPage = 3
	detailTop    = 5
	helpTop      = detailTop + 1
	tops         = helpTop + 1
)

// sheet and view are what the sections of a page are drawn with and from.
func (s *screen) sheet() sheet {
	return sheet{col: s.col, width: s.size.Width, order: s.order, span: spans[s.span].text, perProcess: s.perProcess, live: true}
}

func (s *screen) view() pipeline.View {
	f := newFilter(s.filter)
	v := s.now.still.View(pipeline.Look{Seconds: spans[s.span].seconds, PerProcess: s.perProcess, Wanted: f.wanted()})
	v.Feeders = f.feeders(v)
	return v
}

// chains are the findings that match the filter.
func (s *screen) chains() []query.Chain { return newFilter(s.filter).findings(s.now.findings) }

func allPage(s *screen) []string {
	v, sheet := s.view(), s.sheet()
	out := append(sheet.system(v), s.strip()...)
	out = append(out, sheet.ledger(v)...)
	out = append(out, sheet.calls(v)...)
	out = append(out, sheet.host(v)...)
	return s.orNothing(append(out, sheet.totals(v)...), len(v.Feeders)+len(v.Ops)+len(v.Host))
}

func timePage(s *screen) []string {
	v, sheet := s.view(), s.sheet()
	sheet.all = true
	return s.orNothing(sheet.ledger(v), len(v.Feeders))
}

func callsPage(s *screen) []string {
	v, sheet := s.view(), s.sheet()
	return s.orNothing(append(sheet.calls(v), sheet.totals(v)...), len(v.Ops))
}

func hostPage(s *screen) []string {
	v, sheet := s.view(), s.sheet()
	out := append(sheet.system(v), sheet.host(v)...)
	for _, p := range s.now.probes {
		out = append(out, "  "+p)
	}
	for _, l := range s.now.libraries {
		out = append(out, "  Library: "+l)
	}
	for _, g := range s.now.gaps {
		out = append(out, s.wrap("  not traced: "+printable(g))...)
	}
	return out
}

// orNothing says why there are no rows.
func (s *screen) orNothing(lines []string, rows int) []string {
	switch {
	case rows > 0:
		return lines
	case s.filter != "":
		return append([]string{fmt.Sprintf("  Nothing matches the filter %q; esc clears it.", s.filter), ""}, lines...)
	}
	return append([]string{"  No traced call yet.", ""}, lines...)
}

// strip is the findings of now in short, one line each.
func (s *screen) strip() []string {
	const shownAtMost = 3
	now := slices.DeleteFunc(latest(s.chains(), s.now.at), func(c query.Chain) bool { return c.Severity == string(rule.Low) })
	if len(now) == 0 {
		return nil
	}
	var out []string
	for i, c := range now {
		if i == shownAtMost {
			break
		}
		line := fmt.Sprintf("  ⚠ [%s] %s, %s", c.Severity, printable(c.Cause.Summary), when(&c))
		out = append(out, s.col(severityColour(c.Severity), ansi.Truncate(line, s.size.Width, "…")))
	}
	text := "  f: evidence, timeline and what to do"
	if more := len(now) - shownAtMost; more > 0 {
		text = fmt.Sprintf("  and %d more; f: evidence, timeline and what to do", more)
	}
	return append(out, s.col("dim", text), "")
}

func severityColour(severity string) string {
	switch rule.Severity(severity) {
	case rule.High:
		return "red"
	case rule.Medium:
		return "yellow"
	}
	return "bold"
}

// when is the time of a finding.
func when(c *query.Chain) string {
	from := c.Started.Local().Format(time.TimeOnly)
	if c.Ended == nil {
		return "since " + from
	}
	return from + " to " + c.Ended.Local().Format(time.TimeOnly)
}

// culprit names who took most of the time.
func culprit(c *query.Chain) string {
	if len(c.Cause.Culprits) == 0 {
		return "-"
	}
	x := c.Cause.Culprits[0]
	if x.PID == c.PID && x.Comm == c.Comm {
		return "itself"
	}
	return processName(x.PID, x.Comm)
}

// choice is where the cursor is in the list.
func (s *screen) choice(chains []query.Chain) int {
	return max(slices.IndexFunc(chains, func(c query.Chain) bool { return c.ID == s.chosen }), 0)
}

// listHead is how many lines stand above the first finding of the list.
const listHead = 3

// findingsText is the list of findings, or the one that is opened.
func findingsText(s *screen) []string {
	if s.opened != "" {
		for i := range s.now.findings {
			if s.now.findings[i].ID == s.opened {
				return s.detail(&s.now.findings[i])
			}
		}
		s.opened = "" // it has been forgotten meanwhile
	}
	chains := s.chains()
	if len(chains) == 0 {
		if s.filter != "" && len(s.now.findings) > 0 {
			return s.orNothing(nil, 0)
		}
		return s.wrap("  No findings so far: nothing took time from the job that it does not take when all is well.")
	}
	at := s.choice(chains)
	s.chosen = chains[at].ID
	t := table{heads: []string{"Severity", " Cause", " Job", " Culprit", "Lost", "Share", " When"}}
	for i, c := range chains {
		mark := "  "
		if i == at {
			mark = "▸ "
		}
		t.add(mark+c.Severity, kindText(c.Cause.Kind), processName(c.PID, c.Comm), culprit(&c), shortTime(c.Impact.Lost), fmt.Sprintf("%.0f%%", 100*c.Impact.Share), when(&c))
	}
	t.fit(s.size.Width, "Share", " Job", " When", " Culprit")
	lines := t.lines()
	for i, c := range chains {
		colour := severityColour(c.Severity)
		if i == at {
			colour = "reverse"
		}
		lines[listHead+i] = s.col(colour, lines[listHead+i])
	}
	return append(lines, s.wrap("  "+printable(chains[at].Cause.Summary))...)
}

// follow keeps the cursor on the screen.
func (s *screen) follow() {
	at, top := s.choice(s.chains())+listHead, s.scroll()
	if at < *top+listHead {
		*top = at - listHead
	}
	*top = max(*top, at+2-s.bodyHeight()) // and the line below it
}

const culpritsShown = 5

// detail is all there is to say about a finding.
func (s *screen) detail(c *query.Chain) []string {
	text := strings.TrimRight(chainText(c, s.col), "\n") + "\n"
	if len(c.Cause.Culprits) > 0 {
		text += "\n  Who took the time:\n"
	}
	for i, x := range c.Cause.Culprits {
		if i == culpritsShown {
			text += fmt.Sprintf("    and %d more\n", len(c.Cause.Culprits)-i)
			break
		}
		text += fmt.Sprintf("    %s: %s, %.0f%%", processName(x.PID, x.Comm), shortTime(x.NS), 100*x.Share)
		if x.Processes > 1 {
			text += fmt.Sprintf(" (%d processes)", x.Processes)
		}
		if place := strings.TrimSpace(x.Container + " " + x.Cgroup); place != "" {
			text += "  " + printable(place)
		}
		text += "\n"
	}
	if c.Explained > 0 {
		text += fmt.Sprintf("\n  Explained: %.0f%% of what the job lacks; confidence %.0f%%\n", 100*c.Explained, 100*c.Confidence)
	}
	if len(c.Evidence) > 0 {
		text += "\n  Evidence (ingero query \"…\" asks the recording):\n"
	}
	for _, e := range c.Evidence {
		text += "    " + printable(e.Text) + ":\n      " + printable(e.SQL) + "\n"
	}
	return s.wrap(text)
}

// wrap breaks lines that are too long for the screen; what follows stands
// under the beginning.
func (s *screen) wrap(text string) []string {
	var lines []string
	for l := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		lines = append(lines, hang(l, s.size.Width, len(l)-len(strings.TrimLeft(l, " ")))...)
	}
	return lines
}

// hang breaks one line; the lines after the first are indented.
func hang(line string, width, indent int) []string {
	const least = 16 // less than a word is no use
	if width-indent < least {
		indent = 0
	}
	first, rest := line, ""
	if ansi.StringWidth(line) > width {
		lines := strings.SplitN(ansi.Wrap(line, max(width, 1), ""), "\n", 2)
		first = lines[0]
		rest = strings.TrimLeft(ansi.TruncateLeft(line, ansi.StringWidth(first), ""), " ")
	}
	out := []string{first}
	if rest != "" {
		for l := range strings.SplitSeq(ansi.Wrap(rest, max(width-indent, 1), ""), "\n") {
			out = append(out, strings.Repeat(" ", indent)+l)
		}
	}
	return out
}
