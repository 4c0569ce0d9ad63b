package tsc

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// column is one field of all rows of a list.
type column struct {
	key   string
	cells []*node // nil where a row lacks it
}

// columnsOf turns rows into columns, in the order in which they appear.
func columnsOf(rows []*node) []*column {
	var all []*column
	byKey := map[string]*column{}
	for i, r := range rows {
		after := 0
		for k, key := range r.keys {
			c := byKey[key]
			if c == nil {
				c = &column{key, make([]*node, len(rows))}
				byKey[key] = c
				all = slices.Insert(all, after, c)
			}
			after = slices.Index(all, c) + 1
			c.cells[i] = r.vals[k]
		}
	}
	return all
}

// same reports whether all rows have the same single value.
func (c *column) same() bool {
	first := c.cells[0]
	for _, v := range c.cells {
		if v == nil || !v.scalar() || v.kind != first.kind || v.text != first.text {
			return false
		}
	}
	return true
}

// rows writes a list of objects: as a table if they hold single values only,
// else one after another. What all of them share is told in the head.
func (w *writer) rows(indent int, head string, rows []*node) {
	if len(rows) == 1 {
		w.object(indent, head, rows[0], nil)
		return
	}
	flat := make([]*node, len(rows))
	for i, r := range rows {
		flat[i] = r.flat()
	}
	var shared []string
	skip, table := map[string]bool{}, true
	var columns []*column
	for _, c := range columnsOf(flat) {
		if c.same() {
			shared = append(shared, w.pair(c.key, c.cells[0]))
			skip[c.key] = true
			continue
		}
		columns = append(columns, c)
		for _, v := range c.cells {
			table = table && (v == nil || v.scalar() || isStack(v) || shortList(v) || isSpan(v))
		}
	}
	if table && len(shared) > 0 {
		head += " " + strings.Join(shared, " ")
	}
	switch {
	case len(columns) == 0:
		w.line(indent, head)
	case table:
		w.table(indent, head, columns)
	default:
		if len(shared) > 0 {
			w.object(indent, head+" of all:", rows[0].pick("", skip), nil)
		} else {
			w.line(indent, head+":")
		}
		for _, r := range rows {
			w.object(indent, "-", r, skip)
		}
	}
}

// pick returns the fields of an object that are named, by the names that flat
// gives them.
func (n *node) pick(prefix string, named map[string]bool) *node {
	out := &node{kind: object}
	for i, k := range n.keys {
		v := n.vals[i]
		if v.kind == object && !isSpan(v) {
			name := k
			if short, is := cutUnit(k); is {
				name = short
			}
			if v = v.pick(prefix+name+".", named); len(v.keys) == 0 {
				continue
			}
		} else if !named[prefix+k] {
			continue
		}
		out.keys, out.vals = append(out.keys, k), append(out.vals, v)
	}
	return out
}

// again is a cell with the text of the one to its left.
const again = "="

// table writes the names of the columns and a line for each row.
func (w *writer) table(indent int, head string, columns []*column) {
	names := make([]string, len(columns))
	lines, before := make([][]string, len(columns[0].cells)), make([]string, len(columns[0].cells))
	for i, c := range columns {
		var cells []string
		names[i], cells = w.column(c)
		for k, text := range cells {
			if n := len(lines[k]); n > 0 && len(text) > len(again)+2 && text == before[k] {
				lines[k] = append(lines[k], again)
				continue
			}
			lines[k], before[k] = append(lines[k], text), text
		}
	}
	w.line(indent, head+": "+strings.Join(names, ","))
	for _, l := range lines {
		w.line(indent, strings.TrimRight(strings.Join(l, ","), ","))
	}
}

// column returns the name of a column with its unit, and the texts of its
// cells. Times have one unit, in which most of them have three digits before
// the point.
func (w *writer) column(c *column) (string, []string) {
	cells := make([]string, len(c.cells))
	what, name := meant(c.key)
	if what == nanos && c.all(number) {
		u := c.unit()
		for i, v := range c.cells {
			if v != nil {
				cells[i] = digits(v.float()/u.ns, 3)
			}
		}
		return strings.TrimPrefix(name+"_"+u.name, "_"), cells
	}
	if what == share && c.all(number) {
		for i, v := range c.cells {
			if v != nil {
				cells[i] = percent(v.float())
			}
		}
		return name + "_%", cells
	}
	if texts, near := w.offsets(c); near {
		return c.key + "_t0+s", texts
	}
	for i, v := range c.cells {
		if v != nil {
			cells[i] = w.cell(c.key, v)
		}
	}
	return cmp.Or(name, "time"), cells
}

func (w *writer) cell(key string, v *node) string {
	switch {
	case v.kind == str:
		if t, is := v.date(); is {
			return w.when(t)
		}
		return w.text(v.text, ",")
	case v.scalar():
		return w.value(key, v)
	case isSpan(v):
		return strings.TrimPrefix(w.span("", v), "=")
	case isStack(v):
		return w.frames.stack(v)
	}
	parts := make([]string, len(v.vals))
	for i, x := range v.vals {
		parts[i] = w.value(key, x)
	}
	return strings.Join(parts, " ")
}

// all reports whether every cell is of a kind, or empty.
func (c *column) all(kind byte) bool {
	return !slices.ContainsFunc(c.cells, func(v *node) bool { return v != nil && v.kind != kind })
}

func (c *column) unit() unit {
	var all []float64
	for _, v := range c.cells {
		if v != nil && v.float() > 0 {
			all = append(all, v.float())
		}
	}
	slices.Sort(all)
	for _, u := range units {
		if n := len(all); n > 0 && all[n/4] >= 100*u.ns {
			return u
		}
	}
	return units[len(units)-1]
}

// offsets returns the cells of a column of times as seconds from the base.
func (w *writer) offsets(c *column) ([]string, bool) {
	cells := make([]string, len(c.cells))
	for i, v := range c.cells {
		if v == nil {
			continue
		}
		t, is := v.date()
		if !is {
			return nil, false
		}
		if cells[i], is = w.seconds(t); !is {
			return nil, false
		}
	}
	return cells, true
}

// isMatrix reports whether a value is the answer to a question in SQL.
func isMatrix(n *node) bool {
	columns, rows := n.field("columns"), n.field("rows")
	return columns != nil && rows != nil && columns.kind == array && rows.kind == array
}

// matrix writes the answer to a question in SQL. Whole numbers keep each digit,
// others have six: who asked knows what they are.
func (w *writer) matrix(indent int, columns, rows *node) {
	var names []string
	for _, c := range columns.vals {
		names = append(names, bare(c.text, ","))
	}
	w.line(indent, fmt.Sprintf("rows[%d]: %s", len(rows.vals), strings.Join(names, ",")))
	for i, r := range rows.vals {
		if i == w.most {
			w.line(indent, fmt.Sprintf("…%d more", len(rows.vals)-i))
			return
		}
		var cells []string
		for _, v := range r.vals {
			switch v.kind {
			case str:
				cells = append(cells, bare(v.text, ","))
			case null:
				cells = append(cells, "")
			case number:
				if v.whole() {
					cells = append(cells, v.text)
				} else {
					cells = append(cells, strconv.FormatFloat(v.float(), 'g', 6, 64))
				}
			default:
				cells = append(cells, v.text)
			}
		}
		w.line(indent, strings.Join(cells, ","))
	}
}
