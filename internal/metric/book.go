package metric

import (
	"time"

	"ingero/internal/event"
	"ingero/internal/pipeline"
	"ingero/internal/stats"
)

// How many time series there may be. At most MaxProcesses processes have
// series of their own, half of them processes that make no calls. What the
// others do is counted together as one named Other. A process that has ended
// keeps its series for KeepEnded, so that whoever asks once a minute gets its
// last counts; then they are added to those of one named Ended.
//
// So a sum over all processes never goes down and lacks nothing. The label
// "processes" of Ended says how many it stands for, which makes it another
// series each time it grows: a rate never sees it jump.
const (
	MaxProcesses = 200
	KeepEnded    = 5 * time.Minute
	// MaxThieves have a name for each process; the others are Other, and so is
	// what takes less than NamedThief of a second.
	MaxThieves = 16
	NamedThief = 10 * time.Millisecond
)

// Names that stand for several processes, or none.
const (
	Other  = "(other)"
	Ended  = "(ended)"
	Itself = "(itself)"   // as a thief: other threads of the process
	Idle   = "(idle CPU)" // as a thief: nobody; the process was held back
)

// book is what one process did since the start, or several together.
type book struct {
	who     event.Process
	labels  []Attr
	calls   map[event.Op]*cell
	spent   map[spot]*timing
	thieves map[string]*timing
	feeders map[uint32]bool // threads that make calls
	caller  bool
	ended   time.Time // zero while it lives
}

// cell counts one operation. Its histogram is never changed but replaced, so
// that it can be handed out.
type cell struct {
	attrs []Attr
	stats.Calls
}

// timing adds up time.
type timing struct {
	attrs []Attr
	ns    uint64
}

// spot is where time is spent.
type spot struct {
	place  event.Class // of the outermost call; None is between calls
	state  event.State
	feeder bool
}

func newBook(who event.Process, labels []Attr) *book {
	return &book{
		who: who, labels: labels, calls: map[event.Op]*cell{}, spent: map[spot]*timing{}, thieves: map[string]*timing{}, feeders: map[uint32]bool{},
	}
}

// relabel makes all series of the book other ones.
func (b *book) relabel(labels []Attr) {
	b.labels = labels
	for _, c := range b.calls {
		c.attrs = nil
	}
	for _, t := range b.spent {
		t.attrs = nil
	}
	for _, t := range b.thieves {
		t.attrs = nil
	}
}

func (b *book) addCalls(x *stats.Calls) {
	c := b.calls[x.Op]
	if c == nil {
		c = &cell{Calls: stats.Calls{PID: b.who.PID, Op: x.Op, Hist: &stats.Histogram{}}}
		b.calls[x.Op] = c
	}
	sum := *c.Hist // Merge makes new buckets and leaves these as they are
	c.Hist = &sum
	c.Add(x)
}

func (b *book) addTime(at spot, ns uint64) {
	t := b.spent[at]
	if t == nil {
		t = &timing{}
		b.spent[at] = t
	}
	t.ns += ns
}

func (b *book) addThief(name string, ns uint64) {
	t := b.thieves[name]
	if t == nil && name != Other && (ns < uint64(NamedThief) || len(b.thieves) >= MaxThieves) {
		b.addThief(Other, ns)
		return
	}
	if t == nil {
		t = &timing{}
		b.thieves[name] = t
	}
	t.ns += ns
}

// maxFeeders bounds what is remembered of threads that come and go.
const maxFeeders = 4096

// learn notes which threads make calls.
func (b *book) learn(l *stats.Ledger) {
	if l.Place == 0 {
		return
	}
	if len(b.feeders) >= maxFeeders {
		clear(b.feeders)
	}
	b.feeders[l.TID] = true
}

func (b *book) addLedger(l *stats.Ledger) {
	at := spot{place: l.Place.Class(), feeder: b.feeders[l.TID]}
	for s, ns := range l.NS {
		if ns > 0 {
			at.state = event.State(s)
			b.addTime(at, ns)
		}
	}
}

// books are those of all processes.
type books struct {
	now    func() time.Time
	living map[uint32]event.Process
	own    map[uint32]*book // of processes with series of their own
	idle   int              // of these, processes that make no calls
	other  *book
	ended  *book
	folded int // processes in ended
	gone   int // processes that ended
}

func newBooks(now func() time.Time) books {
	return books{
		now: now, living: map[uint32]event.Process{}, own: map[uint32]*book{},
		other: newBook(event.Process{}, manyLabels(Other, 0)), ended: newBook(event.Process{}, manyLabels(Ended, 0)),
	}
}

func (k *books) take(b *pipeline.Batch) {
	for _, p := range b.Processes {
		if p.Ended == 0 {
			k.describe(p.Process)
		}
	}
	for i := range b.Calls {
		x := &b.Calls[i]
		k.of(x.PID, x.Op.IsCall()).addCalls(x)
	}
	for _, l := range b.Life {
		if e, ok := l.Event(); ok && e.Op.Class() == event.Lifecycle { // others are counted by the kernel side
			once := stats.Histogram{}
			once.AddBucket(0, 1)
			k.of(l.PID, false).addCalls(&stats.Calls{Op: e.Op, Hist: &once})
		}
	}
	for i := range b.Ledger {
		k.of(b.Ledger[i].PID, false).learn(&b.Ledger[i])
	}
	for i := range b.Ledger {
		k.of(b.Ledger[i].PID, false).addLedger(&b.Ledger[i])
	}
	for i := range b.Pairs {
		if p := &b.Pairs[i]; p.State == event.Runnable && p.TID == 0 {
			k.of(p.PID, false).addThief(thiefName(p), p.NS)
		}
	}
	for _, p := range b.Processes {
		if p.Ended != 0 {
			k.end(p)
		}
	}
	if len(b.Calls)+len(b.Ledger) > 0 {
		k.sweep()
	}
}

func thiefName(p *stats.Pair) string {
	switch p.OtherPID {
	case 0:
		return Idle
	case p.PID:
		return Itself
	}
	switch name := clean(p.OtherComm); name {
	case Other, Idle, Itself: // it only calls itself so
		return "'" + name + "'"
	default:
		return name
	}
}

// same reports whether two descriptions are of one process: what /proc says
// of its start is not as fine as what the kernel says.
func same(a, b event.Process) bool {
	d := a.Start - b.Start
	return a.Start == 0 || b.Start == 0 || max(d, -d) <= int64(time.Second)
}

// describe takes over what is known of a process.
func (k *books) describe(p event.Process) {
	k.living[p.PID] = p
	b := k.own[p.PID]
	switch {
	case b == nil:
	case !same(b.who, p): // the number is used again
		k.fold(b)
	default:
		b.who, b.ended = p, time.Time{}
		b.relabel(processLabels(p))
	}
}

// of returns the book that a process is counted in.
func (k *books) of(pid uint32, caller bool) *book {
	b := k.own[pid]
	switch {
	case pid == 0:
		return k.other
	case b != nil:
		if caller && !b.caller {
			b.caller = true
			k.idle--
		}
		return b
	case len(k.own) >= MaxProcesses || !caller && k.idle >= MaxProcesses/2:
		return k.other
	}
	who, known := k.living[pid]
	if !known {
		who = event.Process{PID: pid, Rank: event.NoRank}
	}
	b = newBook(who, processLabels(who))
	b.caller = caller
	if !known { // it was gone before we could look
		b.ended = k.now()
	}
	if !caller {
		k.idle++
	}
	k.own[pid] = b
	return b
}

func (k *books) end(p pipeline.Process) {
	k.gone++
	if now, known := k.living[p.PID]; known && same(now, p.Process) {
		delete(k.living, p.PID)
	}
	if b := k.own[p.PID]; b != nil && same(b.who, p.Process) {
		b.ended = k.now()
	}
}

// sweep adds up processes that ended some time ago.
func (k *books) sweep() {
	now := k.now()
	for _, b := range k.own {
		if !b.ended.IsZero() && now.Sub(b.ended) >= KeepEnded {
			k.fold(b)
		}
	}
}

// fold moves what a process did into the book of those that ended.
func (k *books) fold(b *book) {
	delete(k.own, b.who.PID)
	if !b.caller {
		k.idle--
	}
	k.folded++
	for _, c := range b.calls {
		k.ended.addCalls(&c.Calls)
	}
	for at, t := range b.spent {
		k.ended.addTime(at, t.ns)
	}
	for name, t := range b.thieves {
		k.ended.addThief(name, t.ns)
	}
	k.ended.relabel(manyLabels(Ended, k.folded))
}
