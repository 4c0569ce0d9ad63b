// Package scenario reads what a job did, second by second, from text: the same
// form in tests of rules, in the demo and in reports of wrong verdicts.
//
// A line is one of
//
//	# a comment
//	process PID COMM [parent PID] [container ID] [rank N] [of WORLD] [started SECOND] [ended SECOND]
//	stack NAME FRAME | FRAME …
//	second 10 [to 20]
//	ledger TID PLACE STATE TIME [STATE TIME …]
//	calls OP COUNT each TIME [bytes N] [slowest TIME] [nested N]
//	count HOSTOP COUNT [TIME] [bytes N]
//	thief PID COMM TIME in COUNT
//	rival PID COMM TIME in COUNT
//	waker TID STATE PID/TID COMM TIME in COUNT
//	event OP TID TIME at OFFSET [runnable TIME] [blocked TIME] [bytes N] [stack NAME]
//	system cpu PERCENT mem PERCENT load N [swap MIB] [free MIB]
//	gpu INDEX [clock MHZ] [throttle REASON] [process PID NAME …]
//
// and speaks of the process, and of the second or all the seconds, named last.
// PLACE is a call or "between". Process 1 is python3, and there from the start.
// Intervals of the ledger are 4 ms at most, or last one event of that second.
// FRAME is a symbol with its file, or a line of Python:
//
//	cudaMalloc+0x4 (libcudart.so.12)
//	[Python] train.py:142 in forward()
package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// Scenario is what a text says. Times are of its own clock, which begins at
// second 0.
type Scenario struct {
	Processes []stats.Process // with their seconds, in order
	GPU       []event.GPUSample
	Snapshots []event.Snapshot
	Events    []event.Event
	Stacks    []event.Stack
	To        int64 // the second after the last
}

// parser reads a text.
type parser struct {
	s       Scenario
	process int
	current []int64 // the seconds spoken of
	stacks  map[string]uint64
}

// Parse reads a text. The error says in which line it is wrong.
func Parse(text string) (*Scenario, error) {
	p := &parser{stacks: map[string]uint64{}}
	p.s.Processes = []stats.Process{{Process: event.Process{PID: 1, Comm: "python3", Rank: event.NoRank}}}
	n := 0
	for line := range strings.Lines(text) {
		n++
		w := &words{all: strings.Fields(line)}
		if len(w.all) == 0 || strings.HasPrefix(w.all[0], "#") {
			continue
		}
		if err := p.line(w); err != nil {
			return nil, fmt.Errorf("line %d, %q: %w", n, strings.TrimSpace(line), err)
		}
	}
	for i := range p.s.Processes {
		s := p.s.Processes[i].Seconds
		slices.SortFunc(s, func(a, b stats.Second) int { return cmp.Compare(a.At, b.At) })
		if len(s) > 0 {
			p.s.To = max(p.s.To, s[len(s)-1].At+1)
		}
	}
	slices.SortStableFunc(p.s.Events, func(a, b event.Event) int { return cmp.Compare(a.Start, b.Start) })
	return &p.s, nil
}

// words are those of a line; the first mistake is kept.
type words struct {
	all []string
	err error
}

func (w *words) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

func (w *words) next() string {
	if len(w.all) == 0 {
		w.fail("it ends too early")
		return ""
	}
	s := w.all[0]
	w.all = w.all[1:]
	return s
}

func (w *words) more() bool { return len(w.all) > 0 && w.err == nil }

func (w *words) number() uint64 {
	text := w.next()
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil && w.err == nil {
		w.fail("%q is not a number", text)
	}
	return n
}

func (w *words) float() float64 {
	text := w.next()
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		w.fail("%q is not a number", text)
	}
	return v
}

func (w *words) time() uint64 {
	text := w.next()
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		w.fail("%q is not a time", text)
		return 0
	}
	return uint64(d)
}

func (w *words) word(want string) {
	if got := w.next(); got != want {
		w.fail("%q stands where %q should", got, want)
	}
}

func (w *words) op() event.Op {
	name := w.next()
	found := event.FindOps(name)
	if len(found) == 0 {
		w.fail("no operation %s", name)
		return 0
	}
	return found[0]
}

func (w *words) state() event.State {
	name := w.next()
	for s := range event.States {
		if s.String() == name {
			return s
		}
	}
	w.fail("no state %s", name)
	return 0
}

func (p *parser) line(w *words) error {
	switch kind := w.next(); kind {
	case "process":
		p.newProcess(w)
	case "second":
		first := int64(w.number())
		last := first
		if w.more() {
			w.word("to")
			last = int64(w.number())
		}
		if last-first > 3600 {
			return errors.New("more than an hour")
		}
		p.current = nil
		for at := first; at <= last; at++ {
			p.current = append(p.current, at)
		}
	case "stack":
		return p.stack(w)
	default:
		f := lines[kind]
		if f == nil {
			return errors.New("not understood")
		}
		rest := w.all
		for _, at := range p.current {
			w.all = rest
			f(p, at, w)
		}
		if len(p.current) == 0 {
			return errors.New("of which second?")
		}
	}
	if w.err == nil && len(w.all) > 0 {
		w.fail("%q is too much", strings.Join(w.all, " "))
	}
	return w.err
}

func (p *parser) newProcess(w *words) {
	pid := uint32(w.number())
	p.process = slices.IndexFunc(p.s.Processes, func(x stats.Process) bool { return x.PID == pid })
	if p.process < 0 {
		p.process = len(p.s.Processes)
		p.s.Processes = append(p.s.Processes, stats.Process{Process: event.Process{PID: pid, Rank: event.NoRank}})
	}
	to := &p.s.Processes[p.process]
	to.Comm = w.next()
	for w.more() {
		switch what := w.next(); what {
		case "parent":
			to.PPID = uint32(w.number())
		case "container":
			to.Container = w.next()
		case "rank":
			to.Rank.Rank = int32(w.number())
		case "of":
			to.Rank.World = int32(w.number())
		case "started":
			to.Start = int64(w.number()) * 1e9
		case "ended":
			to.Ended = int64(w.number()) * 1e9
		default:
			w.fail("no %s", what)
		}
	}
}

func (p *parser) pid() uint32 { return p.s.Processes[p.process].PID }

func (p *parser) second(at int64) *stats.Second {
	q := &p.s.Processes[p.process]
	i := slices.IndexFunc(q.Seconds, func(s stats.Second) bool { return s.At == at })
	if i < 0 {
		i = len(q.Seconds)
		q.Seconds = append(q.Seconds, stats.Second{At: at})
	}
	return &q.Seconds[i]
}
