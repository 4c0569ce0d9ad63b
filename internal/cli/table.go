package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// table draws boxes as on the live screen. The first column is aligned left,
// all others right, unless a heading begins with a space.
type table struct {
	heads []string
	rows  [][]string
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

// lines returns the table, each line indented by two spaces.
func (t *table) lines() []string {
	widths := make([]int, len(t.heads))
	for i, h := range t.heads {
		widths[i] = utf8.RuneCountInString(strings.TrimSpace(h))
	}
	for _, r := range t.rows {
		for i, c := range r {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
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
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
			if i == 0 || head || strings.HasPrefix(t.heads[i], " ") {
				b.WriteString(" " + c + pad + " │")
			} else {
				b.WriteString(" " + pad + c + " │")
			}
		}
		return b.String()
	}
	heads := make([]string, len(t.heads))
	for i, h := range t.heads {
		heads[i] = strings.TrimSpace(h)
	}
	out := []string{rule("┌", "┬", "┐"), row(heads, true), rule("├", "┼", "┤")}
	for _, r := range t.rows {
		out = append(out, row(r, false))
	}
	return append(out, rule("└", "┴", "┘"))
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
