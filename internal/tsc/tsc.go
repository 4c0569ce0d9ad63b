// Package tsc writes answers in telegraphic form (TSC), for readers who pay by
// the word: names of columns once, times from a base, no empty fields, each
// frame of all stacks once. docs/tsc.md describes it. It knows JSON and how
// our fields are named, not one answer from another.
package tsc

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"time"
)

// Options bound what is written; 0 is what Encode says.
type Options struct {
	MaxRows  int // of a list (200)
	MaxBytes int // of all (64 KiB)
}

// Encode writes an answer, which is JSON, in telegraphic form. Texts in it are
// cleaned.
func Encode(answer []byte, o Options) (string, error) {
	n, err := parse(answer)
	if err != nil {
		return "", err
	}
	if o.MaxRows == 0 {
		o.MaxRows = 200
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 10
	}
	n.clean()
	n.prune()
	w := &writer{most: o.MaxRows, frames: frames{number: map[frame]int{}}, texts: texts{at: map[string]int{}}, count: map[string]int{}, last: map[string]string{}}
	count(n, w.count)
	if n.kind != object {
		n = &node{kind: object, keys: []string{"answer"}, vals: []*node{n}}
	}
	skip := map[string]bool{"schema": true}
	w.begin(n, skip)
	w.object(0, "", n, skip)
	w.frames.write(w)
	return bounded(w.b.String(), o.MaxBytes), nil
}

// begin writes the time that others are told from, and the window with it.
func (w *writer) begin(n *node, skip map[string]bool) {
	dates := n.dates(nil)
	if len(dates) < 2 {
		return
	}
	w.base = dates[0].Truncate(time.Second)
	head := "t0=" + w.base.UTC().Format(time.RFC3339)
	if v := n.field("window"); v != nil && isSpan(v) {
		skip["window"] = true
		from, _ := v.field("from").date()
		to, _ := v.field("to").date()
		w.base = from.Truncate(time.Second)
		head = fmt.Sprintf("window t0=%s ..+%s", w.base.UTC().Format(time.RFC3339), duration(float64(to.Sub(from))))
	}
	w.line(0, head)
}

// bounded cuts a text after a whole line.
func bounded(s string, most int) string {
	if len(s) <= most {
		return s
	}
	cut := strings.LastIndexByte(s[:most], '\n') + 1
	return s[:cut] + fmt.Sprintf("…%d bytes more; ask for less: a shorter window, one pid, a smaller limit\n", len(s)-cut)
}

type writer struct {
	b      strings.Builder
	base   time.Time // zero: no times
	most   int
	frames frames
	texts  texts
	count  map[string]int    // how often a long text comes, but for its numbers
	last   map[string]string // what was told last of a list, by its name
}

func (w *writer) line(indent int, text string) {
	w.b.WriteString(strings.Repeat(" ", indent))
	w.b.WriteString(text)
	w.b.WriteByte('\n')
}

// object writes an object: single values on a line, what holds others below
// it. Fields in skip were told elsewhere.
func (w *writer) object(indent int, head string, n *node, skip map[string]bool) {
	var single []string
	var below []int
	if head != "" {
		single = append(single, head)
	}
	f := n.fold()
	for i, k := range f.keys {
		switch v := f.vals[i]; {
		case skip[k]:
		case v.kind == object && !isSpan(v), v.kind == array && !isStack(v) && !shortList(v):
			below = append(below, i)
		default:
			single = append(single, w.item(k, v))
		}
	}
	if len(single) > 0 {
		w.line(indent, strings.Join(single, " "))
	}
	if head != "" {
		indent++
	}
	if isMatrix(f) {
		w.matrix(indent, f.field("columns"), f.field("rows"))
		return
	}
	for _, i := range below {
		if f.vals[i].kind == object {
			w.object(indent, f.keys[i]+":", f.vals[i], within(skip, f.keys[i]))
		} else {
			w.unlessAgain(indent, f.keys[i], f.vals[i])
		}
	}
}

// unlessAgain writes a list, or that it is the same as the last of its name.
func (w *writer) unlessAgain(indent int, key string, n *node) {
	var b bytes.Buffer
	n.json(&b)
	if w.last[key] == b.String() {
		w.line(indent, key+": as above")
		return
	}
	w.last[key] = b.String()
	w.list(indent, key, n)
}

// within returns the part of skip that is about a field's own fields.
func within(skip map[string]bool, key string) map[string]bool {
	inner := map[string]bool{}
	for k := range skip {
		if name, is := strings.CutPrefix(k, key+"."); is {
			inner[name] = true
		}
	}
	return inner
}

// item writes a field that takes no line of its own.
func (w *writer) item(key string, v *node) string {
	switch {
	case isSpan(v):
		return w.span(key, v)
	case isStack(v):
		return key + "=" + bare(w.frames.stack(v), "")
	case v.kind == array:
		parts := make([]string, len(v.vals))
		for i, x := range v.vals {
			parts[i] = w.value(key, x)
		}
		return key + "=[" + strings.Join(parts, " ") + "]"
	}
	return w.pair(key, v)
}

// span writes a window of time as its begin and its length.
func (w *writer) span(key string, v *node) string {
	from, _ := v.field("from").date()
	to, _ := v.field("to").date()
	length := duration(float64(to.Sub(from)))
	if from.Equal(w.base) {
		return fmt.Sprintf("%s=t0..+%s", key, length)
	}
	return fmt.Sprintf("%s=%s..+%s", key, w.when(from), length)
}

// shortList reports whether a list reads well within a line: numbers.
func shortList(n *node) bool {
	for _, v := range n.vals {
		if v.kind != number {
			return false
		}
	}
	return len(n.vals) <= 16
}

// list writes a list of anything.
func (w *writer) list(indent int, key string, n *node) {
	shown := w.worth(n.vals)
	head := fmt.Sprintf("%s[%d]", key, len(n.vals))
	switch {
	case !objects(n):
		w.line(indent, head+":")
		for _, v := range shown {
			if v.scalar() {
				w.line(indent+1, w.value(key, v))
			} else {
				w.list(indent+1, "", v)
			}
		}
	default:
		w.rows(indent, head, shown)
	}
	if more := len(n.vals) - len(shown); more > 0 {
		w.line(indent, fmt.Sprintf("…%d more", more))
	}
}

// The tail of a list whose shares are less than least of the largest one is
// left out, but few rows are told anyhow.
const (
	least = 0.001
	few   = 5
)

// worth returns the rows of a list that are told.
func (w *writer) worth(all []*node) []*node {
	if len(all) > w.most {
		all = all[:w.most]
	}
	share := func(n *node) float64 {
		if s := n.field("share"); s != nil && s.kind == number {
			return s.float()
		}
		return math.Inf(1)
	}
	largest := 0.0
	for _, n := range all {
		largest = max(largest, share(n))
	}
	for len(all) > few && share(all[len(all)-1]) < least*largest && !math.IsInf(largest, 1) {
		all = all[:len(all)-1]
	}
	return all
}

func objects(n *node) bool {
	for _, v := range n.vals {
		if v.kind != object {
			return false
		}
	}
	return true
}
