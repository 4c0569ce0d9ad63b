package tsc

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A number whose name ends in _ns is a time in nanoseconds; it is written in a
// unit that fits. A share is written in percent.
type meaning int

const (
	plain meaning = iota
	nanos
	share
)

// meant returns what the numbers of a field are, and its name without that.
func meant(key string) (meaning, string) {
	if name, is := cutUnit(key); is {
		return nanos, name
	}
	if key == "share" || strings.HasSuffix(key, "_share") || strings.HasSuffix(key, ".share") {
		return share, key
	}
	return plain, key
}

// cutUnit returns the name of a time in ns without its unit. What counts from
// 1970 is no such time: of it, each digit counts.
func cutUnit(key string) (string, bool) {
	switch {
	case key == "ns":
		return "", true
	case strings.HasSuffix(key, ".ns"):
		return strings.TrimSuffix(key, ".ns"), true
	case key == "unix_ns":
		return key, false
	}
	return strings.CutSuffix(key, "_ns")
}

// unit is a unit of time.
type unit struct {
	name string
	ns   float64
}

var units = []unit{{"s", 1e9}, {"ms", 1e6}, {"us", 1e3}, {"ns", 1}}

// duration writes ns with three digits and a unit, as 4.23ms.
func duration(ns float64) string {
	for _, u := range units {
		if math.Abs(ns) >= u.ns*0.9995 {
			return digits(ns/u.ns, 3) + u.name
		}
	}
	return digits(ns, 3)
}

// digits writes a number with so many digits that count, or all before the
// point.
func digits(v float64, n int) string {
	places := n
	if a := math.Abs(v); a >= 1 {
		places = max(n-1-int(math.Floor(math.Log10(a))), 0)
	} else if a > 0 {
		places = n - 1 - int(math.Floor(math.Log10(a)))
	}
	s := strconv.FormatFloat(v, 'f', min(places, 12), 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// percent writes a share in percent, to a tenth or three digits.
func percent(v float64) string {
	if math.Abs(v) >= 0.1 {
		return digits(math.Round(v*1000)/10, 4)
	}
	return digits(v*100, 2)
}

func (n *node) float() float64 {
	v, err := strconv.ParseFloat(n.text, 64)
	if err != nil {
		return math.NaN()
	}
	return v
}

// whole reports whether a number has no fraction; such are written as they are.
func (n *node) whole() bool { return !strings.ContainsAny(n.text, ".eE") }

// date reads a text as a time.
func (n *node) date() (time.Time, bool) {
	if n.kind != str || len(n.text) < 20 || n.text[4] != '-' || n.text[10] != 'T' {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339Nano, n.text)
	return t, err == nil
}

// dates appends the times in a value, in the order in which they are told.
func (n *node) dates(all []time.Time) []time.Time {
	if t, is := n.date(); is {
		return append(all, t)
	}
	for _, v := range n.vals {
		all = v.dates(all)
	}
	return all
}

// isSpan reports whether a value is a window of time.
func isSpan(n *node) bool {
	if n.kind != object || n.field("from") == nil || n.field("to") == nil {
		return false
	}
	_, from := n.field("from").date()
	_, to := n.field("to").date()
	return from && to
}

// far is how long before or after the base a time is written in full.
const far = 24 * time.Hour

// seconds returns the time from the base in seconds, to a microsecond.
func (w *writer) seconds(t time.Time) (string, bool) {
	d := t.Sub(w.base)
	if w.base.IsZero() || d > far || d < -far {
		return "", false
	}
	return digits(math.Round(d.Seconds()*1e6)/1e6, 12), true
}

// when writes a time from the base, as +20.3s.
func (w *writer) when(t time.Time) string {
	s, near := w.seconds(t)
	switch {
	case !near:
		return t.UTC().Format(time.RFC3339Nano)
	case strings.HasPrefix(s, "-"):
		return s + "s"
	}
	return "+" + s + "s"
}

// value writes a scalar as the value of a field.
func (w *writer) value(key string, n *node) string {
	if t, is := n.date(); is {
		return w.when(t)
	}
	switch n.kind {
	case str:
		return w.text(n.text, " ,=;|")
	case number:
		return scaled(key, n)
	case null:
		return "null"
	}
	return cmp.Or(n.text, "null")
}

func scaled(key string, n *node) string {
	switch what, _ := meant(key); {
	case what == nanos:
		return duration(n.float())
	case what == share:
		return percent(n.float()) + "%"
	case n.whole():
		return n.text
	}
	return digits(n.float(), 4)
}

// bare writes a text as it is, or quoted where it has characters that
// separate. Line ends become escapes: a text cannot begin a line of ours.
func bare(s, separators string) string {
	s = strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(Clean(s, MaxString))
	if s == "" || strings.ContainsAny(s, separators+`"`) || strings.TrimSpace(s) != s {
		return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"`
	}
	return s
}

// pair writes name=value.
func (w *writer) pair(key string, n *node) string {
	_, name := meant(key)
	return fmt.Sprintf("%s=%s", cmp.Or(name, "time"), w.value(key, n))
}
