package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits that a run is held to.
const (
	maxLossError   = 0.15
	maxUnaccounted = 0.01
	maxFound       = 5 * time.Second
	early          = 1500 * time.Millisecond // seconds are the finest the agent tells
)

// Result is the score of one run.
type Result struct {
	Name      string
	Round     int
	Fault     bool
	Error     string  `json:",omitempty"` // the run itself failed
	Uncovered string  `json:",omitempty"` // it cannot be done on this machine
	Foreign   float64 // CPUs in use by other work on the machine

	Kind, Summary  string        // said first
	KindRight      bool          //
	Culprit        string        // said first
	CulpritAsked   bool          // a culprit was to be named
	CulpritRight   bool          //
	Lost           time.Duration // by the job's own account
	LostShare      float64
	LostSaid       time.Duration
	LossAsked      bool
	LossError      float64 // relative
	Unaccounted    float64 // the worst of all threads
	UnaccountedWho string
	FoundAsked     bool
	Found          time.Duration // since the injection; -1 is never
	False          []string      // MEDIUM and HIGH findings that are wrong
}

// score compares an explanation with what was done.
func (s *scene) score(r *Result, e explanation, p period) {
	r.Unaccounted, r.UnaccountedWho = e.unaccounted, e.feeder
	mine := s.about(e.chains)
	for _, c := range mine {
		right := slices.Contains(s.c.Kinds, c.kind) && !(c.to.Before(p.from) && !c.to.IsZero())
		if c.serious() && !right && !slices.Contains(s.c.Allow, c.kind) {
			r.False = append(r.False, c.severity+" "+c.kind)
		}
		if right {
			r.LostSaid += c.lost
			if c.serious() && !c.from.IsZero() && c.from.Before(p.from.Add(-early)) {
				r.False = append(r.False, c.severity+" "+c.kind+" too early")
			}
		}
	}
	after, wrong := s.found(p.from)
	r.False = append(r.False, wrong...)
	if !s.c.isFault() {
		return
	}
	r.FoundAsked, r.Found = true, after
	if len(mine) > 0 {
		first := mine[0]
		r.Kind, r.Summary = first.kind, first.summary
		r.KindRight = slices.Contains(s.c.Kinds, first.kind)
		if len(first.culprits) > 0 {
			r.Culprit = fmt.Sprintf("%s %d", first.culprits[0].comm, first.culprits[0].pid)
			r.CulpritRight = s.isCulprit(first.culprits[0])
		}
	}
	r.CulpritAsked = s.c.Culprit != ""
	if !s.c.NoLoss && !s.c.Ends {
		r.LossAsked = true
		r.LossError = (r.LostSaid - r.Lost).Seconds() / r.Lost.Seconds()
	}
}

// about leaves out what is said of other traced processes, such as a rival
// on the device, which the job may well slow down in its turn.
func (s *scene) about(chains []chain) []chain {
	others := map[int]bool{}
	for _, h := range s.helpers {
		others[h.pid] = true
	}
	return slices.DeleteFunc(slices.Clone(chains), func(c chain) bool { return others[c.pid] })
}

func (s *scene) isCulprit(c culprit) bool {
	if s.c.Culprit == "self" {
		return slices.Contains(s.pids, c.pid)
	}
	for _, h := range s.helpers {
		if h.name == s.c.Culprit && h.pid == c.pid {
			return true
		}
	}
	return c.comm == s.c.Culprit
}

var finding = regexp.MustCompile(`finding: (\w+) (\w+) PID (\d+)`)

// told is a finding that the agent printed while the job ran.
type told struct {
	at             time.Time
	severity, kind string
}

// live returns what was told of the job.
func (s *scene) live() []told {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []told
	for _, l := range s.said {
		m := finding.FindStringSubmatch(l.text)
		if m == nil {
			continue
		}
		if pid, _ := strconv.Atoi(m[3]); !s.isHelper(pid) {
			all = append(all, told{l.at, m[1], m[2]})
		}
	}
	return all
}

// found returns how long after a time the agent told of the right kind, and
// what it told that was wrong.
func (s *scene) found(since time.Time) (after time.Duration, wrong []string) {
	after = -1
	for _, t := range s.live() {
		right := slices.Contains(s.c.Kinds, t.kind) && !t.at.Before(since)
		if right && after < 0 {
			after = t.at.Sub(since)
		}
		if !right && t.severity != "LOW" && !slices.Contains(s.c.Allow, t.kind) {
			wrong = append(wrong, "live "+t.severity+" "+t.kind)
		}
	}
	return after, wrong
}

func (s *scene) isHelper(pid int) bool {
	return slices.ContainsFunc(s.helpers, func(h *helper) bool { return h.pid == pid })
}

// problems lists in words what is not as it should be.
func (r Result) problems() []string {
	var all []string
	add := func(wrong bool, format string, args ...any) {
		if wrong {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	add(r.Foreign > maxForeign, "disturbed: others used %.0f %% of a CPU", 100*r.Foreign)
	add(r.Error != "", "%s", strings.TrimSpace(r.Error))
	if r.Error != "" || r.Uncovered != "" {
		return all
	}
	if r.Fault {
		add(!r.KindRight, "says %q first", r.Kind)
		add(r.CulpritAsked && !r.CulpritRight, "names %q", r.Culprit)
		add(r.LossAsked && !(r.LossError >= -maxLossError && r.LossError <= maxLossError),
			"lost %v, says %v", r.Lost.Round(time.Millisecond), r.LostSaid.Round(time.Millisecond))
		add(r.Found < 0, "not told live")
		add(r.Found > maxFound, "told after %v", r.Found.Round(100*time.Millisecond))
	}
	add(r.Unaccounted > maxUnaccounted, "%.2f %% of %s unaccounted", 100*r.Unaccounted, r.UnaccountedWho)
	add(len(r.False) > 0, "false: %s", strings.Join(r.False, ", "))
	return all
}
