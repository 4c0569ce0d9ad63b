package export

import (
	"cmp"
	"context"
	"math"
	"slices"

	"ingero/internal/event"
	"ingero/internal/query"
)

// walker goes through a recording and tells a sink what is on each track.
type walker struct {
	*tracks
	src    query.Streamed
	o      *Options
	result Result
	serial uint64
	ends   ends
	flows  uint64               // the last id of a flow
	shown  map[storedKey]uint64 // flows that lead through a call
	marks  []findingMark
	stacks *stacks
	names  [1 << 12]opName
}

// opName is what an operation is called on the timeline.
type opName struct{ name, category string }

// nameOf is eventName and the name of the source, which are looked up once.
func (w *walker) nameOf(op event.Op) opName {
	n := &w.names[int(op)%len(w.names)]
	if n.name == "" {
		*n = opName{eventName(op), op.Source().String()}
	}
	return *n
}

type storedKey struct {
	node string
	seq  int64
}

// endOf is a slice that ends at a time.
type endOf struct {
	at     int64
	track  *track
	serial uint64
}

// ends are the open slices, the one that ends first last; of those that end
// together, the one that was opened last ends first. There are few: as many as
// threads and calls within each other.
type ends []endOf

func (l *ends) add(x endOf) {
	i := len(*l)
	for i > 0 && (*l)[i-1].at < x.at {
		i--
	}
	*l = slices.Insert(*l, i, x)
}

// pop returns the slice that ends first, if it ends until a time.
func (l *ends) pop(until int64) (x endOf, ok bool) {
	n := len(*l) - 1
	if n < 0 || (*l)[n].at > until {
		return x, false
	}
	x = (*l)[n]
	*l = (*l)[:n]
	return x, true
}

// timeline writes a recording to a sink.
func timeline(ctx context.Context, src query.Streamed, o *Options, s sink, st *stacks) (Result, error) {
	all, err := src.Processes(ctx)
	if err != nil {
		return Result{}, err
	}
	w := &walker{tracks: newTracks(s, all), src: src, o: o, shown: map[storedKey]uint64{}, stacks: st}
	for _, step := range []func(context.Context) error{w.findFindings, w.events, w.writeFindings, w.states, w.machineFigures} {
		if err := step(ctx); err != nil {
			return w.result, err
		}
	}
	return w.result, s.end()
}

func (w *walker) events(ctx context.Context) error {
	// Ledgers are of whole seconds, old ones of whole minutes, and a finding may
	// have begun long before.
	begun, from := false, w.o.Begin-w.o.Begin%60e9
	if len(w.marks) > 0 {
		from = min(from, w.marks[0].mark.at)
	}
	err := w.src.Each(ctx, w.o.Filter, func(batch []query.Stored) error {
		if !begun {
			w.sink.begin(min(from, batch[0].Start))
			begun = true
		}
		if err := w.stacks.learn(ctx, w.src, batch); err != nil {
			return err
		}
		for i := range batch {
			w.event(&batch[i])
		}
		w.result.Events += uint64(len(batch))
		if w.o.Progress != nil {
			w.o.Progress(batch[len(batch)-1].Start, w.result.Events)
		}
		return w.sink.err()
	})
	if err != nil {
		return err
	}
	if !begun {
		w.sink.begin(from)
	}
	w.endUntil(math.MaxInt64)
	return w.sink.err()
}

// event adds a recorded event to its track.
func (w *walker) event(e *query.Stored) {
	w.endUntil(e.Start)
	t, proc := w.ofEvent(e)
	if t == nil {
		w.hostEvent(proc, e)
		return
	}
	end := e.Start + max(e.Dur, 0)
	cut := false
	// Calls of a thread lie within each other. Where clocks or samples make
	// them overlap otherwise, one of the two ends earlier: the one that loses less.
	for n := len(t.open); n > 0 && t.open[n-1].end < end; n = len(t.open) {
		top := &t.open[n-1]
		if top.start < e.Start && top.end-e.Start < end-top.end {
			top.end, top.late = e.Start, true
			w.result.Cut++
			w.pop(t)
			continue
		}
		end, cut = top.end, true
		w.result.Cut++
	}
	w.push(t, e, end, cut)
}

func (w *walker) push(t *track, e *query.Stored, end int64, cut bool) {
	if i := len(t.open); i < cap(t.open) {
		t.open = t.open[:i+1]
	} else {
		t.open = append(t.open, slice{})
	}
	s := &t.open[len(t.open)-1]
	w.serial++
	s.start, s.end, s.serial, s.cut, s.late, s.call, s.stored = e.Start, end, w.serial, cut, false, true, *e
	n := w.nameOf(e.Op)
	s.name, s.category = n.name, n.category
	s.flows = w.flowsOf(e)
	w.sink.open(t, s)
	w.ends.add(endOf{end, t, s.serial})
}

// pop ends the innermost slice of a track.
func (w *walker) pop(t *track) {
	n := len(t.open) - 1
	w.sink.close(t, &t.open[n])
	t.free = t.open[n].end
	t.open = t.open[:n]
}

// endUntil ends what ends until a time.
func (w *walker) endUntil(at int64) {
	for {
		e, ok := w.ends.pop(at)
		if !ok {
			return
		}
		if n := len(e.track.open); n > 0 && e.track.open[n-1].serial == e.serial {
			w.pop(e.track)
		} // else it was ended earlier
	}
}

// hostEvent adds what the kernel did, which is not nested within calls.
func (w *walker) hostEvent(p *process, e *query.Stored) {
	t := w.lane(p, e.Op.Class(), e.Start)
	if e.Dur > 0 {
		t.free = e.Start + e.Dur
		w.push(t, e, e.Start+e.Dur, false)
		return
	}
	s := slice{stored: *e, call: true}
	w.sink.instant(t, &mark{at: e.Start, name: w.nameOf(e.Op).name, category: w.nameOf(e.Op).category, args: s.facts(nil), flows: w.flowsOf(e)})
}

func eventName(op event.Op) string {
	if query.IsGap(op) {
		return "between calls"
	}
	return op.String()
}

func (w *walker) flowsOf(e *query.Stored) []flow {
	if len(w.shown) == 0 {
		return nil
	}
	id, ok := w.shown[storedKey{e.Node, e.Seq}]
	if !ok {
		return nil
	}
	return []flow{{id, flowGoesOn}}
}

var directions = [...]string{"host to host", "host to device", "device to host", "device to device"}

// facts are what is known of a slice, appended to args.
func (s *slice) facts(args []arg) []arg {
	if !s.call {
		return append(args, s.args...)
	}
	e := &s.stored
	class := e.Op.Class()
	if class.HasBytes() {
		args = append(args, arg{name: factBytes, num: int64(min(e.Bytes, math.MaxInt64))})
	}
	if e.Handle != 0 {
		args = append(args, arg{name: factHandle, kind: argHex, num: int64(e.Handle)})
	}
	if class == event.Copy && int(e.Dir) < len(directions) {
		args = append(args, arg{name: factDirection, kind: argWord, text: directions[e.Dir]})
	}
	if e.Op.IsCall() || e.Ret != 0 {
		args = append(args, arg{name: factRetCode, num: int64(e.Ret)})
	}
	if e.Op.IsCall() {
		args = append(args, arg{name: factGpu, num: int64(e.GPU)})
	}
	if e.Runnable > 0 {
		args = append(args, arg{name: factRunnableNs, num: e.Runnable})
	}
	if e.Blocked > 0 {
		args = append(args, arg{name: factBlockedNs, num: e.Blocked})
	}
	if s.cut {
		args = append(args, s.duration())
	}
	return args
}

// duration is how long a call really took, of one whose end was moved.
func (s *slice) duration() arg { return arg{name: factDurationNs, num: s.stored.Dur} }

// states adds the tracks of where the time of the threads went.
func (w *walker) states(ctx context.Context) error {
	f := w.o.Filter
	f.From, f.To = w.o.Begin, w.o.End
	return query.Tiles(ctx, w.src, f, func(tiles []query.Tile) error {
		for i := range tiles {
			w.tile(&tiles[i])
		}
		return w.sink.err()
	})
}

func (w *walker) tile(x *query.Tile) {
	t := w.ofThread(w.tracks.states, stateTrack, x.Thread, x.Comm, x.Start, "states, added up and sorted within each second")
	s := slice{start: x.Start, end: x.End, name: x.State.String(), category: "state"}
	if x.State.Blocked() {
		s.name = "blocked: " + s.name
	}
	if x.Span > 1 {
		s.args = append(s.args, arg{name: factSecondsAddedUp, num: x.Span})
	}
	for i, k := range x.Wakers {
		if i < 3 {
			s.args = append(s.args, arg{name: wakerNames[i], kind: argText, text: wakerText(k)})
		}
		s.flows = append(s.flows, w.wake(x, k)...)
	}
	w.sink.open(t, &s)
	at := x.Start
	for _, p := range x.Places {
		in := slice{start: at, end: at + p.NS, name: p.Place, category: "place"}
		at += p.NS
		w.sink.open(t, &in)
		w.sink.close(t, &in)
	}
	w.sink.close(t, &s)
}

// worthAnArrow is the time, in ns, from which a waker gets an arrow.
const worthAnArrow = int64(1e6)

// wake begins an arrow from who ended a wait to the wait, if it is a traced
// thread.
func (w *walker) wake(x *query.Tile, k query.Waker) []flow {
	if k.Thread.Start == 0 || k.Thread.TID == 0 || k.NS < worthAnArrow {
		return nil
	}
	t := w.ofThread(w.tracks.wakes, wakeTrack, k.Thread, k.Comm, x.Start, "whom it woke, by second")
	if x.Start < t.free { // an arrow must not point back
		return nil
	}
	t.free = x.Start
	w.flows++
	w.sink.instant(t, &mark{
		at: x.Start, name: "woke " + x.Comm, category: "wake", flows: []flow{{w.flows, flowBegin}},
		args: []arg{{name: factWokenTid, num: int64(x.Thread.TID)}, {name: factTimes, num: int64(k.Count)}, {name: factWaitedNs, num: k.NS}},
	})
	return []flow{{w.flows, flowEnds}}
}

// figuresAtOnce is how many ns of figures are read at once.
const figuresAtOnce = int64(600e9)

// machineFigures adds what the machine and its GPUs did.
func (w *walker) machineFigures(ctx context.Context) error {
	for from := w.o.Begin; from < w.o.End; from += figuresAtOnce {
		f := query.Filter{From: from, To: min(from+figuresAtOnce, w.o.End)}
		points, err := figures(ctx, w.src, f)
		if err != nil {
			return err
		}
		slices.SortStableFunc(points, func(a, b point) int { return cmp.Compare(a.at, b.at) })
		for _, p := range points {
			w.sink.counter(w.tracks.counter(p.name, p.unit), p.at, p.value)
		}
		if err := w.sink.err(); err != nil {
			return err
		}
	}
	return nil
}
