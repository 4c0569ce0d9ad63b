package rule

import (
	"slices"

	"ingero/internal/event"
	"ingero/internal/stats"
)

const classes = int(event.Collective) + 1

// between is the place outside of all traced calls and captures; the other
// places are the class of the outermost call, or Capturing.
const between = event.None

// cell is the time that feeders spent at one place in one state.
type cell struct {
	ns, count, max uint64 // count is of intervals that ended, max the longest of them
}

// slot is one second of a process, summed up over its feeders.
type slot struct {
	*stats.Second
	wall  uint64 // ns, of all feeders
	dur   uint64 // ns, of the feeder that was there longest: the length of the second
	cells [classes][event.States]cell
	calls map[event.Op]*stats.Calls // library calls
	host  map[event.Op]*stats.Calls
	units uint64  // of work queued on a device, see unitsOf
	total uint64  // library calls that no other traced call made
	phase *phase  // nil: too little happened to tell
	given float64 // ns that feeders waited for work from outside, or for a timeout
	inner float64 // ns that feeders waited for each other
	// What the causes took of the feeders' time, by rule.
	lost []loss
	// lack is the time that the feeders would have saved at the norm of the
	// phase; known only where that norm is.
	lack  float64
	known bool
}

// in adds up the time at places that match, in one state.
func (s *slot) in(state event.State, places ...event.Class) uint64 {
	var ns uint64
	for _, p := range places {
		ns += s.cells[p][state].ns
	}
	return ns
}

// at adds up the time in one state wherever it was spent.
func (s *slot) at(state event.State) uint64 {
	var ns uint64
	for p := range s.cells {
		ns += s.cells[p][state].ns
	}
	return ns
}

// place adds up the time at one place, whatever the state.
func (s *slot) place(p event.Class) uint64 {
	var ns uint64
	for state := range s.cells[p] {
		ns += s.cells[p][state].ns
	}
	return ns
}

// idle is the time that the job had nothing to do, or gave away on its own
// request: a sleep, or a wait for work, between calls.
func (s *slot) idle() uint64 {
	return min(s.cells[between][event.Sleep].ns+uint64(s.given), s.wall)
}

// busy is the feeders' time less what they gave away, as a share of the slot.
func (s *slot) busy() float64 {
	if s.wall == 0 {
		return 0
	}
	return float64(s.wall-s.idle()) / float64(s.wall)
}

// active is the feeders' time less what they gave away or spent waiting for
// each other, ns: the time that is the job's clock.
func (s *slot) active() float64 { return max(float64(s.wall-s.idle())-s.inner, 0) }

// count is how often the process did something of a class, calls made by
// other traced calls left out.
func (s *slot) count(c event.Class) uint64 {
	var n uint64
	for op, x := range s.calls {
		if op.Class() == c {
			n += outer(x)
		}
	}
	return n
}

// outer is how many of the calls no other traced call made.
func outer(c *stats.Calls) uint64 { return c.Hist.Count() - min(c.Nested, c.Hist.Count()) }

// job is a process under examination.
type job struct {
	*stats.Process
	window  *Window
	feeders map[uint32]bool
	names   map[uint32]string // of threads
	slots   []*slot
	phases  []*phase
	ending  int64 // unix s from which it only ends; 0: it does not
}

// newJob sums up the seconds of a process; nil if it has no feeder.
func newJob(p *stats.Process, w *Window) *job {
	j := &job{Process: p, window: w, names: map[uint32]string{}}
	j.feeders = feedersOf(p)
	if len(j.feeders) == 0 {
		return nil
	}
	for i := range p.Seconds {
		if s := j.newSlot(&p.Seconds[i]); s.wall > 0 {
			j.slots = append(j.slots, s)
		}
	}
	if len(j.slots) == 0 {
		return nil
	}
	j.countUnits()
	j.ending = j.lastWork()
	j.findPhases()
	return j
}

// lastWork is the second in which a process that has ended was last seen to
// work: the rest is its end, such as the destructors of Python.
func (j *job) lastWork() int64 {
	for _, s := range slices.Backward(j.slots) {
		if s.units > 0 && j.Ended != 0 {
			return s.At
		}
	}
	return 0
}

func (j *job) newSlot(second *stats.Second) *slot {
	s := &slot{Second: second, calls: map[event.Op]*stats.Calls{}, host: map[event.Op]*stats.Calls{}}
	walls := map[uint32]uint64{}
	for i := range second.Ledger {
		l := &second.Ledger[i]
		if l.Comm != "" {
			j.names[l.TID] = l.Comm
		}
		if !j.feeders[l.TID] {
			continue
		}
		place := l.Place.Class()
		for state := range l.NS {
			c := &s.cells[place][state]
			c.ns += l.NS[state]
			c.count += l.Count[state]
			c.max = max(c.max, l.Max[state])
		}
		walls[l.TID] += l.Total()
	}
	for _, ns := range walls {
		s.wall += ns
		s.dur = max(s.dur, ns)
	}
	for i := range second.Calls {
		c := &second.Calls[i]
		if c.Hist == nil {
			continue
		}
		to := s.host
		if c.Op.IsCall() {
			to = s.calls
			s.total += outer(c)
		}
		to[c.Op] = c
	}
	return s
}

// feedersOf returns the threads that keep the device busy: theirs is the time
// that the device waits for. A thread that makes a call now and then beside a
// much busier one does not count. Launches take little time beside
// waits and copies: a thread that makes its part of them, as that of autograd
// does, is a feeder too.
func feedersOf(p *stats.Process) map[uint32]bool {
	in, launches := map[uint32]uint64{}, map[uint32]uint64{}
	var most, mostLaunches uint64
	for _, s := range p.Seconds {
		for i := range s.Ledger {
			l := &s.Ledger[i]
			c := l.Place.Class()
			if !l.Place.IsCall() || l.TID == 0 || c == event.Device {
				continue
			}
			in[l.TID] += l.Total()
			most = max(most, in[l.TID])
			if c == event.Launch {
				launches[l.TID] += l.Total()
				mostLaunches = max(mostLaunches, launches[l.TID])
			}
		}
	}
	feeders := map[uint32]bool{}
	for tid, ns := range in {
		if ns >= most/20 || (launches[tid] > 0 && launches[tid] >= mostLaunches/20) {
			feeders[tid] = true
		}
	}
	return feeders
}

// countUnits chooses what counts as work: launches of graphs if the job has
// made them its habit, else launches, else copies, else waits.
func (j *job) countUnits() {
	var graphs, launches, copies uint64
	for _, s := range j.slots {
		for op, c := range s.calls {
			switch {
			case op.Class() == event.Launch && op.Source() == event.Graph:
				graphs += outer(c)
			case op.Class() == event.Launch:
				launches += outer(c)
			case op.Class() == event.Copy:
				copies += outer(c)
			}
		}
	}
	for _, s := range j.slots {
		for op, c := range s.calls {
			isGraph := op.Source() == event.Graph
			var counts bool
			switch {
			case graphs > 0 && graphs*50 >= launches:
				counts = op.Class() == event.Launch && isGraph
			case launches > 0:
				counts = op.Class() == event.Launch
			case copies > 0:
				counts = op.Class() == event.Copy
			default:
				counts = op.Class() == event.Sync
			}
			if counts {
				s.units += outer(c)
			}
		}
	}
}
