package rule

import (
	"fmt"
	"strings"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// startSeconds is how long after its first call a job may be warming up.
const startSeconds = 5

// A call is cold if it is the first of its kind and this much slower than the
// usual one: it loads code, or makes a context.
const (
	coldTimes = 20
	coldNS    = 1_000_000
)

// starting reports whether the job had just begun to use the device.
func (j *job) starting(s *slot) bool {
	first := j.slots[0].At
	return s.At-first <= startSeconds && first-j.Start/1e9 <= 60 && (s.At-first <= 1 || s.norm() == nil)
}

func mayBeCold(c event.Class) bool { return c == event.Launch || c == event.Alloc || c == event.Copy }

// chargeStart is the time that loading took: contexts and modules at any
// time, and right after the start the first, slow call of each kind.
func chargeStart(j *job, s *slot) []charge {
	ns := own(s, event.Load)
	if j.starting(s) {
		for op, c := range s.calls {
			slow := c.Hist.Max()
			if mayBeCold(op.Class()) && slow >= coldNS && c.Nested < c.Hist.Count() && j.unusual(op, slow) {
				ns += float64(slow)
			}
		}
		ns = min(ns, float64(s.wall))
	}
	return []charge{{rule: ruleStart, ns: ns}}
}

// unusual reports whether a call took far longer than others of its kind do. The
// only one of its kind is unusual, unless it is a copy: a large one takes long.
func (j *job) unusual(op event.Op, ns uint64) bool {
	var all stats.Histogram
	for _, s := range j.slots {
		if c := s.calls[op]; c != nil {
			all.Merge(c.Hist)
		}
	}
	if all.Count() == 1 {
		return op.Class() != event.Copy
	}
	return ns >= coldTimes*all.Quantile(0.5)
}

func tellStart(j *job, f *Finding) {
	f.Symptom = j.coldest(f)
	f.Summary = fmt.Sprintf("cold start: contexts and modules were loaded, first calls were slow: %s", f.lost())
	f.Fixes = startFixes
	f.limit(Low, "it ends by itself")
}

// coldest is the operation whose loading took longest.
func (j *job) coldest(f *Finding) Symptom {
	y := Symptom{TID: j.busiest(f.slots), During: &stats.Histogram{}}
	y.Comm = j.names[y.TID]
	var most uint64
	for _, s := range f.slots {
		for op, c := range s.calls {
			n := c.Hist.Max()
			cold := op.Class() == event.Load || mayBeCold(op.Class()) && n >= coldNS && j.unusual(op, n)
			if cold && outer(c) > 0 && (n > most || n == most && op < y.Op) {
				y.Op, most = op, n
			}
		}
	}
	if y.Op != 0 {
		y.During = percentiles(f.slots, y.Op)
	}
	return y
}

var startFixes = []Fix{{Text: "It happens once. To shorten it: CUDA_MODULE_LOADING=LAZY, keep the process alive between requests, warm up before serving"}}

// findCold judges a process of which only the calls are known, as in
// recordings without a ledger: the slowest call of a kind is a cold start if
// it is the first one.
func findCold(p *stats.Process) []Finding {
	first, all := map[event.Op]*stats.Second{}, map[event.Op]*stats.Histogram{}
	for i := range p.Seconds {
		s := &p.Seconds[i]
		if len(s.Ledger) > 0 {
			return nil
		}
		for k := range s.Calls {
			c := &s.Calls[k]
			if !mayBeCold(c.Op.Class()) || c.Hist.Count() == 0 {
				continue
			}
			if first[c.Op] == nil {
				first[c.Op], all[c.Op] = s, &stats.Histogram{}
			}
			all[c.Op].Merge(c.Hist)
		}
	}
	var worst event.Op
	var told []string
	for _, o := range event.Ops() {
		s, h := first[o.ID], all[o.ID]
		if s == nil || h.Count() < 2 || h.Max() < coldNS || h.Max() < coldTimes*h.Quantile(0.5) || maxIn(s, o.ID) < h.Max() {
			continue
		}
		told = append(told, fmt.Sprintf("%s %s instead of %s", o.Name, short(h.Max()), short(h.Quantile(0.5))))
		if worst == 0 || h.Max() > all[worst].Max() {
			worst = o.ID
		}
	}
	if worst == 0 {
		return nil
	}
	return []Finding{cold(p, first[worst], worst, all[worst], told)}
}

func maxIn(s *stats.Second, op event.Op) uint64 {
	for i := range s.Calls {
		if s.Calls[i].Op == op {
			return s.Calls[i].Hist.Max()
		}
	}
	return 0
}

// cold tells of the slow first calls; nested ones are not lost twice.
func cold(p *stats.Process, s *stats.Second, op event.Op, h *stats.Histogram, told []string) Finding {
	f := newFinding(p, "cold_start", s.At, s.At+max(s.Span, 1))
	f.Severity, f.LostNS = Low, h.Max()
	last := p.Seconds[len(p.Seconds)-1]
	f.Share = min(float64(f.LostNS)/float64((last.At+max(last.Span, 1)-p.Seconds[0].At)*1e9), 1)
	f.Explained, f.Confidence = 1, 0.7
	f.Symptom = Symptom{Op: op, Comm: p.Comm, During: h}
	f.Summary = "the first calls took long, because code is loaded at the first use: " + strings.Join(told, ", ")
	f.Fixes = startFixes
	f.Limit = "it ends by itself"
	return f
}
