package rule

import (
	"fmt"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// Severity of a finding, from the share of time lost.
type Severity string

// Severities, and the share of the feeders' wall time from which they are
// given. Less than Low is not reported.
const (
	High   Severity = "HIGH"
	Medium Severity = "MEDIUM"
	Low    Severity = "LOW"

	highShare   = 0.20
	mediumShare = 0.05
	lowShare    = 0.01
	// starved is the share of time from which even a habit is worth a MEDIUM.
	starved = 0.6
	// shortest is the span that an incident is measured against at least: a
	// bad second is no bad day.
	shortest = 10 * time.Second
)

func (s Severity) rank() int {
	return map[Severity]int{Low: 1, Medium: 2, High: 3}[s]
}

// Fix is something to do about a finding.
type Fix struct {
	Text    string
	Command string // to run; may be empty
}

// Symptom is what the job felt: the operation that became slower, or a gap
// between calls that grew.
type Symptom struct {
	Op            event.Op // 0: the time between calls; capturing: a place, which is not counted
	TID           uint32
	Comm          string
	During, Usual *stats.Histogram // durations; Usual is nil where no good second is known
}

// Finding is one cause of lost time.
type Finding struct {
	Kind       string // DESIGN.md section 5
	Severity   Severity
	Process    event.Process
	Node       string
	Start, End time.Time
	Ongoing    bool   // still there in the last second of the window
	Summary    string // one line
	LostNS     uint64 // on the job's clock
	Share      float64
	Explained  float64 // of what the job lacks, the share that causes were found for
	Confidence float64 // 0 to 1
	Culprits   []Culprit
	Fixes      []Fix
	Symptom    Symptom
	// Rate is work per second: during the incident, and when all is well.
	Rate float64
	// Before is the rate when all is well; nil: it was never seen well.
	Before *float64
	Limit  string // why the severity is not what the share says; empty: it is

	slots, good []*slot
	span        float64
	foreign     bool // somebody else does it: no habit of the job
}

func (f *Finding) seconds() float64 { return max(f.span/1e9, 0.001) }

// limit caps the severity, for a reason.
func (f *Finding) limit(s Severity, why string) {
	if f.Severity.rank() > s.rank() {
		f.Severity, f.Limit = s, why
	}
}

// lost says how much time was lost, for people.
func (f *Finding) lost() string {
	return fmt.Sprintf("%s of its time (%s)", percent(f.Share), short(f.LostNS))
}

func (f *Finding) culpritName(otherwise string) string {
	if len(f.Culprits) == 0 {
		return otherwise
	}
	return f.Culprits[0].name()
}

// name is how a culprit is called on screen.
func (c Culprit) name() string {
	switch {
	case c.Many > 1:
		return fmt.Sprintf("%s (%d processes, the worst PID %d)", c.Comm, c.Many, c.PID)
	case c.TID != 0 && c.TID != c.PID:
		return fmt.Sprintf("%s (thread %d of PID %d)", c.Comm, c.TID, c.PID)
	}
	return fmt.Sprintf("%s (PID %d)", c.Comm, c.PID)
}

func newFinding(p *stats.Process, kind string, from, to int64) Finding {
	return Finding{Kind: kind, Process: p.Process, Node: p.Node, Start: time.Unix(from, 0), End: time.Unix(to, 0)}
}

// finding turns an incident into a verdict; false: it is not worth a word.
func (j *job) finding(x *incident) (Finding, bool) {
	r := rules[x.rule]
	f := newFinding(j.Process, r.kind, x.from, x.to)
	f.slots, f.span = x.slots, x.span
	f.Ongoing = x.to > j.slots[len(j.slots)-1].At && j.Ended == 0
	if r.onDevice && f.Ongoing && len(x.slots) < 2 {
		return f, false // one long wait: it may be anything yet
	}
	lost := x.lost * x.fit
	if x.rule == ruleUnexplained && (len(x.slots) < plainSeconds || lost < plainly*x.span) {
		return f, false
	}
	f.LostNS, f.Share = uint64(lost), min(lost/max(x.span, 1), 1)
	switch damped := lost / max(x.span, float64(shortest)); {
	case damped >= highShare:
		f.Severity = High
	case damped >= mediumShare:
		f.Severity = Medium
	case damped >= lowShare:
		f.Severity = Low
	default:
		return f, false
	}
	f.Culprits = x.culprits(j.window)
	j.compareRates(&f, x)
	r.tell(j, &f)
	if r.habit && f.Before == nil && !f.foreign {
		most := Low
		if f.Share >= starved && x.rule != ruleOwn {
			most = Medium // it does hardly anything else
		}
		why := "it has been like this as long as it was watched"
		if x.from > j.slots[0].At+startSeconds {
			why = "it came with another way of working, which may be meant"
		}
		f.limit(most, why)
	}
	if f.Symptom.Op == 0 {
		f.Symptom = j.symptom(x, &f)
	}
	for i := range f.Culprits {
		if f.Culprits[i].Share == 0 {
			f.Culprits[i].Share = min(float64(f.Culprits[i].NS)/max(lost, 1), 1)
		}
	}
	return f, true
}

// compareRates says how fast the job went, and should have gone.
func (j *job) compareRates(f *Finding, x *incident) {
	var units, lack, charged float64
	known := 0
	for _, s := range x.slots {
		units += float64(s.units)
		for _, l := range s.lost {
			charged += l.ns
		}
		if s.known {
			known++
			lack += s.lack
		}
		if n := s.norm(); n != nil && f.good == nil {
			f.good = n.slots
		}
	}
	var span float64
	for _, s := range x.slots {
		span += float64(s.dur)
	}
	f.Rate = units / max(span/1e9, 0.001)
	f.Explained, f.Confidence = 1, 0.6
	if 2*known > len(x.slots) && lack > 0 {
		f.Explained = min(charged/lack, 1)
	}
	if len(f.good) > 0 {
		var good, dur float64
		for _, s := range f.good {
			good += float64(s.units)
			dur += float64(s.dur)
		}
		before := good / (dur / 1e9)
		if before > f.Rate*1.05 {
			f.Before = &before
			f.Confidence = 0.7 + 0.3*f.Explained
		} else {
			f.good = nil // it was never seen without
		}
	}
}

// symptom finds the place where most of the lost time was spent.
func (j *job) symptom(x *incident, f *Finding) Symptom {
	var now, usual [classes]float64
	var units, good float64
	for _, s := range x.slots {
		units += float64(s.units)
		for p := range s.cells {
			now[p] += float64(s.place(event.Class(p)))
		}
	}
	for _, s := range f.good {
		good += float64(s.units)
		for p := range s.cells {
			usual[p] += float64(s.place(event.Class(p)))
		}
	}
	best, most := between, 0.0
	for p := range now {
		grown := now[p]
		if good > 0 {
			grown -= usual[p] * units / good
		}
		if p == int(between) {
			for _, s := range x.slots {
				grown -= float64(s.idle())
			}
		}
		if grown > most {
			best, most = event.Class(p), grown
		}
	}
	return j.worstOp(f, best)
}

// worstOp is the operation of a class that took most time.
func (j *job) worstOp(f *Finding, class event.Class) Symptom {
	y := Symptom{TID: j.busiest(f.slots), During: &stats.Histogram{}}
	y.Comm = j.names[y.TID]
	sums := map[event.Op]uint64{}
	for _, s := range f.slots {
		for op, c := range s.calls {
			if op.Class() == class && outer(c) > 0 {
				sums[op] += c.Hist.Sum()
			}
		}
	}
	var most uint64
	for op, sum := range sums {
		if sum > most || (sum == most && op < y.Op) {
			y.Op, most = op, sum
		}
	}
	op := y.Op
	switch class {
	case between:
		op = opGap
	case event.Capturing:
		y.Op, op = opCapturing, opCapturing
	}
	y.During = percentiles(f.slots, op)
	if len(f.good) > 0 {
		y.Usual = percentiles(f.good, op)
	}
	return y
}

var opGap, opCapturing = event.MakeOp(event.Host, 14), event.MakeOp(event.Host, 15)

// busiest is the feeder with most time in calls.
func (j *job) busiest(of []*slot) uint32 {
	in := map[uint32]uint64{}
	for _, s := range of {
		for i := range s.Ledger {
			if l := &s.Ledger[i]; l.Place != 0 && j.feeders[l.TID] {
				in[l.TID] += l.Total()
			}
		}
	}
	var best uint32
	for tid, ns := range in {
		if best == 0 || ns > in[best] || (ns == in[best] && tid < best) {
			best = tid
		}
	}
	return best
}

// percent writes a share for people.
func percent(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }

// short writes ns for people.
func short(ns uint64) string {
	d := time.Duration(ns)
	for unit := time.Second; unit >= time.Microsecond; unit /= 10 {
		if d >= unit {
			return d.Round(unit / 100).String()
		}
	}
	return d.String()
}
