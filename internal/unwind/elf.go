package unwind

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Errors of Read. Files without a table are walked by frame pointers.
var (
	ErrNone    = errors.New("no unwind tables")
	ErrMachine = errors.New("unwind tables of another machine")
	errCorrupt = errors.New("damaged unwind tables")
)

// Bounds of what one file may cost; the largest known, libtorch_cuda, is well
// below all of them.
const (
	maxFrameBytes = 64 << 20
	maxText       = 2 << 30
	maxRows       = 6 << 20
)

// Read reads the table of a file of the given size. It trusts nothing in the
// file.
func Read(r io.ReaderAt, size int64) (*Table, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	if f.Class != elf.ELFCLASS64 || f.Machine != elf.EM_X86_64 || f.ByteOrder != binary.LittleEndian {
		return nil, ErrMachine
	}
	t := &Table{}
	if err := t.segments(f, size); err != nil {
		return nil, err
	}
	addr, n, err := frameSection(f)
	if err != nil {
		return nil, err
	}
	if n > maxFrameBytes || n > uint64(size) {
		return nil, fmt.Errorf("%w: %d bytes of them", errCorrupt, n)
	}
	b := make([]byte, n)
	if _, err := readAddr(f, addr, b); err != nil {
		return nil, err
	}
	return t, t.parse(b, addr)
}

// segments finds the code.
func (t *Table) segments(f *elf.File, size int64) error {
	var end uint64
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD || p.Flags&elf.PF_X == 0 || p.Filesz == 0 {
			continue
		}
		if p.Off > uint64(size) || p.Filesz > uint64(size)-p.Off || p.Vaddr > 1<<62 {
			return fmt.Errorf("%w: code beyond the end of the file", errCorrupt)
		}
		if len(t.Segments) == 0 || p.Vaddr < t.Base {
			t.Base = p.Vaddr
		}
		end = max(end, p.Vaddr+p.Filesz)
		t.Segments = append(t.Segments, Segment{Offset: p.Off, Addr: p.Vaddr, Size: p.Filesz})
	}
	if len(t.Segments) == 0 {
		return fmt.Errorf("%w: no code", ErrNone)
	}
	base := t.Base &^ (pageSize - 1) // the loader maps whole pages
	if end-base > maxText {
		return fmt.Errorf("%w: %d bytes of code", errCorrupt, end-base)
	}
	t.Base, t.Size = base, uint32(end-base)
	return nil
}

// frameSection finds .eh_frame: by its section, or, in files without
// sections, by the header the run-time library uses.
func frameSection(f *elf.File) (addr, size uint64, err error) {
	if s := f.Section(".eh_frame"); s != nil && s.Type != elf.SHT_NOBITS && s.Size > 0 {
		return s.Addr, s.Size, nil
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_GNU_EH_FRAME {
			continue
		}
		b := make([]byte, 16)
		if n, err := readAddr(f, p.Vaddr, b); err != nil && n < 8 {
			return 0, 0, err
		}
		if b[0] != 1 {
			return 0, 0, fmt.Errorf("%w: header of version %d", errCorrupt, b[0])
		}
		r := reader{b: b[4:], addr: p.Vaddr + 4}
		addr := r.pointer(b[1], p.Vaddr)
		if r.bad {
			return 0, 0, fmt.Errorf("%w: header", errCorrupt)
		}
		for _, l := range f.Progs {
			if l.Type == elf.PT_LOAD && addr >= l.Vaddr && addr-l.Vaddr < l.Filesz {
				return addr, l.Filesz - (addr - l.Vaddr), nil // ends with a zero length
			}
		}
		return 0, 0, fmt.Errorf("%w: header points nowhere", errCorrupt)
	}
	return 0, 0, ErrNone
}

func readAddr(f *elf.File, addr uint64, b []byte) (int, error) {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && addr >= p.Vaddr && addr-p.Vaddr < p.Filesz {
			n, err := p.ReadAt(b, int64(addr-p.Vaddr))
			if err != nil {
				err = fmt.Errorf("%w: read %d bytes at %#x: %w", errCorrupt, len(b), addr, err)
			}
			return n, err
		}
	}
	return 0, fmt.Errorf("%w: nothing at %#x", errCorrupt, addr)
}
