package rule

import (
	"cmp"
	"maps"
	"slices"
)

// incident is a run of seconds in which one cause took time.
type incident struct {
	rule  int
	slots []*slot // those in which it took enough
	from  int64   // unix s
	to    int64   // the end of the last second
	lost  float64 // ns on the job's clock, before the comparison with the norm
	fit   float64 // share of it that the job really lacks
	span  float64 // ns from the first second to the end of the last
}

const (
	// maxGap is how many seconds may be without the cause inside one incident.
	maxGap = 3
	// slotShare is what a cause must take of a second to be noticed.
	slotShare = 0.02
)

// gapOf is the same for a rule: a start is one, however long its steps take.
func gapOf(rule int) int64 {
	if rule == ruleStart {
		return 10
	}
	return maxGap
}

// clock turns time of the feeders into time of the job: feeders that wait for
// each other lose it once.
func (s *slot) clock(ns float64) float64 {
	wall := float64(s.wall) - s.inner
	if wall <= 0 {
		return 0
	}
	return min(ns/wall, 1) * float64(s.dur)
}

// incidents finds the runs of seconds of every rule.
func (j *job) incidents() []*incident {
	var all []*incident
	for r := range rules {
		var now *incident
		for _, s := range j.slots {
			lost := s.clock(s.lost[r].ns)
			if lost < slotShare*float64(s.dur) {
				continue
			}
			if now == nil || s.At-now.to >= gapOf(r) {
				now = &incident{rule: r, from: s.At}
				all = append(all, now)
			}
			now.to = s.At + max(s.Span, 1)
			now.slots = append(now.slots, s)
			now.lost += lost
		}
	}
	for _, x := range all {
		x.trim()
		j.weigh(x)
	}
	return all
}

// A second at the edge of an incident is noise, and no part of it, if the cause
// took little in it and, unlike in the second in which a cause sets in, not
// much in the next one either. Shares are of the average second.
const (
	littleAtEdge = 0.25
	muchBeside   = 0.5
)

// trim cuts noise off both ends.
func (x *incident) trim() {
	lost := func(s *slot) float64 { return s.clock(s.lost[x.rule].ns) }
	noise := func(edge, next *slot) bool {
		mean := x.lost / float64(len(x.slots))
		apart := edge.At - next.At
		return lost(edge) < littleAtEdge*mean && (lost(next) < muchBeside*mean || max(apart, -apart) > max(edge.Span, next.Span, 1))
	}
	for n := len(x.slots); n > 2 && noise(x.slots[0], x.slots[1]); n-- {
		x.lost -= lost(x.slots[0])
		x.slots = x.slots[1:]
	}
	for n := len(x.slots); n > 2 && noise(x.slots[n-1], x.slots[n-2]); n-- {
		x.lost -= lost(x.slots[n-1])
		x.slots = x.slots[:n-1]
	}
	last := x.slots[len(x.slots)-1]
	x.from, x.to = x.slots[0].At, last.At+max(last.Span, 1)
}

// weigh compares what causes took in an incident with what the job lacks: a
// wait that held nothing up, because the device was busy anyway, is no loss.
func (j *job) weigh(x *incident) {
	for _, s := range j.slots {
		if s.At >= x.from && s.At < x.to {
			x.span += float64(s.dur)
		}
	}
	var lack, charged float64
	known := 0
	for _, s := range x.slots {
		for r, l := range s.lost {
			if r != ruleStart || x.rule == ruleStart {
				charged += s.clock(l.ns)
			}
		}
		if s.known {
			known++
			lack += s.clock(max(s.lack, 0)) - s.clock(max(-s.lack, 0))
		}
	}
	x.fit = 1
	if x.rule != ruleHang && x.rule != ruleStart && 2*known > len(x.slots) && charged > 0 {
		lack *= float64(len(x.slots)) / float64(known)
		x.fit = min(max(lack/charged, 0), 1)
	}
}

// culprits adds up who took the time of an incident; the shares are of the
// time lost.
func (x *incident) culprits(w *Window) []Culprit {
	type key struct{ pid, tid uint32 }
	sums := map[key]*Culprit{}
	for _, s := range x.slots {
		for _, c := range s.lost[x.rule].culprits {
			k := key{c.PID, c.TID}
			if sums[k] == nil {
				sums[k] = &Culprit{PID: c.PID, TID: c.TID, Comm: c.Comm}
			}
			sums[k].NS += uint64(s.clock(float64(c.NS)) * x.fit)
		}
	}
	var all []Culprit
	for _, c := range sums {
		c.Cgroup, c.Container = w.place(c.PID)
		all = append(all, *c)
	}
	all = gather(all)
	for i := range all {
		all[i].Share = min(float64(all[i].NS)/max(x.lost*x.fit, 1), 1)
	}
	return all
}

// manyThieves is how many processes of one name are told as one party.
const manyThieves = 8

// gather joins many short-lived processes of one name into one culprit, the
// worst of them standing for all.
func gather(all []Culprit) []Culprit {
	byName := map[string][]Culprit{}
	for _, c := range byHarm(all) {
		byName[c.Comm] = append(byName[c.Comm], c)
	}
	var out []Culprit
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		same := byName[name]
		if len(same) < manyThieves {
			out = append(out, same...)
			continue
		}
		one := same[0]
		one.Many = len(same)
		for _, c := range same[1:] {
			one.NS += c.NS
		}
		out = append(out, one)
	}
	return byHarm(out)
}

func byHarm(all []Culprit) []Culprit {
	slices.SortFunc(all, func(a, b Culprit) int {
		return cmp.Or(cmp.Compare(b.NS, a.NS), cmp.Compare(a.PID, b.PID), cmp.Compare(a.TID, b.TID))
	})
	return all
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func seconds(of []*slot) map[int64]bool {
	at := map[int64]bool{}
	for _, s := range of {
		at[s.At] = true
	}
	return at
}
