package proc

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
)

// image is an ELF file opened to look up a few functions by name. It reads
// only the pages a lookup needs, and trusts nothing in the file.
type image struct {
	f     *elf.File
	r     *pages
	file  *os.File
	order binary.ByteOrder
	dyn   map[elf.DynTag]uint64
	needs []uint64 // DT_NEEDED: offsets into the string table
}

var (
	errNotELF  = errors.New("not an ELF file")
	errCorrupt = errors.New("damaged ELF file")
)

func openImage(path string) (*image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	// Only regular files: reading a device or a pipe may do harm or block.
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(errNotELF, err)
	}
	img, err := newImage(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	img.file = f
	return img, nil
}

func newImage(r io.ReaderAt) (*image, error) {
	img := &image{r: &pages{r: r, held: map[int64][]byte{}}}
	magic := make([]byte, len(elf.ELFMAG))
	if _, err := img.r.ReadAt(magic, 0); err != nil || string(magic) != elf.ELFMAG {
		return nil, errNotELF
	}
	f, err := elf.NewFile(img.r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	img.f, img.order = f, f.ByteOrder
	if f.Class == elf.ELFCLASS64 {
		err = img.readDynamic()
	}
	return img, err
}

func (i *image) Close() {
	if i.file != nil {
		i.file.Close()
	}
}

// native reports whether this machine runs the file's code.
func (i *image) native() bool {
	want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]
	return i.f.Class == elf.ELFCLASS64 && i.f.Machine == want
}

// readDynamic reads the table that the loader uses. Section headers may be
// stripped, this table is not.
func (i *image) readDynamic() error {
	i.dyn = map[elf.DynTag]uint64{}
	for _, p := range i.f.Progs {
		if p.Type != elf.PT_DYNAMIC {
			continue
		}
		b, err := i.bytes(p.Off, min(p.Filesz, 64<<10))
		if err != nil {
			return err
		}
		for ; len(b) >= 16; b = b[16:] {
			tag, val := elf.DynTag(i.order.Uint64(b)), i.order.Uint64(b[8:])
			switch tag {
			case elf.DT_NULL:
				return nil
			case elf.DT_NEEDED:
				i.needs = append(i.needs, val)
			default:
				i.dyn[tag] = val
			}
		}
	}
	return nil
}

// offset turns an address into a file offset.
func (i *image) offset(addr uint64) (uint64, bool) {
	for _, p := range i.f.Progs {
		if p.Type == elf.PT_LOAD && addr >= p.Vaddr && addr-p.Vaddr < p.Filesz {
			return addr - p.Vaddr + p.Off, true
		}
	}
	return 0, false
}

// codeOffset is offset for addresses of code only.
func (i *image) codeOffset(addr uint64) (uint64, bool) {
	for _, p := range i.f.Progs {
		if p.Type == elf.PT_LOAD && p.Flags&elf.PF_X != 0 && addr >= p.Vaddr && addr-p.Vaddr < p.Filesz {
			return addr - p.Vaddr + p.Off, true
		}
	}
	return 0, false
}

// table returns the file offset of what a dynamic tag points to.
func (i *image) table(tag elf.DynTag) (uint64, bool) {
	addr, ok := i.dyn[tag]
	if !ok {
		return 0, false
	}
	return i.offset(addr)
}

// bytes reads n bytes; callers bound n.
func (i *image) bytes(off, n uint64) ([]byte, error) {
	b := make([]byte, n)
	if _, err := i.r.ReadAt(b, int64(off)); err != nil {
		return nil, fmt.Errorf("%w: read %d bytes at %#x: %w", errCorrupt, n, off, err)
	}
	return b, nil
}

func (i *image) u32(off uint64) (uint32, error) {
	var b [4]byte
	if _, err := i.r.ReadAt(b[:], int64(off)); err != nil {
		return 0, fmt.Errorf("%w: read at %#x: %w", errCorrupt, off, err)
	}
	return i.order.Uint32(b[:]), nil
}

// text returns the string at an offset of the dynamic string table.
func (i *image) text(at uint64) string {
	base, ok := i.table(elf.DT_STRTAB)
	if !ok || at >= i.dyn[elf.DT_STRSZ] {
		return ""
	}
	b := make([]byte, min(4096, i.dyn[elf.DT_STRSZ]-at))
	n, _ := i.r.ReadAt(b, int64(base+at))
	s, _, ok := bytes.Cut(b[:n], []byte{0})
	if !ok {
		return ""
	}
	return string(s)
}

// needed returns the names of the libraries the loader will look for.
func (i *image) needed() []string {
	var names []string
	for _, at := range i.needs {
		if s := i.text(at); s != "" {
			names = append(names, s)
		}
	}
	return names
}

// searchPath returns the folders named by a tag, DT_RPATH or DT_RUNPATH,
// with $ORIGIN replaced by dir.
func (i *image) searchPath(tag elf.DynTag, dir string) []string {
	at, ok := i.dyn[tag]
	if !ok {
		return nil
	}
	var dirs []string
	for d := range strings.SplitSeq(i.text(at), ":") {
		if d != "" {
			dirs = append(dirs, strings.NewReplacer("$ORIGIN", dir, "${ORIGIN}", dir).Replace(d))
		}
	}
	return dirs
}
