package unwind

import (
	"cmp"
	"fmt"
	"slices"
)

// cie is what many functions have in common.
type cie struct {
	ok       bool
	code     uint64 // factors of the instructions
	data     int64
	enc      uint8 // of addresses
	signal   bool
	augment  bool // entries have a length of augmentation data
	initial  state
	returnIn uint64
}

// padding between two functions, in bytes, is no hole worth a row.
const padding = 64

// span is one function: its rows are rows[from:to].
type span struct {
	start, end uint32
	from, to   int
}

type parser struct {
	t     *Table
	b     []byte
	addr  uint64
	cies  map[uint64]*cie
	rows  []Row
	spans []span
}

// parse reads all of .eh_frame, which is at addr.
func (t *Table) parse(b []byte, addr uint64) error {
	p := &parser{
		t: t, b: b, addr: addr, cies: map[uint64]*cie{},
		rows: make([]Row, 0, len(b)/4), spans: make([]span, 0, len(b)/48), // about as many as compilers make
	}
	r := reader{b: b, addr: addr}
	for len(r.b) >= 4 {
		length := uint64(r.u32())
		if length == 0 {
			break
		}
		if length == 0xffffffff {
			length = r.u64()
		}
		at := r.addr
		body := reader{b: r.take(length), addr: at}
		if r.bad {
			t.Dropped++
			break // what was understood so far still helps
		}
		if id := uint64(body.u32()); id != 0 { // a function; 0 is a CIE, read when it is asked for
			if id > at-addr || !p.function(&body, at-id) {
				t.Dropped++
			}
		}
		if len(p.rows) > maxRows {
			return fmt.Errorf("%w: more than %d rows", errCorrupt, maxRows)
		}
	}
	if len(p.spans) == 0 {
		return ErrNone
	}
	p.merge()
	return nil
}

// common returns the CIE at an address.
func (p *parser) common(addr uint64) *cie {
	if c, ok := p.cies[addr]; ok {
		return c
	}
	c := &cie{}
	p.cies[addr] = c
	if addr < p.addr || addr-p.addr > uint64(len(p.b)) {
		return c
	}
	r := reader{b: p.b[addr-p.addr:], addr: addr}
	length := uint64(r.u32())
	if length == 0xffffffff {
		length = r.u64()
	}
	at := r.addr
	r = reader{b: r.take(length), addr: at}
	if r.u32() != 0 {
		return c
	}
	version := r.u8()
	augmentation := r.text()
	if version != 1 && version != 3 {
		return c
	}
	c.code, c.data = r.uleb(), r.sleb()
	if c.returnIn = uint64(r.u8()); version == 3 && c.returnIn >= 0x80 {
		return c
	}
	if len(augmentation) > 0 {
		if augmentation[0] != 'z' || !c.augmented(&r, augmentation[1:]) {
			return c
		}
	}
	m := machine{c: c, now: state{ra: raLost}}
	c.ok = !r.bad && c.returnIn == regReturn && m.run(r.b, nil)
	c.initial = m.now
	return c
}

// augmented reads the augmentation data.
func (c *cie) augmented(r *reader, what string) bool {
	c.augment = true
	n := r.uleb()
	at := r.addr
	d := reader{b: r.take(n), addr: at}
	for _, ch := range what {
		switch ch {
		case 'R':
			c.enc = d.u8()
		case 'P':
			d.value(d.u8())
		case 'L':
			d.u8()
		case 'S':
			c.signal = true
		case 'B', 'G': // arm64
		default:
			return !d.bad // what follows is unknown, but has a length
		}
	}
	return !d.bad
}

// function reads one entry, after its CIE pointer.
func (p *parser) function(r *reader, common uint64) bool {
	c := p.common(common)
	if !c.ok || c.enc == encOmit {
		return false
	}
	start := r.pointer(c.enc, 0)
	n := r.value(c.enc &^ 0x70)
	if c.augment {
		r.take(r.uleb())
	}
	base, size := p.t.Base, uint64(p.t.Size)
	if r.bad || n == 0 || start < base || start-base >= size || n > size-(start-base) {
		return n == 0 && !r.bad // a function the linker dropped
	}
	s := span{start: uint32(start - base), from: len(p.rows)}
	s.end = s.start + uint32(n)
	m := machine{c: c, now: c.initial}
	whole := m.run(r.b, func(pc uint64, rule Rule) {
		if pc < n {
			p.add(s.from, s.start+uint32(pc), rule)
		}
	})
	if !whole {
		p.rows = append(p.rows[:s.from], Row{s.start, Rule(Unsupported)})
	}
	s.to = len(p.rows)
	p.spans = append(p.spans, s)
	return whole
}

// add appends a row to the function whose rows begin at from.
func (p *parser) add(from int, pc uint32, rule Rule) {
	if n := len(p.rows); n > from && p.rows[n-1].PC == pc {
		p.rows[n-1].Rule = rule
	} else if n == from || p.rows[n-1].Rule != rule {
		p.rows = append(p.rows, Row{pc, rule})
	}
}

// merge sorts the functions and makes one list of their rows.
func (p *parser) merge() {
	slices.SortStableFunc(p.spans, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	out := make([]Row, 0, len(p.rows)+len(p.spans)/4)
	put := func(r Row) {
		if n := len(out); n > 0 && out[n-1].Rule == r.Rule {
			return
		}
		out = append(out, r)
	}
	var end uint32
	for i, s := range p.spans {
		if i > 0 && s.start < end { // overlaps: the first one stands
			p.t.Dropped++
			continue
		}
		if i > 0 && s.start-end > padding {
			put(Row{end, Rule(Hole)})
		}
		for _, r := range p.rows[s.from:s.to] {
			put(r)
		}
		end = s.end
	}
	if end < p.t.Size {
		put(Row{end, Rule(Hole)})
	}
	p.t.Rows = slices.Clip(out)
}
