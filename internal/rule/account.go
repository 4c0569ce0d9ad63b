package rule

import (
	"ingero/internal/event"
)

// Culprit is a party that took time.
type Culprit struct {
	PID               uint32
	TID               uint32 // of the thread that was waited for; 0: the process as a whole
	Comm              string
	NS                uint64
	Share             float64 // of the time lost
	Cgroup, Container string  // where it runs, if that is known
	times             uint64  // of waits that it ended
	Many              int     // it stands for so many processes of that name; 0: for itself
}

// charge is time of the feeders that a cause had in one second.
type charge struct {
	rule    int // index into rules
	ns      float64
	culprit Culprit // PID 0: nobody
}

// loss is what a rule took from the feeders in one second, above what it
// takes when all is well.
type loss struct {
	ns       float64
	culprits []Culprit
}

// account charges every second of the job to causes, learns what is normal,
// and keeps what is not.
func (j *job) account() {
	raw := make([][]charge, len(j.slots))
	for i, s := range j.slots {
		s.lost = make([]loss, len(rules))
		for r := range rules {
			if rules[r].charge == nil {
				continue
			}
			for _, c := range rules[r].charge(j, s) {
				if c.ns > 0 {
					raw[i] = append(raw[i], c)
				}
			}
		}
	}
	for _, p := range j.phases {
		j.learnNorm(p)
	}
	j.normalCharges(raw)
	for i, s := range j.slots {
		j.keepExcess(s, raw[i])
	}
	j.unitNorms()
	for _, s := range j.slots {
		j.compare(s)
	}
}

// normalCharges finds what each rule takes for a unit of work when all is
// well: in the good seconds of a phase.
func (j *job) normalCharges(raw [][]charge) {
	index := map[*slot]int{}
	for i, s := range j.slots {
		index[s] = i
	}
	for _, p := range j.phases {
		if p.norm == nil {
			continue
		}
		var busy, units float64
		var sums [ruleCount]float64
		for _, s := range p.norm.slots {
			busy += s.active()
			units += float64(s.units)
			for _, c := range raw[index[s]] {
				sums[c.rule] += c.ns
			}
		}
		for r := range rules {
			switch {
			case rules[r].never:
			case !p.norm.varied && rules[r].constant > 0 && sums[r] >= rules[r].constant*busy:
				// It has been like this from the start, and it is too much.
			default:
				p.norm.charges[r] = sums[r] / units
			}
		}
	}
}

// keepExcess notes what the charges of a second are above their norm. Where
// there is no norm, all of a charge counts that should never be, and of the
// others what is beyond what any job may do.
func (j *job) keepExcess(s *slot, raw []charge) {
	var sums [ruleCount]float64
	for _, c := range raw {
		sums[c.rule] += c.ns
	}
	busy := s.active()
	for r, sum := range sums {
		if sum == 0 {
			continue
		}
		var normal float64
		switch n := s.norm(); {
		case n != nil:
			normal = n.charges[r] * float64(s.units)
		case rules[r].never:
		case rules[r].constant == 0 || sum < rules[r].constant*busy:
			continue
		}
		excess := sum - normal
		if sum < grownEnough*normal || excess <= 0 || (r == ruleCopy && normal > 0) { // compare knows better
			continue
		}
		l := &s.lost[r]
		l.ns = excess
		for _, c := range raw {
			if c.rule == r && c.culprit.PID != 0 {
				c.culprit.NS = uint64(c.ns * excess / sum)
				l.culprits = append(l.culprits, c.culprit)
			}
		}
	}
}

func (s *slot) norm() *norm {
	if s.phase == nil {
		return nil
	}
	return s.phase.norm
}

// unitNorms learns what a unit of work takes when all is well: the time of
// the good seconds without what was found to be lost in them.
func (j *job) unitNorms() {
	for _, p := range j.phases {
		n := p.norm
		if n == nil {
			continue
		}
		var busy, units float64
		var places [classes]float64
		for _, s := range n.slots {
			busy += s.active()
			for _, l := range s.lost {
				busy -= l.ns
			}
			units += float64(s.units)
			for c := range places {
				places[c] += j.deviceTime(s, event.Class(c))
			}
		}
		n.perUnit = busy / units
		for c := range places {
			n.waits[c] = places[c] / units
		}
	}
}

// deviceTime is the time at a place that the device, not the host, decides
// about.
func (j *job) deviceTime(s *slot, place event.Class) float64 {
	c := &s.cells[place]
	ns := c[event.Lock].ns + c[event.GPUWait].ns + c[event.Other].ns + c[event.Sleep].ns + c[event.Pipe].ns + c[event.NetworkWait].ns
	switch place {
	case event.Sync, event.Copy:
		ns += c[event.Running].ns
		return float64(ns) + float64(c[event.Runnable].ns) - harmful(s, place)
	case event.Launch, event.Alloc, event.Free:
		return float64(ns)
	}
	return 0
}

// compare holds a second against the norm of its phase: how much time it
// lacks, and how much longer the device kept the feeders waiting.
func (j *job) compare(s *slot) {
	n := s.norm()
	if n == nil || n.perUnit <= 0 || (j.ending != 0 && s.At >= j.ending) {
		return
	}
	s.known = true
	units := float64(s.units)
	s.lack = s.active() - units*n.perUnit
	grown := func(places ...event.Class) (excess, times float64) {
		var now, normal float64
		for _, p := range places {
			now += j.deviceTime(s, p)
			normal += n.waits[p] * units
		}
		if now < grownEnough*normal {
			return 0, 1
		}
		return now - normal, now / max(normal, 1)
	}
	host := 0.0
	for _, l := range s.lost {
		host += l.ns
	}
	device, slower := grown(event.Sync, event.Launch)
	copies, copiesSlower := grown(event.Copy)
	if copiesSlower >= 2*slower && queuesCopies(s) {
		copies, device = copies+device, 0 // it is copies that the waits are for
	}
	room := max(s.lack-host, 0) // what the host lost is not the device's doing
	if sum := device + copies; sum > room && sum > 0 {
		device, copies = device*room/sum, copies*room/sum
	}
	s.lost[ruleDevice].ns += device
	s.lost[ruleCopy].ns += copies
	left := room - device - copies
	faults := min(left, j.faultWork(s))
	s.lost[ruleFault].ns += faults
	if s.lost[ruleCapture].ns > 0 && j.captures(s) {
		// The trial runs before a capture, and what else was done for it.
		s.lost[ruleCapture].ns += left - faults
		return
	}
	if left -= faults; left >= unexplained*s.active() {
		s.lost[ruleUnexplained].ns = left
	}
}

// unexplained is the share of a second without any cause that counts, and
// plainly the share of a whole finding, of so many seconds at least, that is
// worth a word. Less is the noise of a machine: jobs of Python on a shared one
// go a third slower for seconds.
const (
	unexplained  = 0.15
	plainly      = 0.35
	plainSeconds = 3
)

// queuesCopies reports whether the job makes copies that it waits for later.
func queuesCopies(s *slot) bool {
	for op, c := range s.calls {
		if op.Class() == event.Copy && c.Bytes > 0 && op.Async() {
			return true
		}
	}
	return false
}

// grownEnough is by how much the device must have become slower to be worth
// a word.
const grownEnough = 1.15
