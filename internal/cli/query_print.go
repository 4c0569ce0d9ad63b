package cli

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"ingero/internal/query"
	"ingero/internal/store"
)

// grid is text in columns under underlined heads, as database shells print.
type grid struct {
	heads []string
	rows  [][]string
	right []bool // align right; nil: all left
}

// String returns the lines, each ending with a newline.
func (g *grid) String() string {
	widths := make([]int, len(g.heads))
	for _, row := range append([][]string{g.heads}, g.rows...) {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	rules := make([]string, len(widths))
	for i, n := range widths {
		rules[i] = strings.Repeat("-", n)
	}
	var b strings.Builder
	for _, row := range append([][]string{g.heads, rules}, g.rows...) {
		var line strings.Builder
		for i, c := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
			if g.right != nil && g.right[i] {
				line.WriteString(pad + c)
			} else {
				line.WriteString(c + pad)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// cellText prints a value of SQL. Control characters are shown, not sent to
// the terminal: names in the database come from traced processes.
func cellText(v any) string {
	switch x := v.(type) {
	case nil:
		return "NULL"
	case float64:
		if a := math.Abs(x); a >= 1 && a < 1e15 {
			return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(x, 'f', 3, 64), "0"), ".")
		}
		return strconv.FormatFloat(x, 'g', 6, 64)
	case string:
		return printable(x)
	}
	return fmt.Sprint(v)
}

// count writes "1 row" and "2 rows".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// showAnswer prints totals, events and how complete they are.
func showAnswer(w io.Writer, r *store.Reader, a *query.Answer, why, hint string) error {
	var b strings.Builder
	length := time.Duration(a.Window.Seconds * 1e9).Round(time.Second)
	fmt.Fprintf(&b, "%s, %s to %s (%s)", r.Path(), localTime(a.Window.From), localTime(a.Window.To), length)
	if why != "" {
		fmt.Fprintf(&b, ": %s", why)
	}
	b.WriteString("\n\n")
	if hint != "" {
		b.WriteString(hint + "\n")
	}
	if len(a.Ops) > 0 {
		b.WriteString(opsGrid(a.Ops) + "\n")
	}
	if len(a.Events) > 0 {
		b.WriteString(eventsGrid(a.Events))
		fmt.Fprintf(&b, "\n  %s, the newest last\n", count(len(a.Events), "event"))
	}
	if len(a.Ops) > 0 {
		b.WriteString("  " + coverageText(a.Coverage) + "\n")
	}
	missing := 0
	for _, gap := range a.Coverage.Gaps {
		if strings.Contains(gap, " does not export ") {
			missing++ // old libraries lack dozens: a line each says nothing
			continue
		}
		b.WriteString("  not seen: " + printable(gap) + "\n")
	}
	if missing > 0 {
		fmt.Fprintf(&b, "  not seen: calls that %s not export (--json lists them)\n", plural(missing, "library does", "libraries do"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func opsGrid(ops []query.Op) string {
	g := grid{
		heads: []string{"operation", "source", "count", "nested", "total", "p50", "p95", "p99", "max", "bytes", "errors"},
		right: []bool{false, false, true, true, true, true, true, true, true, true, true},
	}
	perProcess := ops[0].PID != nil
	if perProcess {
		g.heads = append([]string{"pid", "comm"}, g.heads...)
		g.right = append([]bool{true, false}, g.right...)
	}
	for _, o := range ops {
		nested, bytes, errors := "", "", ""
		if o.Nested > 0 {
			nested = thousands(o.Nested)
		}
		if o.Bytes > 0 {
			bytes = shortBytes(o.Bytes)
		}
		if o.Errors > 0 {
			errors = thousands(o.Errors)
		}
		row := []string{o.Op, o.Source, thousands(o.Count), nested, "", "", "", "", "", bytes, errors}
		if o.Total > 0 { // a page that is allocated takes no time
			for i, ns := range []uint64{o.Total, o.P50, o.P95, o.P99, o.Max} {
				row[4+i] = shortTime(ns)
			}
		}
		if perProcess {
			row = append([]string{strconv.FormatUint(uint64(*o.PID), 10), printable(*o.Comm)}, row...)
		}
		g.rows = append(g.rows, row)
	}
	return g.String()
}

func eventsGrid(events []query.EventJSON) string {
	g := grid{
		heads: []string{"time", "pid", "tid", "comm", "operation", "duration", "bytes", "handle", "ret"},
		right: []bool{false, true, true, false, false, true, true, false, true},
	}
	for _, e := range events {
		bytes, handle, duration := "", "", ""
		if e.Duration > 0 { // a process that starts or ends takes no time
			duration = shortTime(uint64(e.Duration))
		}
		if e.Bytes > 0 {
			bytes = shortBytes(e.Bytes)
		}
		if e.Handle != "0x0" {
			handle = e.Handle
		}
		g.rows = append(g.rows, []string{e.Timestamp.Local().Format("15:04:05.000000"),
			strconv.FormatUint(uint64(e.PID), 10), strconv.FormatUint(uint64(e.TID), 10), printable(e.Comm), e.Op,
			duration, bytes, handle, strconv.FormatInt(int64(e.Ret), 10)})
	}
	return g.String()
}

// coverageText says in one line what the answer rests on.
func coverageText(c query.Coverage) string {
	text := fmt.Sprintf("%s calls counted, %s recorded as events", thousands(c.Calls), thousands(c.Recorded))
	if c.Lost == nil {
		text += ", losses not known"
	} else {
		text += fmt.Sprintf(", %s lost", thousands(*c.Lost))
	}
	if c.Overhead != nil {
		text += fmt.Sprintf("; watching took %.1f%% of the calling threads' time", *c.Overhead*100)
	}
	return text
}
