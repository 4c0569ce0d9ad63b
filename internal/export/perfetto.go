package export

import (
	"context"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"ingero/internal/event"
	"ingero/internal/query"
)

// Fields of Perfetto's messages, as in protos/perfetto/trace of
// https://github.com/google/perfetto: the file of each group is named.
const (
	tracePacket = 1 // trace.proto

	packetClockSnapshot = 6 // trace_packet.proto
	packetTimestamp     = 8
	packetSequence      = 10
	packetTrackEvent    = 11
	packetInterned      = 12
	packetFlags         = 13
	packetDefaults      = 59
	packetTrack         = 60
	packetFirst         = 87

	flagCleared = 1 // TracePacket.SequenceFlags
	flagNeeds   = 2

	defaultsClock = 58 // trace_packet_defaults.proto

	clockClocks  = 1 // clock_snapshot.proto
	clockPrimary = 2
	clockID      = 1
	clockTime    = 2
	realtime     = 1 // builtin_clock.proto
	boottime     = 6

	eventAnnotation    = 4 // track_event.proto
	eventType          = 9
	eventNameID        = 10
	eventTrack         = 11
	eventCategory      = 3
	eventDouble        = 44
	eventFlow          = 47
	eventTerminate     = 48
	eventCallstack     = 56
	typeBegin          = 1
	typeEnd            = 2
	typeInstant        = 3
	typeCounter        = 4
	internedCategories = 1 // interned_data.proto
	internedNames      = 2
	internedArgs       = 3
	internedFunctions  = 5
	internedFrames     = 6
	internedCallstacks = 7
	internedPaths      = 17
	internedSources    = 18
	internedMappings   = 19
	internedWords      = 29

	annotationName    = 1 // debug_annotation.proto
	annotationInt     = 4
	annotationPointer = 7
	annotationText    = 6
	annotationWord    = 17 // interned
)

// Sequences of packets: what is on one is in the order of time.
const (
	seqCalls    = 1
	seqFigures  = 2
	seqFindings = 3
	seqTracks   = 4
	seqOthers   = 16 // and above: one for each track
)

// sequence is what a reader of one sequence of packets knows already.
type sequence struct {
	id      uint64
	begun   bool
	names   map[string]uint64
	cats    map[string]uint64
	args    [numFacts]bool // that are known, as their number + 1
	words   map[string]uint64
	pending []byte // interned data that the next packet carries
}

// perfetto encodes a timeline as Perfetto's packets.
type perfetto struct {
	w         io.Writer
	failed    error
	sequences map[uint64]*sequence
	calls     *sequence
	stacks    *stacks
	frames    frameTable
	event     []byte // scratch
	packet    []byte
	inner     []byte
	facts     []arg
}

func writePerfetto(ctx context.Context, src query.Streamed, o *Options, w io.Writer) (Result, error) {
	p := &perfetto{w: w, sequences: map[uint64]*sequence{}}
	p.calls = p.sequence(seqCalls)
	p.frames.seq = p.calls
	p.stacks = newStacks(p.frames.callstack)
	p.clock(o.Begin)
	return timeline(ctx, src, o, p, p.stacks)
}

func (p *perfetto) sequence(id uint64) *sequence {
	s := p.sequences[id]
	if s == nil {
		s = &sequence{id: id, names: map[string]uint64{}, cats: map[string]uint64{}, words: map[string]uint64{}}
		p.sequences[id] = s
	}
	return s
}

// of returns the sequence for what is on a track.
func (p *perfetto) of(t *track) *sequence {
	switch t.kind {
	case threadTrack, laneTrack:
		return p.calls
	case counterTrack:
		return p.sequence(seqFigures)
	case findingTrack:
		return p.sequence(seqFindings)
	}
	return p.sequence(seqOthers + t.id)
}

func (p *perfetto) err() error { return p.failed }
func (p *perfetto) end() error { return p.failed }

// write writes p.packet as one packet of the trace.
func (p *perfetto) write() {
	var head [12]byte
	b := protowire.AppendTag(head[:0], tracePacket, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(len(p.packet)))
	for _, part := range [...][]byte{b, p.packet} {
		if _, err := p.w.Write(part); err != nil && p.failed == nil {
			p.failed = err
		}
	}
}

func number(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func text(b []byte, field protowire.Number, v string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), v)
}

func message(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

func (p *perfetto) begin(int64) {}

// clock says which clock the times are of: the wall clock. A reader must know
// before it meets a time. Perfetto's asks how that goes with the time since
// boot, too, although nothing is told in it: as if it was booted in 1970.
func (p *perfetto) clock(from int64) {
	var snapshot []byte
	for _, id := range [...]uint64{realtime, boottime} {
		snapshot = message(snapshot, clockClocks, number(number(nil, clockID, id), clockTime, uint64(from)))
	}
	p.packet = message(p.packet[:0], packetClockSnapshot, number(snapshot, clockPrimary, realtime))
	p.packet = number(p.packet, packetSequence, seqTracks)
	p.write()
}

// intern returns the number of a text within a sequence, which the next packet
// tells the reader if it is new.
func (s *sequence) intern(known map[string]uint64, field protowire.Number, v string) uint64 {
	id := known[v]
	if id == 0 {
		id = uint64(len(known)) + 1
		known[v] = id
		s.pending = message(s.pending, field, text(number(nil, 1, id), 2, valid(v)))
	}
	return id
}

// fact is intern for what is told about slices.
func (s *sequence) fact(n factName) uint64 {
	id := uint64(n) + 1
	if !s.args[n] {
		s.args[n] = true
		s.pending = message(s.pending, internedArgs, text(number(nil, 1, id), 2, n.String()))
	}
	return id
}

// send writes p.event as a packet of a sequence.
func (p *perfetto) send(s *sequence, at int64) {
	p.packet = number(p.packet[:0], packetTimestamp, uint64(at))
	p.packet = number(p.packet, packetSequence, s.id)
	flags := uint64(flagNeeds)
	if !s.begun {
		s.begun = true
		flags |= flagCleared
		p.packet = number(p.packet, packetFirst, 1)
		p.packet = message(p.packet, packetDefaults, number(nil, defaultsClock, realtime))
	}
	p.packet = number(p.packet, packetFlags, flags)
	if len(s.pending) > 0 {
		p.packet = message(p.packet, packetInterned, s.pending)
		s.pending = s.pending[:0]
	}
	p.packet = message(p.packet, packetTrackEvent, p.event)
	p.write()
}

// start begins p.event.
func (p *perfetto) start(kind uint64, t *track) {
	p.event = number(number(p.event[:0], eventType, kind), eventTrack, t.id)
}

func (p *perfetto) named(s *sequence, name, category string, args []arg, flows []flow) {
	p.event = number(p.event, eventNameID, s.intern(s.names, internedNames, name))
	p.event = number(p.event, eventCategory, s.intern(s.cats, internedCategories, category))
	p.annotate(s, args...)
	for _, f := range flows {
		field := protowire.Number(eventFlow)
		if f.step == flowEnds {
			field = eventTerminate
		}
		p.event = protowire.AppendFixed64(protowire.AppendTag(p.event, field, protowire.Fixed64Type), f.id)
	}
}

// annotate adds what is told about a slice.
func (p *perfetto) annotate(s *sequence, args ...arg) {
	for i := range args {
		a := &args[i]
		b := number(p.inner[:0], annotationName, s.fact(a.name))
		switch a.kind {
		case argInt:
			b = number(b, annotationInt, uint64(a.num))
		case argHex:
			b = number(b, annotationPointer, uint64(a.num))
		case argText:
			b = text(b, annotationText, valid(a.text))
		case argWord:
			b = number(b, annotationWord, s.intern(s.words, internedWords, a.text))
		}
		p.inner = b
		p.event = message(p.event, eventAnnotation, b)
	}
}

func (p *perfetto) open(t *track, s *slice) {
	seq := p.of(t)
	p.start(typeBegin, t)
	p.facts = s.facts(p.facts[:0])
	p.named(seq, s.name, s.category, p.facts, s.flows)
	if s.call && s.stored.Stack != 0 {
		if id := p.stacks.ids[s.stored.Stack]; id != 0 {
			p.event = number(p.event, eventCallstack, id)
		}
	}
	p.send(seq, s.start)
}

func (p *perfetto) close(t *track, s *slice) {
	seq := p.of(t)
	p.start(typeEnd, t)
	if s.late { // Perfetto takes it for the slice
		p.annotate(seq, s.duration())
	}
	p.send(seq, s.end)
}

func (p *perfetto) instant(t *track, m *mark) {
	seq := p.of(t)
	p.start(typeInstant, t)
	p.named(seq, m.name, m.category, m.args, m.flows)
	p.send(seq, m.at)
}

func (p *perfetto) counter(t *track, at int64, v float64) {
	p.start(typeCounter, t)
	p.event = protowire.AppendFixed64(protowire.AppendTag(p.event, eventDouble, protowire.Fixed64Type), math.Float64bits(v))
	p.send(p.of(t), at)
}

// frameTable numbers frames and stacks.
type frameTable struct {
	seq                                  *sequence
	frames                               map[event.Frame]uint64
	functions, paths, mappings, sourceAt map[string]uint64
	callstacks                           uint64
	ids                                  []uint64
}

// callstack numbers a stack.
func (t *frameTable) callstack(frames []event.Frame) uint64 {
	if t.frames == nil {
		t.frames, t.functions, t.paths = map[event.Frame]uint64{}, map[string]uint64{}, map[string]uint64{}
		t.mappings, t.sourceAt = map[string]uint64{}, map[string]uint64{}
	}
	t.ids = t.ids[:0]
	for i := len(frames) - 1; i >= 0; i-- { // Perfetto wants the outermost first
		t.ids = append(t.ids, t.frame(&frames[i]))
	}
	t.callstacks++
	b := number(nil, 1, t.callstacks)
	for _, id := range t.ids {
		b = number(b, 2, id)
	}
	t.seq.pending = message(t.seq.pending, internedCallstacks, b)
	return t.callstacks
}

func (t *frameTable) frame(f *event.Frame) uint64 {
	if id := t.frames[*f]; id != 0 {
		return id
	}
	id := uint64(len(t.frames)) + 1
	t.frames[*f] = id
	file := f.File
	if f.PyFile != "" {
		file = f.PyFile
	}
	// profile_common.proto: Frame, whose mapping must be known.
	b := number(nil, 1, id)
	b = number(b, 2, t.seq.intern(t.functions, internedFunctions, frameName(f)))
	b = number(b, 3, t.mapping(file))
	b = number(b, 4, f.IP)
	if source, line := frameFile(f); line > 0 {
		b = number(b, 5, t.seq.intern(t.sourceAt, internedSources, source))
		b = number(b, 6, uint64(line))
	}
	t.seq.pending = message(t.seq.pending, internedFrames, b)
	return id
}

// mapping is the file that a frame is in.
func (t *frameTable) mapping(file string) uint64 {
	id := t.mappings[file]
	if id == 0 {
		id = uint64(len(t.mappings)) + 1
		t.mappings[file] = id
		path := t.seq.intern(t.paths, internedPaths, file)
		t.seq.pending = message(t.seq.pending, internedMappings, number(number(nil, 1, id), 7, path))
	}
	return id
}
