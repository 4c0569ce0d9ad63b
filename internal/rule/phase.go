package rule

import (
	"cmp"
	"math"
	"slices"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// A phase is a way of working: training, evaluation, a checkpoint. Seconds
// belong to the same phase if they make the same calls in the same
// proportions, however fast. Only within a phase can speed be compared.
type phase struct {
	mix    map[event.Op]float64 // share of each call among all
	bytes  map[event.Op]float64 // of each call, on average
	weight float64              // calls that these averages rest on
	slots  []*slot
	norm   *norm // nil: it was never seen long enough to have one
}

// norm is how a phase goes when it goes well.
type norm struct {
	slots   []*slot // the seconds it was learnt from
	rate    float64 // units per busy ns, as seen
	perUnit float64 // busy ns per unit, without what should never be
	waits   [classes]float64
	varied  bool               // there are seconds that were clearly slower
	charges [ruleCount]float64 // of each rule per unit, when all is well
}

const (
	// fewCalls is how many calls a second must have made to tell its phase.
	fewCalls = 8
	// rareShare and rareCount: calls below both say nothing about the phase.
	rareShare, rareCount = 0.02, 20
	// sameMix is by how much (as a logarithm) proportions may differ.
	sameMix = 0.25
	// nearBest is how close to the best seconds a good second is. Noise of a
	// few percent stays inside; losses worth a MEDIUM do not.
	nearBest = 0.87
	// fewSlots is how many seconds a norm needs.
	fewSlots = 3
)

// findPhases puts every second into a phase. One in which next to nothing
// was called continues the phase before it.
func (j *job) findPhases() {
	var last *phase
	for _, s := range j.slots {
		if s.total < fewCalls {
			s.phase = last
		} else {
			s.phase = j.phaseOf(s)
		}
		if s.phase != nil {
			s.phase.slots = append(s.phase.slots, s)
			last = s.phase
		}
	}
}

func (j *job) phaseOf(s *slot) *phase {
	if p := j.phaseBeside(s); p != nil {
		return p
	}
	mix, bytes, n := mixOf(s, nil)
	best, nearest := j.nearest(func(p *phase) float64 { return p.distance(mix, bytes, n) })
	if nearest > 1 {
		best = &phase{mix: map[event.Op]float64{}, bytes: map[event.Op]float64{}}
		j.phases = append(j.phases, best)
	}
	best.learn(mix, bytes, n)
	return best
}

// phaseBeside returns the phase of a second in which the job went on with its
// work and captured graphs beside it; nil if it is no such second. Whatever that
// phase does not call, such as trial runs, is for the captures.
func (j *job) phaseBeside(s *slot) *phase {
	if !j.captures(s) {
		return nil
	}
	best, nearest := j.nearest(func(p *phase) float64 {
		mix, bytes, n := mixOf(s, p.mix)
		if n < fewCalls {
			return math.Inf(1)
		}
		return p.distance(mix, bytes, n)
	})
	if nearest > 1 {
		return nil
	}
	return best
}

// captures reports whether a job whose work is to launch graphs made one in
// that second.
func (j *job) captures(s *slot) bool {
	return s.units > 0 && s.units == j.graphs(s) && s.count(event.Capture)+s.count(event.Prepare) >= 2 && !j.starting(s)
}

func (j *job) nearest(distance func(*phase) float64) (best *phase, nearest float64) {
	nearest = math.Inf(1)
	for _, p := range j.phases {
		if d := distance(p); d < nearest {
			best, nearest = p, d
		}
	}
	return best, nearest
}

// mixOf returns the proportions of a second's calls, the bytes of its copies,
// and how many calls these rest on. With only, others are left out.
func mixOf(s *slot, only map[event.Op]float64) (mix, bytes map[event.Op]float64, n float64) {
	mix, bytes = map[event.Op]float64{}, map[event.Op]float64{}
	for op, c := range s.calls {
		calls := float64(outer(c))
		if _, in := only[op]; calls == 0 || op.Class() == event.Device || only != nil && !in {
			continue
		}
		mix[op] = calls
		n += calls
		if op.Class() == event.Copy && c.Bytes > 0 {
			bytes[op] = float64(c.Bytes) / float64(c.Hist.Count())
		}
	}
	for op := range mix {
		mix[op] /= n
	}
	return mix, bytes, n
}

// distance is at most 1 if the second may belong to the phase. Small numbers
// of calls get the tolerance that chance gives them.
func (p *phase) distance(mix, bytes map[event.Op]float64, n float64) float64 {
	worst := 0.0
	check := func(op event.Op) {
		a, b := mix[op]*n, p.mix[op]*n
		if max(a, b) < rareCount && max(mix[op], p.mix[op]) < rareShare {
			return
		}
		// One call more or less is chance: steps do not end with the second.
		d := math.Abs(math.Log((a + 1) / (b + 1)))
		chance := 2 * math.Sqrt(1/(a+1)+1/(p.mix[op]*p.weight+1))
		worst = max(worst, d/(sameMix+chance))
		if x, y := bytes[op], p.bytes[op]; x > 0 && y > 0 {
			worst = max(worst, math.Abs(math.Log(x/y))/(2*sameMix+chance))
		}
	}
	for op := range mix {
		check(op)
	}
	for op := range p.mix {
		if _, seen := mix[op]; !seen {
			check(op)
		}
	}
	return worst
}

func (p *phase) learn(mix, bytes map[event.Op]float64, n float64) {
	total := p.weight + n
	for op := range mix {
		if _, seen := p.mix[op]; !seen {
			p.mix[op] = 0
		}
	}
	for op := range p.mix {
		p.mix[op] = (p.mix[op]*p.weight + mix[op]*n) / total
	}
	for op, b := range bytes {
		if p.bytes[op] == 0 {
			p.bytes[op] = b
		}
		p.bytes[op] = (p.bytes[op]*p.weight + b*n) / total
	}
	p.weight = min(total, 1e6)
}

// rate is units per busy ns.
func (s *slot) rate() float64 {
	if busy := s.wall - s.idle(); busy > 0 {
		return float64(s.units) / float64(busy)
	}
	return 0
}

// whole reports whether the second was watched from end to end, and so may
// serve as an example.
func (j *job) whole(s *slot) bool {
	return s != j.slots[0] && s != j.slots[len(j.slots)-1] && s.dur > uint64(500e6)
}

// learnNorm finds the seconds in which the phase went well: those near the
// best. The very best do not count, they are chance.
func (j *job) learnNorm(p *phase) {
	var good []*slot
	for _, s := range p.slots {
		if j.whole(s) && s.units > 0 && s.busy() > 0.05 {
			good = append(good, s)
		}
	}
	if len(good) < fewSlots {
		return
	}
	slices.SortStableFunc(good, func(a, b *slot) int { return cmp.Compare(b.rate(), a.rate()) })
	top := good[max(fewSlots-1, len(good)/20)].rate()
	all := len(good)
	good = slices.DeleteFunc(good, func(s *slot) bool { return s.rate() < nearBest*top })
	n := &norm{slots: good, rate: good[len(good)/2].rate()}
	slow := 0
	for _, s := range p.slots {
		if s.rate() < nearBest*n.rate && s.dur > uint64(500e6) {
			slow++
		}
	}
	n.varied = slow >= 2 || all-len(good) >= 2
	p.norm = n
}

// percentiles merges the durations of an operation over seconds.
func percentiles(of []*slot, op event.Op) *stats.Histogram {
	h := &stats.Histogram{}
	for _, s := range of {
		if c := s.calls[op]; c != nil {
			h.Merge(c.Hist)
		} else if c := s.host[op]; c != nil {
			h.Merge(c.Hist)
		}
	}
	return h
}
