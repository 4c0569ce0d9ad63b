package symbol

import (
	"bytes"
	"encoding/binary"
)

// What follows looks at parts of DWARF before debug/dwarf reads them. That
// package believes counts, and copies every string of an entry: a file made
// for it costs all memory or hours.

const (
	maxAttributes  = 128      // of one kind of entry; compilers use up to 30
	maxAbbrev      = 1 << 20  // bytes of one unit's abbreviations
	maxLineHeader  = 1 << 20  // bytes of one unit's names of files and folders
	maxLineProgram = 8 << 20  // bytes of one unit's lines
	maxLineFiles   = 1 << 16  // of one unit
	maxUnitBytes   = 64 << 20 // of one unit's entries
	maxString      = 64 << 10
	maxStrings     = 256 << 20 // bytes of a table of strings
	maxRangeBytes  = 32 << 20  // of ranges; what is beyond is not known
)

// cursor reads little-endian numbers; bad is set when they run out.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) skip(n uint64) []byte {
	b, ok := cut(c.b, 0, n)
	if !ok {
		c.b, c.bad = nil, true
		return nil
	}
	c.b = c.b[n:]
	return b
}

func (c *cursor) u8() (n byte) {
	if b := c.skip(1); b != nil {
		n = b[0]
	}
	return n
}

func (c *cursor) u16() (n uint16) {
	if b := c.skip(2); b != nil {
		n = le.Uint16(b)
	}
	return n
}

// offset reads four bytes or eight.
func (c *cursor) offset(wide bool) uint64 {
	if wide {
		if b := c.skip(8); b != nil {
			return le.Uint64(b)
		}
	} else if b := c.skip(4); b != nil {
		return uint64(le.Uint32(b))
	}
	return 0
}

// unit reads the length that every part begins with and narrows the cursor
// to what belongs to it. wide says that it is 64-bit DWARF.
func (c *cursor) unit() (size uint64, wide bool) {
	head := uint64(4)
	size = c.offset(false)
	if size == 0xffffffff {
		size, wide, head = c.offset(true), true, 12
	}
	b, ok := cut(c.b, 0, size)
	if !ok || c.bad {
		c.b, c.bad = nil, true
		return 0, wide
	}
	c.b = b
	return head + size, wide
}

func (c *cursor) uleb() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.b, c.bad = nil, true
		return 0
	}
	c.b = c.b[n:]
	return v
}

// lineProgram returns where the line program at an offset of .debug_line
// ends, if its header is one that can be read.
func lineProgram(line []byte, off uint64) (end uint64, ok bool) {
	if off > uint64(len(line)) {
		return 0, false
	}
	c := cursor{b: line[off:]}
	size, wide := c.unit()
	version := c.u16()
	if version >= 5 {
		c.skip(2) // sizes of addresses and of segment selectors
	}
	header := c.offset(wide)
	if c.bad || version < 2 || version > 5 || size > maxLineProgram || header > maxLineHeader {
		return 0, false
	}
	c.b = c.skip(header)
	if version >= 5 {
		c.skip(5)
		c.skip(uint64(max(1, c.u8())) - 1) // how many operands opcodes have
		c.entries(wide)                    // folders
		c.entries(wide)                    // files
	}
	return off + size, !c.bad
}

// entries skips a table of a version 5 header.
func (c *cursor) entries(wide bool) {
	forms := make([]uint64, c.u8())
	for i := range forms {
		c.uleb()
		forms[i] = c.uleb()
	}
	n := c.uleb()
	if n > maxLineFiles || n > uint64(len(c.b)) || n > 0 && len(forms) == 0 {
		c.bad = true
	}
	for ; n > 0 && !c.bad; n-- {
		for _, f := range forms {
			c.form(f, wide)
		}
	}
}

// form skips a value; see section 7.5.6 of DWARF 5.
func (c *cursor) form(f uint64, wide bool) {
	switch f {
	case 0x08: // string
		c.skip(uint64(bytes.IndexByte(c.b, 0) + 1))
	case 0x0e, 0x1f, 0x17: // strp, line_strp, sec_offset
		c.offset(wide)
	case 0x0b, 0x25: // data1, strx1
		c.skip(1)
	case 0x05, 0x26: // data2, strx2
		c.skip(2)
	case 0x06, 0x28: // data4, strx4
		c.skip(4)
	case 0x07: // data8
		c.skip(8)
	case 0x1e: // data16
		c.skip(16)
	case 0x0f, 0x1a: // udata, strx
		c.uleb()
	case 0x09: // block
		c.skip(c.uleb())
	default:
		c.bad = true
	}
}

// abbreviations returns where the table at an offset of .debug_abbrev ends,
// if it can be read. far are the codes of entries that name a function of
// another unit, as optimisation across units makes them: debug/dwarf does not
// tell such an offset from one within the unit.
func abbreviations(abbrev []byte, off uint64) (end uint64, far map[uint64]bool, ok bool) {
	if off > uint64(len(abbrev)) {
		return 0, nil, false
	}
	table := abbrev[off:]
	table = table[:min(len(table), maxAbbrev)]
	c := cursor{b: table}
	for code := c.uleb(); code != 0 && !c.bad; code = c.uleb() {
		c.uleb() // tag
		c.u8()   // has children
		for n := 0; !c.bad; n++ {
			attr, form := c.uleb(), c.uleb()
			if attr == 0 && form == 0 {
				break
			}
			if form == 0x21 { // implicit_const: a signed number of the same length
				c.uleb()
			}
			if form == 0x10 && (attr == 0x31 || attr == 0x47) { // ref_addr; abstract_origin, specification
				if far == nil {
					far = map[uint64]bool{}
				}
				far[code] = true
			}
			c.bad = c.bad || n >= maxAttributes
		}
	}
	return off + uint64(len(table)-len(c.b)), far, !c.bad
}

// shortStrings reports whether all strings of a table are of a bearable
// length.
func shortStrings(b []byte) bool {
	if len(b) > maxStrings {
		return false
	}
	for len(b) > maxString {
		n := bytes.LastIndexByte(b[:maxString], 0)
		if n < 0 {
			return false
		}
		b = b[n+1:]
	}
	return true
}
