package cli

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"ingero/internal/event"
	"ingero/internal/pipeline"
	"ingero/internal/query"
	"ingero/internal/stats"
)

// orderings are the columns that rows can be sorted by. Numbers begin with
// the largest, names with A.
var orderings = []struct {
	key, name string
	heads     []string // of the tables
	figure    func(all, recent *stats.Histogram) uint64
}{
	{"c", "count", []string{"Count"}, func(all, _ *stats.Histogram) uint64 { return all.Count() }},
	{"t", "total time", []string{"Total"}, func(all, _ *stats.Histogram) uint64 { return all.Sum() }},
	{"5", "p50", []string{"p50"}, func(_, recent *stats.Histogram) uint64 { return recent.Quantile(0.5) }},
	{"9", "p99", []string{"p99"}, func(_, recent *stats.Histogram) uint64 { return recent.Quantile(0.99) }},
	{"m", "max", []string{"Max"}, func(_, recent *stats.Histogram) uint64 { return recent.Max() }},
	{"n", "name", []string{"Operation", "Event"}, nil},
}

// order is how rows are sorted. The zero value is by count, the largest first.
type order struct {
	by      int // in orderings
	reverse bool
}

func (o order) arrow() string {
	if (orderings[o.by].figure == nil) != o.reverse {
		return " ▲"
	}
	return " ▼"
}

// mark says which headings show how the rows are sorted.
func (o order) mark() map[string]string {
	marks := map[string]string{}
	for _, h := range orderings[o.by].heads {
		marks[h] = o.arrow()
	}
	return marks
}

func (o order) String() string { return orderings[o.by].name + o.arrow() }

// calls sorts rows of calls. Equal ones keep their order.
func (o order) calls(rows []pipeline.OpView) []pipeline.OpView {
	return sorted(o, rows, func(r *pipeline.OpView) (event.Op, *stats.Histogram, *stats.Histogram) { return r.Op, r.Hist, r.Recent })
}

// host sorts rows of the host's table, whose distributions are since the start.
func (o order) host(rows []pipeline.HostView) []pipeline.HostView {
	return sorted(o, rows, func(r *pipeline.HostView) (event.Op, *stats.Histogram, *stats.Histogram) { return r.Op, r.Hist, r.Hist })
}

func sorted[T any](o order, rows []T, of func(*T) (op event.Op, all, recent *stats.Histogram)) []T {
	type keyed struct {
		row    T
		name   string
		figure uint64
	}
	keys := make([]keyed, len(rows))
	for i := range rows {
		op, all, recent := of(&rows[i])
		keys[i] = keyed{row: rows[i], name: op.String()}
		if f := orderings[o.by].figure; f != nil {
			keys[i].figure = f(all, recent)
		}
	}
	slices.SortStableFunc(keys, func(a, b keyed) int {
		c := cmp.Compare(b.figure, a.figure)
		if orderings[o.by].figure == nil {
			c = cmp.Compare(a.name, b.name)
		}
		if o.reverse {
			c = -c
		}
		return c
	})
	out := make([]T, len(keys))
	for i := range keys {
		out[i] = keys[i].row
	}
	return out
}

// filter is a text that rows must match: each of its words must be part of the
// operation's name or of the process's, or be its PID.
type filter struct{ words []string }

func newFilter(text string) filter { return filter{strings.Fields(strings.ToLower(text))} }

// has reports whether each word is in one of the texts, or is one of the numbers.
func (f filter) has(numbers []uint32, texts ...string) bool {
	for _, w := range f.words {
		n, err := strconv.ParseUint(w, 10, 32)
		if err == nil && slices.Contains(numbers, uint32(n)) {
			continue
		}
		if !slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(strings.ToLower(t), w) }) {
			return false
		}
	}
	return true
}

// wanted is the filter as a question to a still; nil takes everything.
func (f filter) wanted() func(event.Op, event.Process) bool {
	if len(f.words) == 0 {
		return nil
	}
	type spot struct {
		op  event.Op
		pid uint32
	}
	known := map[spot]bool{} // a minute asks the same thousands of times
	return func(op event.Op, p event.Process) bool {
		at := spot{op, p.PID}
		w, ok := known[at]
		if !ok {
			w = f.has([]uint32{p.PID}, op.String(), p.Comm)
			known[at] = w
		}
		return w
	}
}

// feeders are the threads that match: by their name or number, their
// process's, or a place where they spend time.
func (f filter) feeders(v pipeline.View) []pipeline.Feeder {
	comms := map[uint32]string{}
	for _, p := range v.Processes {
		comms[p.PID] = p.Comm
	}
	var out []pipeline.Feeder
	for _, x := range v.Feeders {
		texts := []string{x.Comm, comms[x.PID]}
		for _, c := range x.Cells {
			texts = append(texts, placeName(c.Place))
		}
		if f.has([]uint32{x.PID, x.TID}, texts...) {
			out = append(out, x)
		}
	}
	return out
}

// findings are the chains that match: by cause, severity, job or culprit.
func (f filter) findings(chains []query.Chain) []query.Chain {
	var out []query.Chain
	for _, c := range chains {
		numbers, texts := []uint32{c.PID}, []string{c.Cause.Kind, kindText(c.Cause.Kind), c.Severity, c.Comm, c.Cause.Summary, c.Symptom.Op}
		for _, x := range c.Cause.Culprits {
			numbers, texts = append(numbers, x.PID), append(texts, x.Comm)
		}
		if f.has(numbers, texts...) {
			out = append(out, c)
		}
	}
	return out
}

// kindText is the name of a cause in words.
func kindText(kind string) string { return strings.ReplaceAll(kind, "_", " ") }
