// Package rule turns the time ledger into verdicts: what took a process's
// time, who did it, how much. Rules are pure: seconds of data in, findings
// out; no clock, no database.
package rule

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// Second is what one process did in one second.
type Second = stats.Second

// Process is one traced process over a window of time.
type Process = stats.Process

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
)

// Culprit is a party that took time.
type Culprit struct {
	PID   uint32
	Comm  string
	NS    uint64
	Share float64 // of the time lost
}

// Fix is something to do about a finding.
type Fix struct {
	Text    string
	Command string // to run; may be empty
}

// Finding is one cause of lost time.
type Finding struct {
	Kind       string // DESIGN.md section 5
	Severity   Severity
	Process    event.Process
	Start, End time.Time
	Ongoing    bool   // still present in the last second of the window
	Summary    string // one line
	// LostNS is how much of the feeders' time the cause took. It is a bound:
	// a thread that would have waited for the device anyway lost less.
	LostNS   uint64
	Share    float64
	Culprits []Culprit // most harmful first
	Fixes    []Fix
}

// rules lists every rule, in the order of docs and tests: one file each.
var rules = []struct {
	kind string
	loss func(Second) loss
	tell func(*Finding)
}{
	{"cpu_contention", lostToOthers, tellContention},
	{"cpu_throttled", lostToThrottling, tellThrottled},
	{"memory_reclaim", lostToReclaim, tellReclaim},
}

// loss is what one cause took in one second.
type loss struct {
	ns       uint64
	culprits []Culprit
}

// Find applies all rules to one process. The most harmful finding is first;
// equal input gives equal output.
func Find(p Process) []Finding {
	var all []Finding
	for _, r := range rules {
		for _, run := range incidents(p, r.loss) {
			f := run.finding(p, r.kind)
			if f.Severity == "" {
				continue
			}
			r.tell(&f)
			all = append(all, f)
		}
	}
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(b.LostNS, a.LostNS), a.Start.Compare(b.Start), cmp.Compare(a.Kind, b.Kind))
	})
	return all
}

// incident is a run of seconds in which a cause took time.
type incident struct {
	first, last int64 // unix s
	wall, lost  uint64
	culprits    map[uint32]*Culprit
}

// maxGap is how many seconds may be without the cause inside one incident.
const maxGap = 3

// incidents finds the runs of seconds in which a cause took at least
// lowShare of the feeders' time.
func incidents(p Process, of func(Second) loss) []*incident {
	feeders := feedersOf(p)
	var all []*incident
	var now *incident
	for _, s := range p.Seconds {
		s = only(s, feeders)
		wall := wallOf(s)
		l := of(s)
		if wall == 0 || float64(l.ns) < lowShare*float64(wall) {
			continue
		}
		if now == nil || s.At-now.last > maxGap {
			now = &incident{first: s.At, culprits: map[uint32]*Culprit{}}
			all = append(all, now)
		}
		now.last = s.At
		now.lost += l.ns
		for _, c := range l.culprits {
			if now.culprits[c.PID] == nil {
				now.culprits[c.PID] = &Culprit{PID: c.PID, Comm: c.Comm}
			}
			now.culprits[c.PID].NS += c.NS
		}
	}
	for _, i := range all {
		for _, s := range p.Seconds {
			if s.At >= i.first && s.At <= i.last {
				i.wall += wallOf(only(s, feeders))
			}
		}
	}
	return all
}

func (i *incident) finding(p Process, kind string) Finding {
	f := Finding{
		Kind: kind, Process: p.Process, Start: time.Unix(i.first, 0), End: time.Unix(i.last+1, 0),
		Ongoing: i.last == p.Seconds[len(p.Seconds)-1].At, LostNS: i.lost, Share: float64(i.lost) / float64(i.wall),
	}
	switch {
	case f.Share >= highShare:
		f.Severity = High
	case f.Share >= mediumShare:
		f.Severity = Medium
	case f.Share >= lowShare:
		f.Severity = Low
	}
	for _, c := range i.culprits {
		c.Share = float64(c.NS) / float64(i.lost)
		f.Culprits = append(f.Culprits, *c)
	}
	slices.SortFunc(f.Culprits, func(a, b Culprit) int {
		return cmp.Or(cmp.Compare(b.NS, a.NS), cmp.Compare(a.PID, b.PID))
	})
	return f
}

// feedersOf returns the threads that made traced calls: theirs is the time
// that the device waits for.
func feedersOf(p Process) map[uint32]bool {
	feeders := map[uint32]bool{}
	for _, s := range p.Seconds {
		for _, l := range s.Ledger {
			if l.Place != 0 {
				feeders[l.TID] = true
			}
		}
	}
	return feeders
}

// only leaves the ledgers of the given threads.
func only(s Second, threads map[uint32]bool) Second {
	s.Ledger = slices.DeleteFunc(slices.Clone(s.Ledger), func(l stats.Ledger) bool { return !threads[l.TID] })
	return s
}

func wallOf(s Second) uint64 {
	var ns uint64
	for i := range s.Ledger {
		ns += s.Ledger[i].Total()
	}
	return ns
}

func timeIn(s Second, state event.State) uint64 {
	var ns uint64
	for _, l := range s.Ledger {
		ns += l.NS[state]
	}
	return ns
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
