package metric

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"ingero/internal/event"
)

// maxLabel is how many bytes the value of an attribute may have.
const maxLabel = 128

// clean makes text of strangers, such as the name of a process, fit for the
// value of an attribute: UTF-8, of one line, without what moves a cursor, and
// not too long.
func clean(s string) string { return cut(s, maxLabel) }

// long is clean for a sentence, or a command to run.
func long(s string) string { return cut(s, 8*maxLabel) }

func cut(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
	if len(s) <= limit {
		return s
	}
	end := limit - len("…")
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// processLabels tell one process from others.
func processLabels(p event.Process) []Attr {
	l := []Attr{
		{"process.command", clean(p.Comm)},
		{"process.pid", number(p.PID)},
	}
	if p.Container != "" {
		l = append(l, Attr{"container.id", clean(p.Container)})
	}
	if p.Pod != "" {
		l = append(l, Attr{"k8s.pod.uid", clean(p.Pod)})
	}
	if p.Rank.Rank >= 0 {
		l = append(l, Attr{"rank", strconv.Itoa(int(p.Rank.Rank))})
	}
	return l
}

// manyLabels are those of n processes together; 0 is not counted.
func manyLabels(name string, n int) []Attr {
	l := []Attr{{"process.command", name}}
	if n > 0 {
		l = append(l, Attr{"processes", strconv.Itoa(n)})
	}
	return l
}

// with joins the labels of a process with others, in order.
func with(labels []Attr, more ...Attr) []Attr {
	all := slices.Concat(labels, more)
	slices.SortFunc(all, func(a, b Attr) int { return cmp.Compare(a.Key, b.Key) })
	return all
}

func opLabels(op event.Op) []Attr {
	return []Attr{{"class", op.Class().String()}, {"operation", op.String()}, {"source", op.Source().String()}}
}

func spotLabels(s spot) []Attr {
	place := s.place.String()
	if s.place == event.None {
		place = "between calls"
	}
	return []Attr{{"feeder", strconv.FormatBool(s.feeder)}, {"place", place}, {"state", s.state.String()}}
}
