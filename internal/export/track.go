package export

import (
	"cmp"
	"fmt"
	"strings"

	"ingero/internal/event"
	"ingero/internal/query"
)

// process is a process of the timeline, or the machine.
type process struct {
	number  int32  // a PID that no other process of the file has
	id      uint64 // of its track
	pid     uint32
	name    string
	cmdline string
	start   int64 // unix ns; 0: not known
	lanes   map[event.Class][]*track
	finds   *track // of its findings
}

type trackKind uint8

const (
	threadTrack  trackKind = iota // calls and the gaps between them
	laneTrack                     // what the host did for the process
	stateTrack                    // where the time of a thread went
	wakeTrack                     // whom a thread woke
	findingTrack                  // findings
	counterTrack                  // a figure over time
)

// track is one line of the timeline. Slices on it lie within each other.
type track struct {
	id     uint64 // unique in the file, not 0
	kind   trackKind
	proc   *process
	thread *track // that a track of states or wakes belongs to
	name   string
	tid    int32 // a TID that no other track of the file has
	unit   string
	open   []slice // innermost last
	free   int64   // end of the last slice
}

// slice is a time with a name on a track.
type slice struct {
	start, end     int64
	name, category string
	serial         uint64
	stored         query.Stored // if call
	call           bool
	cut            bool // its end was moved
	late           bool // … after it was opened
	args           []arg
	flows          []flow
}

// flow is an arrow that starts, goes on or ends here.
type flow struct {
	id   uint64
	step flowStep
}

type flowStep uint8

const (
	flowBegin flowStep = iota
	flowGoesOn
	flowEnds
)

// mark is a moment with a name on a track.
type mark struct {
	at             int64
	name, category string
	severity       string // of a finding, else empty
	args           []arg
	flows          []flow
}

// arg is a fact about a slice or a mark.
type arg struct {
	name factName
	kind argKind
	num  int64
	text string
}

type factName uint8

// What is told about slices and marks.
const (
	factBytes factName = iota
	factHandle
	factDirection
	factRetCode
	factGpu
	factRunnableNs
	factBlockedNs
	factDurationNs
	factSecondsAddedUp
	factWokenBy
	factWokenBy2
	factWokenBy3
	factWokenTid
	factTimes
	factWaitedNs
	factId
	factSeverity
	factKind
	factSymptom
	factLostNs
	factLostPercent
	factCulprits
	factFixes
	numFacts
)

var factNames = [numFacts]string{
	"bytes", "handle", "direction", "ret_code", "gpu", "runnable_ns", "blocked_ns", "duration_ns", "seconds_added_up", "woken_by", "woken_by_2", "woken_by_3", "woken_tid", "times", "waited_ns", "id", "severity", "kind", "symptom", "lost_ns", "lost_percent", "culprits", "fixes",
}

func (n factName) String() string { return factNames[n] }

type argKind uint8

const (
	argInt argKind = iota
	argHex
	argText
	argWord // a text that comes again and again
)

// numbers hands out PIDs or TIDs that are unique in the file: those of the
// processes themselves, unless two nodes, or two times, have the same.
type numbers struct {
	used map[int32]bool
	last int32
}

// spareNumber is above all PIDs of Linux (2^22).
const spareNumber = 1 << 30

func (n *numbers) take(real uint32) int32 {
	if real != 0 && real < spareNumber && !n.used[int32(real)] {
		n.used[int32(real)] = true
		return int32(real)
	}
	return n.spare()
}

func (n *numbers) spare() int32 {
	n.last++
	return spareNumber + n.last
}

type processKey struct {
	node string
	pid  uint32
}

// sink is the encoder of a format. What happens on tracks of calls comes in the
// order of time, and so does what happens on each other track.
type sink interface {
	begin(from int64) // before all times; none is earlier
	process(p *process)
	track(t *track) // before anything on it
	open(t *track, s *slice)
	close(t *track, s *slice) // at s.end
	instant(t *track, m *mark)
	counter(t *track, at int64, v float64)
	err() error // of writing, so far
	end() error
}

// tracks knows the tracks of a timeline and tells the sink of new ones.
type tracks struct {
	sink       sink
	known      map[processKey][]*query.Process // the oldest first
	processes  map[query.ThreadID]*process     // TID 0
	threads    map[query.ThreadID]*track
	states     map[query.ThreadID]*track
	wakes      map[query.ThreadID]*track
	counters   map[string]*track
	pids, tids numbers
	ids        uint64
	machine    *process

	recent [64]recentThread // by TID
}

// recentThread is a thread that was asked for.
type recentThread struct {
	node     string
	pid, tid uint32
	track    *track
}

func newTracks(s sink, all []query.Process) *tracks {
	t := &tracks{
		sink: s, known: map[processKey][]*query.Process{}, processes: map[query.ThreadID]*process{},
		threads: map[query.ThreadID]*track{}, states: map[query.ThreadID]*track{},
		wakes: map[query.ThreadID]*track{}, counters: map[string]*track{},
		pids: numbers{used: map[int32]bool{}}, tids: numbers{used: map[int32]bool{}},
	}
	for i := range all {
		k := processKey{all[i].Node, all[i].PID}
		t.known[k] = append(t.known[k], &all[i])
	}
	return t
}

// earlier is how much before the start of its process something may be, as
// seen by clocks that are not the same.
const earlier = int64(2e9)

// ident finds which process had a number at a time.
func (t *tracks) ident(node string, pid uint32, at int64) (id query.ThreadID, p *query.Process) {
	id = query.ThreadID{Node: node, PID: pid}
	list := t.known[processKey{node, pid}]
	for _, x := range list {
		if p == nil || x.Start <= at+earlier {
			p = x
		}
	}
	if p != nil {
		id.Start = p.Start
	}
	return id, p
}

func (t *tracks) process(id query.ThreadID, p *query.Process, rank event.Rank, comm string) *process {
	id.TID = 0
	if x := t.processes[id]; x != nil {
		return x
	}
	t.ids++
	x := &process{number: t.pids.take(id.PID), id: t.ids, pid: id.PID, lanes: map[event.Class][]*track{}}
	if p != nil {
		comm, x.cmdline, x.start = cmp.Or(p.Comm, comm), p.Cmdline, p.Start
		if p.Rank.Rank >= 0 {
			rank = p.Rank
		}
	}
	if id.PID == 0 {
		comm = "kernel"
	}
	x.name = processName(id.Node, rank, comm)
	if int64(x.number) != int64(id.PID) && id.PID != 0 {
		x.name += fmt.Sprintf(" (PID %d)", id.PID)
	}
	t.processes[id] = x
	t.sink.process(x)
	return x
}

// processName is "gpu-node-01 (rank 0) python3".
func processName(node string, rank event.Rank, comm string) string {
	var words []string
	if node != "" {
		words = append(words, node)
	}
	if rank.Rank >= 0 {
		words = append(words, fmt.Sprintf("(rank %d)", rank.Rank))
	}
	return strings.Join(append(words, comm), " ")
}

func (t *tracks) add(x track) *track {
	t.ids++
	x.id = t.ids
	if x.tid == 0 {
		x.tid = t.tids.spare()
	}
	t.sink.track(&x)
	return &x
}

// ofEvent returns the track of a call, or nil and the process for an event of
// the host.
func (t *tracks) ofEvent(e *query.Stored) (*track, *process) {
	onThread := e.Op.IsCall() || query.IsGap(e.Op)
	r := &t.recent[e.TID%uint32(len(t.recent))]
	if onThread && r.track != nil && e.TID == r.tid && e.PID == r.pid && e.Node == r.node {
		return r.track, nil
	}
	id, p := t.ident(e.Node, e.PID, e.Start)
	proc := t.process(id, p, e.Rank, e.Comm)
	if !onThread {
		return nil, proc
	}
	id.TID = e.TID
	x := t.thread(id, proc, e.Comm)
	if len(t.known[processKey{e.Node, e.PID}]) <= 1 { // else it depends on the time
		*r = recentThread{e.Node, e.PID, e.TID, x}
	}
	return x, nil
}

func (t *tracks) thread(id query.ThreadID, proc *process, comm string) *track {
	if x := t.threads[id]; x != nil {
		return x
	}
	number := proc.number
	if id.TID != id.PID || t.tids.used[number] {
		number = t.tids.take(id.TID)
	}
	t.tids.used[number] = true
	x := t.add(track{kind: threadTrack, proc: proc, name: comm, tid: number})
	t.threads[id] = x
	return x
}

// ofThread returns a track about a thread: of its states, or whom it woke.
func (t *tracks) ofThread(in map[query.ThreadID]*track, kind trackKind, id query.ThreadID, comm string, at int64, name string) *track {
	if x := in[id]; x != nil {
		return x
	}
	_, p := t.ident(id.Node, id.PID, at)
	thread := t.thread(id, t.process(id, p, event.NoRank, comm), comm)
	x := t.add(track{kind: kind, proc: thread.proc, thread: thread, name: fmt.Sprintf("%s %d: %s", comm, id.TID, name)})
	in[id] = x
	return x
}

var laneNames = map[event.Class]string{
	event.Block: "block devices", event.Network: "sockets", event.Memory: "memory", event.Sched: "scheduler", event.Lifecycle: "process",
}

// lane returns a track of what the host did for a process, on which nothing
// else is at a time.
func (t *tracks) lane(p *process, c event.Class, start int64) *track {
	for _, x := range p.lanes[c] {
		if x.free <= start {
			return x
		}
	}
	x := t.add(track{kind: laneTrack, proc: p, name: cmp.Or(laneNames[c], c.String())})
	p.lanes[c] = append(p.lanes[c], x)
	return x
}

// ofMachine is the process that stands for the machine.
func (t *tracks) ofMachine() *process {
	if t.machine == nil {
		t.ids++
		t.machine = &process{number: t.pids.spare(), id: t.ids, name: "machine"}
		t.sink.process(t.machine)
	}
	return t.machine
}

func (t *tracks) counter(name, unit string) *track {
	if x := t.counters[name]; x != nil {
		return x
	}
	x := t.add(track{kind: counterTrack, proc: t.ofMachine(), name: name, unit: unit})
	t.counters[name] = x
	return x
}

// findings returns the track for the findings about a process.
func (t *tracks) findings(c *query.Chain) *track {
	var proc *process
	if pid := cmp.Or(c.PID, c.Symptom.PID); pid != 0 {
		id, p := t.ident(c.Node, pid, c.Started.UnixNano())
		proc = t.process(id, p, event.NoRank, c.Comm)
	} else {
		proc = t.ofMachine()
	}
	if proc.finds == nil {
		proc.finds = t.add(track{kind: findingTrack, proc: proc, name: "findings"})
	}
	return proc.finds
}
