package python

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"ingero/internal/event"
)

// code is a code object as it was when it was read.
type code struct {
	identity   []byte // what makes it the same object when read again
	file, name string
	first      int
	start      uint64 // of its instructions
	size       uint64 // of them, in bytes
	table      []byte
	copies     []uint64 // other places of its instructions, in free-threaded builds
	lines      map[uint64]int
}

const (
	maxTable   = 4 << 20  // bytes of a line table
	maxHeld    = 16 << 20 // bytes held for one process; the tables of large programs are a tenth of that
	maxCopies  = 1024
	typeAt     = 8  // ob_type; ob_size follows
	freeTypeAt = 24 // in free-threaded builds
)

func u64(b []byte, at uint64) uint64 { return binary.LittleEndian.Uint64(b[at:]) }

// identify reads a code object's own bytes and returns them with what tells
// whether a code object read earlier at this address is still the same.
func (p *Process) identify(at uint64) (head, identity []byte, err error) {
	head = make([]byte, p.headBytes())
	if err := p.mem.read(head, at); err != nil {
		return nil, nil, err
	}
	l := &p.layout
	for _, off := range []uint64{p.typeAt, p.typeAt + 8, l.codeFirstLine &^ 7, l.codeFile, l.codeName, l.codeQual, l.codeTable} {
		identity = append(identity, head[off:off+8]...)
	}
	if p.codeType != 0 && u64(head, p.typeAt) != p.codeType {
		return nil, nil, fmt.Errorf("read a code object at %#x: there is none", at)
	}
	return head, identity, nil
}

func (p *Process) headBytes() uint64 {
	l := &p.layout
	return max(p.typeAt+16, l.codeFile+8, l.codeName+8, l.codeQual+8, l.codeTable+8, l.codeFirstLine&^7+8, l.codeStart, l.codeTLBC+8)
}

func (p *Process) readCode(at uint64, head, identity []byte) (*code, error) {
	l := &p.layout
	c := &code{
		identity: identity,
		first:    int(binary.LittleEndian.Uint32(head[l.codeFirstLine:]) & (1<<31 - 1)),
		start:    at + l.codeStart,
		size:     2 * (u64(head, p.typeAt+8) & (1<<32 - 1)),
		lines:    map[uint64]int{},
	}
	var err error
	if c.file, err = p.mem.text(l, u64(head, l.codeFile), maxPath); err != nil {
		return nil, err
	}
	if c.name, err = p.mem.text(l, u64(head, l.codeQual), maxName); err != nil {
		return nil, err
	}
	if c.table, err = p.mem.data(l, u64(head, l.codeTable), maxTable); err != nil {
		return nil, err
	}
	if l.codeTLBC != 0 {
		c.copies = p.copies(u64(head, l.codeTLBC))
	}
	return c, nil
}

// copies reads a _PyCodeArray.
func (p *Process) copies(at uint64) []uint64 {
	n, err := p.mem.word(at)
	if at == 0 || err != nil {
		return nil
	}
	b := make([]byte, 8*min(n, maxCopies))
	if p.mem.read(b, at+8) != nil {
		return nil
	}
	var all []uint64
	for i := uint64(0); i < uint64(len(b)); i += 8 {
		if v := u64(b, i); v != 0 {
			all = append(all, v)
		}
	}
	return all
}

// at returns how far behind the first instruction one is; ok is false if it
// is none of this code.
func (c *code) at(l *layout, instr uint64) (off int64, ok bool) {
	if l.oldTable {
		return 2 * int64(instr), int64(instr) >= -1 && int64(instr) < maxTable
	}
	inside := func(start uint64) bool { return instr+2 >= start && instr < start+c.size }
	if inside(c.start) {
		return int64(instr - c.start), true
	}
	for _, start := range c.copies {
		if inside(start) {
			return int64(instr - start), true
		}
	}
	return 0, false
}

func (c *code) line(l *layout, instr uint64) (line int, ok bool) {
	off, ok := c.at(l, instr)
	if !ok {
		return 0, false
	}
	if line, known := c.lines[instr]; known {
		return line, true
	}
	if l.oldTable {
		line = oldLine(c.table, c.first, off)
	} else {
		line = newLine(c.table, c.first, off)
	}
	if len(c.lines) < 1024 {
		c.lines[instr] = line
	}
	return line, true
}

// lookUp returns the code object at an address, the one read earlier if it
// is still there or the process has ended.
func (p *Process) lookUp(at uint64) *code {
	known := p.codes[at]
	head, identity, err := p.identify(at)
	if err != nil {
		if p.gone() {
			return known
		}
		return nil
	}
	if known != nil && bytes.Equal(known.identity, identity) {
		return known
	}
	c, err := p.readCode(at, head, identity)
	if err != nil {
		return nil
	}
	if p.held > maxHeld {
		clear(p.codes)
		p.held = 0
	}
	p.held += 512 + len(c.file) + len(c.name) + len(c.table) + 8*len(c.copies)
	p.codes[at] = c
	return c
}

// gone reports whether the process has ended or runs another program.
func (p *Process) gone() bool {
	_, err := p.mem.word(p.runtime)
	return err != nil
}

// frame names one frame. What cannot be read has the name "?".
func (p *Process) frame(raw RawFrame) event.Frame {
	raw.Code &^= entered
	c := p.lookUp(raw.Code)
	if c == nil {
		return event.Frame{PyFunc: "?"}
	}
	line, ok := c.line(&p.layout, raw.Instr)
	if !ok && len(c.copies) > 0 { // a thread may have made its copy since
		delete(p.codes, raw.Code)
		if c = p.lookUp(raw.Code); c != nil {
			line, ok = c.line(&p.layout, raw.Instr)
		}
	}
	if !ok {
		return event.Frame{PyFunc: "?"}
	}
	return event.Frame{PyFile: c.file, PyFunc: c.name, PyLine: line}
}
