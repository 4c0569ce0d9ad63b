package metric

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// view is everything that a Snapshot is made of, at one moment. What takes
// long is done with it afterwards, so that nobody waits.
type view struct {
	now       time.Time
	opts      *Options
	self      Self
	processes []processView // with series of their own
	calls     []callView    // of processes and operations, of the host as well
	spent     []timeView
	thieves   []timeView
	living    int
	gone      int
	events    map[event.Op]eventCount
	system    event.Snapshot
	gpus      []event.GPUSample
	found     map[findingKey]uint64
	active    []Finding
}

type processView struct {
	event.Process
	labels []Attr
}

type callView struct {
	attrs []Attr
	stats.Calls
}

type timeView struct {
	attrs []Attr
	ns    uint64
	pid   uint32
}

// freshness is how long a measured state of the machine is believed.
const freshness = 30 * time.Second

func (c *Collector) view() *view {
	v := &view{now: c.opts.Now(), opts: &c.opts}
	if c.opts.Self != nil {
		v.self = c.opts.Self()
	}
	c.mu.Lock()
	c.copyTo(v)
	c.mu.Unlock()
	slices.SortFunc(v.processes, func(a, b processView) int { return cmp.Compare(a.PID, b.PID) })
	slices.SortFunc(v.calls, func(a, b callView) int {
		return cmp.Or(cmp.Compare(a.Op, b.Op), cmp.Compare(a.PID, b.PID), compareAttrs(a.attrs, b.attrs))
	})
	for _, all := range [][]timeView{v.spent, v.thieves} {
		slices.SortFunc(all, func(a, b timeView) int {
			return cmp.Or(cmp.Compare(a.pid, b.pid), compareAttrs(a.attrs, b.attrs))
		})
	}
	slices.SortFunc(v.gpus, func(a, b event.GPUSample) int { return cmp.Compare(a.GPU, b.GPU) })
	return v
}

func compareAttrs(a, b []Attr) int {
	return slices.CompareFunc(a, b, func(x, y Attr) int { return cmp.Or(cmp.Compare(x.Key, y.Key), cmp.Compare(x.Value, y.Value)) })
}

// copyTo copies what others may change, under the mutex.
func (c *Collector) copyTo(v *view) {
	k := &c.books
	v.living, v.gone = len(k.living), k.gone
	n := [3]int{}
	for _, b := range k.own {
		n[0], n[1], n[2] = n[0]+len(b.calls), n[1]+len(b.spent), n[2]+len(b.thieves)
	}
	v.calls, v.spent, v.thieves = make([]callView, 0, n[0]+100), make([]timeView, 0, n[1]+100), make([]timeView, 0, n[2]+100)
	for _, b := range k.own {
		v.processes = append(v.processes, processView{b.who, b.labels})
		v.add(b)
	}
	v.add(k.other)
	v.add(k.ended)
	v.events = make(map[event.Op]eventCount, len(c.events))
	for op, n := range c.events {
		v.events[op] = *n
	}
	if v.now.Sub(time.Unix(0, c.system.Time)) < freshness {
		v.system = c.system
	}
	for _, g := range c.gpus {
		if v.now.Sub(time.Unix(0, g.Time)) < freshness {
			v.gpus = append(v.gpus, g)
		}
	}
	v.found, v.active = maps.Clone(c.findings.count), c.findings.active()
}

// add copies one book. Attributes are made when they are first asked for.
func (v *view) add(b *book) {
	for op, x := range b.calls {
		if x.attrs == nil {
			x.attrs = with(b.labels, opLabels(op)...)
		}
		v.calls = append(v.calls, callView{x.attrs, x.Calls})
	}
	for at, t := range b.spent {
		if t.attrs == nil {
			t.attrs = with(b.labels, spotLabels(at)...)
		}
		v.spent = append(v.spent, timeView{attrs: t.attrs, ns: t.ns, pid: b.who.PID})
	}
	for name, t := range b.thieves {
		if t.attrs == nil {
			t.attrs = with(b.labels, Attr{"thief", name})
		}
		v.thieves = append(v.thieves, timeView{attrs: t.attrs, ns: t.ns, pid: b.who.PID})
	}
}

// ofCalls makes a point of each traced call that is wanted; nil wants all.
func (v *view) ofCalls(wanted func(event.Op) bool, value func(*stats.Calls) float64) []Point {
	return v.points(true, wanted, value)
}

// ofHost makes a point of each operation of the host.
func (v *view) ofHost(wanted func(event.Op) bool, value func(*stats.Calls) float64) []Point {
	return v.points(false, wanted, value)
}

func (v *view) points(calls bool, wanted func(event.Op) bool, value func(*stats.Calls) float64) []Point {
	all := make([]Point, 0, len(v.calls))
	for i := range v.calls {
		c := &v.calls[i]
		if c.Op.IsCall() == calls && (wanted == nil || wanted(c.Op)) {
			all = append(all, Point{Attrs: c.attrs, Value: value(&c.Calls)})
		}
	}
	return all
}

// durations are the distributions of all traced calls.
func (v *view) durations() []Point {
	all := make([]Point, 0, len(v.calls))
	for i := range v.calls {
		if c := &v.calls[i]; c.Op.IsCall() {
			all = append(all, Point{Attrs: c.attrs, Hist: c.Hist})
		}
	}
	return all
}

func times(of []timeView) []Point {
	all := make([]Point, len(of))
	for i, t := range of {
		all[i] = Point{Attrs: t.attrs, Value: float64(t.ns) / 1e9}
	}
	return all
}

// one is a metric without attributes; what is negative is not known.
func one(value float64) []Point {
	if value < 0 {
		return nil
	}
	return []Point{{Value: value}}
}

// ofSystem is one value of the machine, if it was measured lately.
func (v *view) ofSystem(value float64) []Point {
	if v.system.Time == 0 {
		return nil
	}
	return one(value)
}

// each makes a point for each value that is known.
func each(key string, values ...Point) []Point {
	var all []Point
	for _, p := range values {
		if p.Value >= 0 {
			p.Attrs = []Attr{{key, p.Attrs[0].Value}}
			all = append(all, p)
		}
	}
	return all
}

// named is a value that each gives an attribute.
func named(name string, value float64) Point {
	return Point{Attrs: []Attr{{Value: name}}, Value: value}
}

// perGPU makes a point for each GPU whose value is known.
func (v *view) perGPU(value func(g *event.GPUSample) float64, more ...Attr) []Point {
	var all []Point
	for i := range v.gpus {
		if x := value(&v.gpus[i]); x >= 0 {
			all = append(all, Point{Attrs: with([]Attr{{"hw.id", strconv.Itoa(v.gpus[i].GPU)}, {"hw.type", "gpu"}}, more...), Value: x})
		}
	}
	return all
}

// perEvent makes a point for each operation.
func (v *view) perEvent(value func(eventCount) uint64, more ...Attr) []Point {
	var all []Point
	for _, op := range slices.Sorted(maps.Keys(v.events)) {
		attrs := with([]Attr{{"operation", op.String()}, {"source", op.Source().String()}}, more...)
		all = append(all, Point{Attrs: attrs, Value: float64(value(v.events[op]))})
	}
	return all
}

// perFinding adds up findings that go on.
func (v *view) perFinding(value func(*Finding) float64) []Point {
	sums := map[[4]string]float64{}
	for i := range v.active {
		f := &v.active[i]
		sums[[4]string{f.Kind, clean(f.Comm), number(f.PID), f.Severity}] += value(f)
	}
	var all []Point
	for _, k := range slices.SortedFunc(maps.Keys(sums), func(a, b [4]string) int { return slices.Compare(a[:], b[:]) }) {
		attrs := []Attr{{"kind", k[0]}, {"process.command", k[1]}, {"process.pid", k[2]}, {"severity", k[3]}}
		all = append(all, Point{Attrs: attrs, Value: sums[k]})
	}
	return all
}
