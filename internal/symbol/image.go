package symbol

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"math"
)

var (
	errNotELF  = errors.New("not an ELF file of this kind of machine")
	errCorrupt = errors.New("damaged ELF file")
)

// An image is an ELF file in memory, as a rule mapped. It is decoded in
// place: headers are read again whenever they are needed, so that the image
// of a library nobody asks about costs next to nothing. Nothing in the file
// is trusted.
type image struct {
	data  []byte
	loads []segment
	shoff uint64
	shnum uint32
	names []byte // of sections
}

// segment is a PT_LOAD program header.
type segment struct {
	off, vaddr, filesz, memsz uint64
	exec                      bool
}

type section struct {
	name                     uint32
	typ                      elf.SectionType
	flags                    elf.SectionFlag
	addr, off, size, entsize uint64
	link                     uint32
}

const (
	headerSize  = 64
	segmentSize = 56
	sectionSize = 64
	maxLoads    = 256
	maxSections = 1 << 17
)

var le = binary.LittleEndian

// cut returns n bytes at off, if there are as many.
func cut(b []byte, off, n uint64) ([]byte, bool) {
	if off > uint64(len(b)) || n > uint64(len(b))-off {
		return nil, false
	}
	return b[off : off+n : off+n], true
}

// parseImage reads the headers. A file without section headers, or with
// damaged ones, still has its segments.
func parseImage(data []byte) (*image, error) {
	h, ok := cut(data, 0, headerSize)
	if !ok || string(h[:4]) != elf.ELFMAG || elf.Class(h[4]) != elf.ELFCLASS64 || elf.Data(h[5]) != elf.ELFDATA2LSB {
		return nil, errNotELF
	}
	i := &image{data: data}
	phoff, phentsize, phnum := le.Uint64(h[32:]), uint64(le.Uint16(h[54:])), uint64(le.Uint16(h[56:]))
	for n := range phnum {
		p, ok := cut(data, phoff+n*phentsize, segmentSize)
		if !ok || phentsize < segmentSize || phoff > math.MaxUint64/2 {
			return nil, errCorrupt
		}
		if elf.ProgType(le.Uint32(p)) != elf.PT_LOAD || len(i.loads) == maxLoads {
			continue
		}
		s := segment{
			off: le.Uint64(p[8:]), vaddr: le.Uint64(p[16:]), filesz: le.Uint64(p[32:]), memsz: le.Uint64(p[40:]),
			exec: elf.ProgFlag(le.Uint32(p[4:]))&elf.PF_X != 0,
		}
		if s.off+s.filesz < s.off || s.vaddr+s.memsz < s.vaddr || s.vaddr+s.filesz < s.vaddr {
			continue
		}
		i.loads = append(i.loads, s)
	}
	if entsize := le.Uint16(h[58:]); entsize == sectionSize {
		i.findSections(le.Uint64(h[40:]), uint32(le.Uint16(h[60:])), uint32(le.Uint16(h[62:])))
	}
	return i, nil
}

// findSections checks the table of section headers. With more than 65,279
// sections the numbers stand in the first header.
func (i *image) findSections(off uint64, num, names uint32) {
	if off == 0 || off > uint64(len(i.data)) {
		return
	}
	i.shoff, i.shnum = off, 1
	if first, ok := i.section(0); ok && num == 0 {
		num = uint32(min(first.size, maxSections))
		if names == uint32(elf.SHN_XINDEX) {
			names = first.link
		}
	}
	i.shnum = uint32(min(uint64(num), maxSections, (uint64(len(i.data))-off)/sectionSize))
	if s, ok := i.section(names); ok && s.typ == elf.SHT_STRTAB && s.flags&elf.SHF_COMPRESSED == 0 {
		i.names, _ = i.content(s)
	}
}

func (i *image) section(n uint32) (s section, ok bool) {
	if n >= i.shnum {
		return s, false
	}
	b, ok := cut(i.data, i.shoff+uint64(n)*sectionSize, sectionSize)
	if !ok {
		return s, false
	}
	return section{
		name: le.Uint32(b), typ: elf.SectionType(le.Uint32(b[4:])), flags: elf.SectionFlag(le.Uint64(b[8:])),
		addr: le.Uint64(b[16:]), off: le.Uint64(b[24:]), size: le.Uint64(b[32:]),
		link: le.Uint32(b[40:]), entsize: le.Uint64(b[56:]),
	}, true
}

// find returns the first section that is accepted.
func (i *image) find(accept func(section) bool) (section, bool) {
	for n := range i.shnum {
		if s, ok := i.section(n); ok && accept(s) {
			return s, true
		}
	}
	return section{}, false
}

// named returns the first section with a name and content.
func (i *image) named(name string) (section, bool) {
	return i.find(func(s section) bool {
		return s.typ != elf.SHT_NOBITS && string(text(i.names, s.name, len(name)+1)) == name
	})
}

// content returns the bytes of a section as they are in the file.
func (i *image) content(s section) ([]byte, bool) {
	if s.typ == elf.SHT_NOBITS {
		return nil, false
	}
	return cut(i.data, s.off, s.size)
}

// text returns the string at an offset of a string table, cut after limit
// bytes; nil where there is none or where it does not end.
func text(table []byte, at uint32, limit int) []byte {
	if uint64(at) >= uint64(len(table)) {
		return nil
	}
	b := table[at:]
	b = b[:min(len(b), limit)]
	if n := bytes.IndexByte(b, 0); n >= 0 {
		return b[:n]
	}
	if len(b) == limit {
		return b
	}
	return nil
}

// address turns an offset in the file, known from a memory mapping of code,
// into the address that the file's own tables use. The kernel maps whole
// pages, so a page may belong to two segments; the one that names the byte
// wins, then the one that holds its page, code before data.
func (i *image) address(off uint64) (uint64, bool) {
	const page = 64 << 10 // the largest page; p_offset and p_vaddr are congruent to it or to a smaller one
	best, score := uint64(0), 0
	for _, s := range i.loads {
		lo, hi := s.off&^(page-1), (s.off+s.filesz+page-1)&^(page-1)
		if off < lo || off >= hi {
			continue
		}
		points := 1
		if s.exec {
			points += 2
		}
		if off >= s.off && off < s.off+s.filesz {
			points += 4
		}
		if points > score {
			best, score = off-s.off+s.vaddr, points
		}
	}
	return best, score > 0
}

// code returns the executable segment that holds an address.
func (i *image) code(addr uint64) (segment, bool) {
	for _, s := range i.loads {
		if s.exec && addr >= s.vaddr && addr-s.vaddr < s.memsz {
			return s, true
		}
	}
	return segment{}, false
}

// buildID returns the linker's fingerprint of the file, nil without one.
func (i *image) buildID() []byte {
	s, ok := i.find(func(s section) bool {
		return s.typ == elf.SHT_NOTE && string(text(i.names, s.name, 20)) == ".note.gnu.build-id"
	})
	b, ok2 := i.content(s)
	if !ok || !ok2 || len(b) < 16 {
		return nil
	}
	size, typ := le.Uint32(b[4:]), le.Uint32(b[8:])
	if le.Uint32(b) != 4 || typ != 3 || string(b[12:16]) != "GNU\x00" || size == 0 || size > 64 {
		return nil
	}
	id, _ := cut(b, 16, uint64(size))
	return id
}

// debugLink returns the name of the file with the debug information that was
// split off, and the CRC-32 of that file.
func (i *image) debugLink() (name string, sum uint32, ok bool) {
	s, ok := i.named(".gnu_debuglink")
	b, ok2 := i.content(s)
	if !ok || !ok2 || s.flags&elf.SHF_COMPRESSED != 0 {
		return "", 0, false
	}
	n := bytes.IndexByte(b[:min(len(b), 256)], 0)
	if n <= 0 || bytes.IndexByte(b[:n], '/') >= 0 || string(b[:n]) == "." || string(b[:n]) == ".." {
		return "", 0, false
	}
	at := (n + 4) &^ 3
	if at+4 > len(b) {
		return "", 0, false
	}
	return string(b[:n]), le.Uint32(b[at:]), true
}
