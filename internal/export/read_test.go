package export

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"
)

// A reader of Perfetto traces that shares nothing with the encoder. It knows
// the numbers of fields from the published messages, and checks what it reads.

type readTrack struct {
	name, process, unit string
	parent              uint64
	pid, tid            int64
	isProcess, isThread bool
	isCounter           bool
	on                  *readSequence // that has its events
}

type readSlice struct {
	track      uint64
	start, end int64
	name, cat  string
	depth      int
	args       map[string]any
	stack      []string // outermost first
}

type readPoint struct { // of a flow
	at    int64
	ends  bool
	in    string
	track uint64
}

type readTrace struct {
	t        *testing.T
	tracks   map[uint64]*readTrack
	slices   []*readSlice
	marks    []*readSlice
	counters map[uint64][]float64
	flows    map[uint64][]readPoint
	flowIDs  []uint64
	packets  int

	open      map[uint64][]*readSlice
	last      map[uint64]uint64 // time, by sequence
	sequences map[uint64]*readSequence
}

type readSequence struct {
	begun    bool
	interned map[[2]uint64]wire // by field and id
	clock    uint64
}

// wire is a message as fields.
type wire map[uint64][]field

type field struct {
	num  uint64
	data []byte
}

// fields takes a message apart.
func fields(b []byte) (wire, error) {
	m := wire{}
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, fmt.Errorf("tag")
		}
		b = b[n:]
		var f field
		switch tag & 7 {
		case 0:
			v, n := binary.Uvarint(b)
			if n <= 0 {
				return nil, fmt.Errorf("number of field %d", tag>>3)
			}
			f.num, b = v, b[n:]
		case 1:
			if len(b) < 8 {
				return nil, fmt.Errorf("field %d is short", tag>>3)
			}
			f.num, b = binary.LittleEndian.Uint64(b), b[8:]
		case 2:
			size, n := binary.Uvarint(b)
			if n <= 0 || size > uint64(len(b)-n) {
				return nil, fmt.Errorf("length of field %d", tag>>3)
			}
			f.data, b = b[n:n+int(size)], b[n+int(size):]
		default:
			return nil, fmt.Errorf("wire type %d of field %d", tag&7, tag>>3)
		}
		m[tag>>3] = append(m[tag>>3], f)
	}
	return m, nil
}

func (m wire) num(f uint64) uint64 {
	if len(m[f]) == 0 {
		return 0
	}
	return m[f][len(m[f])-1].num
}

func (m wire) text(f uint64) string {
	if len(m[f]) == 0 {
		return ""
	}
	return string(m[f][0].data)
}

func (m wire) sub(t *testing.T, f uint64) wire {
	t.Helper()
	if len(m[f]) == 0 {
		return nil
	}
	x, err := fields(m[f][0].data)
	if err != nil {
		t.Fatalf("field %d: %v", f, err)
	}
	return x
}

// readPerfetto reads a trace and fails the test for what is wrong with it.
func readPerfetto(t *testing.T, b []byte) *readTrace {
	t.Helper()
	r := &readTrace{
		t: t, tracks: map[uint64]*readTrack{}, counters: map[uint64][]float64{}, flows: map[uint64][]readPoint{},
		open: map[uint64][]*readSlice{}, last: map[uint64]uint64{}, sequences: map[uint64]*readSequence{},
	}
	trace, err := fields(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range trace[1] {
		packet, err := fields(p.data)
		if err != nil {
			t.Fatal(err)
		}
		r.packets++
		r.packet(packet)
	}
	for id, open := range r.open {
		if len(open) > 0 {
			t.Errorf("%d slices never end on track %d %q", len(open), id, r.tracks[id].name)
		}
	}
	return r
}

func (r *readTrace) packet(p wire) {
	seq := p.num(10)
	if seq == 0 {
		r.t.Fatal("a packet without trusted_packet_sequence_id")
	}
	if c := p.sub(r.t, 6); (c != nil && c.num(2) == 1) != (r.packets == 1) {
		r.t.Fatalf("packet %d: the first one, and no other, says that times are of the wall clock", r.packets)
	}
	if d := p.sub(r.t, 60); d != nil {
		r.descriptor(d)
	}
	e := p.sub(r.t, 11)
	if e == nil {
		return
	}
	s := r.sequences[seq]
	if s == nil {
		s = &readSequence{interned: map[[2]uint64]wire{}}
		r.sequences[seq] = s
		if p.num(13)&1 == 0 {
			r.t.Fatalf("sequence %d does not begin with SEQ_INCREMENTAL_STATE_CLEARED", seq)
		}
	}
	if d := p.sub(r.t, 59); d != nil {
		s.clock = d.num(58)
	}
	if s.clock != 1 || p.num(13)&2 == 0 {
		r.t.Fatalf("sequence %d: times of clock %d, flags %d", seq, s.clock, p.num(13))
	}
	for kind, all := range p.sub(r.t, 12) {
		for _, x := range all {
			m, err := fields(x.data)
			if err != nil {
				r.t.Fatal(err)
			}
			key := [2]uint64{kind, m.num(1)}
			if s.interned[key] != nil || key[1] == 0 {
				r.t.Fatalf("interned data %v of sequence %d comes twice", key, seq)
			}
			s.interned[key] = m
		}
	}
	at := p.num(8)
	if at < r.last[seq] {
		r.t.Fatalf("time of sequence %d goes back from %d to %d", seq, r.last[seq], at)
	}
	r.last[seq] = at
	r.event(s, e, int64(at))
}

func (r *readTrace) descriptor(d wire) {
	id := d.num(1)
	if id == 0 || r.tracks[id] != nil {
		r.t.Fatalf("track %d is described twice", id)
	}
	t := &readTrack{name: d.text(2), parent: d.num(5)}
	if p := d.sub(r.t, 3); p != nil {
		t.isProcess, t.pid, t.process = true, int64(p.num(1)), p.text(6)
	}
	if p := d.sub(r.t, 4); p != nil {
		t.isThread, t.pid, t.tid, t.name = true, int64(p.num(1)), int64(p.num(2)), p.text(5)
	}
	if p := d.sub(r.t, 8); p != nil {
		t.isCounter, t.unit = true, p.text(6)
	}
	if t.parent != 0 && r.tracks[t.parent] == nil {
		r.t.Fatalf("track %q has the parent %d, which is not described", t.name, t.parent)
	}
	r.tracks[id] = t
}

func (r *readTrace) event(s *readSequence, e wire, at int64) {
	id := e.num(11)
	track := r.tracks[id]
	if track == nil {
		r.t.Fatalf("an event on track %d, which is not described", id)
	}
	if track.on == nil {
		track.on = s
	}
	if track.on != s { // a reader knows an order within sequences only
		r.t.Fatalf("events of track %q are on two sequences", track.name)
	}
	kind := e.num(9)
	if (kind == 4) != track.isCounter {
		r.t.Fatalf("an event of type %d on track %q", kind, track.name)
	}
	x := &readSlice{track: id, start: at, end: at, args: map[string]any{}}
	if kind == 1 || kind == 3 {
		x.name = r.resolve(s, 2, e.num(10)).text(2)
		x.cat = r.resolve(s, 1, e.num(3)).text(2)
		r.annotations(s, e, x)
		r.callstack(s, e, x)
		for f, ends := range map[uint64]bool{47: false, 48: true} {
			for _, v := range e[f] {
				if r.flows[v.num] == nil {
					r.flowIDs = append(r.flowIDs, v.num)
				}
				r.flows[v.num] = append(r.flows[v.num], readPoint{at, ends, x.name, id})
			}
		}
	}
	switch kind {
	case 1:
		x.depth = len(r.open[id])
		r.open[id] = append(r.open[id], x)
		r.slices = append(r.slices, x)
	case 2:
		n := len(r.open[id])
		if n == 0 {
			r.t.Fatalf("an end without a begin on track %q", track.name)
		}
		r.open[id][n-1].end = at
		r.annotations(s, e, r.open[id][n-1])
		r.open[id] = r.open[id][:n-1]
	case 3:
		r.marks = append(r.marks, x)
	case 4:
		r.counters[id] = append(r.counters[id], math.Float64frombits(e.num(44)))
	default:
		r.t.Fatalf("an event of type %d", kind)
	}
}

// resolve returns what an interned id stands for.
func (r *readTrace) resolve(s *readSequence, kind, id uint64) wire {
	m := s.interned[[2]uint64{kind, id}]
	if m == nil {
		r.t.Fatalf("interned id %d of kind %d is not known", id, kind)
	}
	return m
}

func (r *readTrace) annotations(s *readSequence, e wire, x *readSlice) {
	for _, a := range e[4] {
		m, err := fields(a.data)
		if err != nil {
			r.t.Fatal(err)
		}
		name := r.resolve(s, 3, m.num(1)).text(2)
		switch {
		case len(m[4]) > 0:
			x.args[name] = int64(m.num(4))
		case len(m[7]) > 0:
			x.args[name] = fmt.Sprintf("0x%x", m.num(7))
		case len(m[6]) > 0:
			x.args[name] = m.text(6)
		case len(m[17]) > 0:
			x.args[name] = r.resolve(s, 29, m.num(17)).text(2)
		default:
			r.t.Fatalf("the annotation %q has no value", name)
		}
	}
}

func (r *readTrace) callstack(s *readSequence, e wire, x *readSlice) {
	if len(e[56]) == 0 {
		return
	}
	for _, f := range r.resolve(s, 7, e.num(56))[2] {
		frame := r.resolve(s, 6, f.num)
		r.resolve(s, 17, r.resolve(s, 19, frame.num(3)).num(7)) // the path of its mapping
		if len(frame[5]) > 0 {
			r.resolve(s, 18, frame.num(5))
		}
		x.stack = append(x.stack, r.resolve(s, 5, frame.num(2)).text(2))
	}
}
