package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// table draws boxes as on the live screen. The first column is aligned left,
// all others right, unless a heading begins with a space.
type table struct {
	heads []string
	rows  [][]string
	mark  map[string]string // what stands after a heading: the way it is sorted
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// drop removes a column.
func (t *table) drop(head string) {
	i := slices.Index(t.heads, head)
	if i < 0 {
		return
	}
	t.heads = slices.Delete(slices.Clone(t.heads), i, i+1)
	for k, r := range t.rows {
		t.rows[k] = slices.Delete(r, i, i+1)
	}
}

// leastColumn is how narrow a column of text may become.
const leastColumn = 6

// fit makes the table no wider than width, if it can: columns are left out in
// the order given, then the widest texts are shortened. A column that is
// marked stays. Width 0 is no limit.
func (t *table) fit(width int, order ...string) {
	if width <= 0 {
		return
	}
	for _, head := range order {
		if t.width() <= width {
			return
		}
		if t.mark[head] == "" {
			t.drop(head)
		}
	}
	for over := t.width() - width; over > 0; over = t.width() - width {
		widths, widest := t.widths(), -1
		for i, h := range t.heads {
			shrinks := (i == 0 || strings.HasPrefix(h, " ")) && widths[i] > max(leastColumn, ansi.StringWidth(t.heading(i)))
			if shrinks && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		to := max(widths[widest]-over, leastColumn, ansi.StringWidth(t.heading(widest)))
		for _, r := range t.rows {
			r[widest] = ansi.Truncate(r[widest], to, "…")
		}
	}
}

// heading is what stands above column i.
func (t *table) heading(i int) string {
	return strings.TrimSpace(t.heads[i]) + t.mark[t.heads[i]]
}

// widths of the columns, in cells of the terminal.
func (t *table) widths() []int {
	widths := make([]int, len(t.heads))
	for i := range t.heads {
		widths[i] = ansi.StringWidth(t.heading(i))
	}
	for _, r := range t.rows {
		for i, c := range r {
			widths[i] = max(widths[i], ansi.StringWidth(c))
		}
	}
	return widths
}

func (t *table) width() int {
	sum := 3 // the indent and the first line
	for _, w := range t.widths() {
		sum += w + 3
	}
	return sum
}

// lines returns the table, each line indented by two spaces.
func (t *table) lines() []string {
	widths := t.widths()
	rule := func(left, mid, right string) string {
		parts := make([]string, len(widths))
		for i, w := range widths {
			parts[i] = strings.Repeat("─", w+2)
		}
		return "  " + left + strings.Join(parts, mid) + right
	}
	row := func(cells []string, head bool) string {
		var b strings.Builder
		b.WriteString("  │")
		for i, c := range cells {
			pad := strings.Repeat(" ", widths[i]-ansi.StringWidth(c))
			if i == 0 || head || strings.HasPrefix(t.heads[i], " ") {
				b.WriteString(" " + c + pad + " │")
			} else {
				b.WriteString(" " + pad + c + " │")
			}
		}
		return b.String()
	}
	heads := make([]string, len(t.heads))
	for i := range t.heads {
		heads[i] = t.heading(i)
	}
	out := []string{rule("┌", "┬", "┐"), row(heads, true), rule("├", "┼", "┤")}
	for _, r := range t.rows {
		out = append(out, row(r, false))
	}
	return append(out, rule("└", "┴", "┘"))
}

// printable replaces what could disturb a terminal, or take another width
// there than we think: names come from traced processes.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && unicode.IsPrint(r) || unicode.IsPrint(r) && !unruly(r) {
			return r
		}
		return '·'
	}, s)
}

// unruly reports whether a character changes the one before it: terminals
// disagree how wide the two are together.
func unruly(r rune) bool {
	const firstTone, lastTone = 0x1F3FB, 0x1F3FF
	return ansi.StringWidth(string(r)) == 0 || unicode.Is(unicode.Regional_Indicator, r) || (r >= firstTone && r <= lastTone)
}

// thousands writes 11009 as 11,009.
func thousands(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// shortTime writes a duration in ns with two or three digits that matter.
func shortTime(ns uint64) string {
	v, unit := float64(ns), "ns"
	switch {
	case ns >= uint64(time.Minute):
		return time.Duration(ns).Round(time.Second).String()
	case ns >= 1e9:
		v, unit = v/1e9, "s"
	case ns >= 1e6:
		v, unit = v/1e6, "ms"
	case ns >= 1e3:
		v, unit = v/1e3, "µs"
	default:
		return fmt.Sprintf("%d ns", ns)
	}
	if v >= 100 {
		return fmt.Sprintf("%.0f %s", v, unit)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}

// shortBytes writes a number of bytes in powers of 1024.
func shortBytes(n uint64) string {
	units := []string{"B", "KB", "MB", "GB", "TB", "PB", "EB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
