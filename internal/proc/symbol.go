package proc

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
)

// function is where a named function starts.
type function struct {
	addr uint64
	size uint64 // 0 when the file does not say
}

const (
	symSize  = 24      // of Elf64_Sym
	maxChain = 1 << 12 // longest hash chain we follow; real ones have a few links
	maxFound = 1 << 12 // most places of wanted names in a string table
	maxName  = 128     // longer than any traced name
)

// functions returns the functions called by the given names: those the
// loader can find and, if whole is set, those only the linker's symbol table
// knows (a runtime linked statically). A name may stand for several
// addresses, as one per version.
func (i *image) functions(names []string, whole bool) (map[string][]function, error) {
	found := map[string][]function{}
	if err := i.exported(names, found); err != nil {
		return nil, err
	}
	if whole {
		if err := i.local(names, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func add(found map[string][]function, name string, f function) {
	for _, old := range found[name] {
		if old.addr == f.addr {
			return
		}
	}
	found[name] = append(found[name], f)
}

// asFunction decodes an Elf64_Sym; ok is false for anything but a function
// defined here. IFUNCs are no functions: they choose one.
func (i *image) asFunction(b []byte) (f function, name uint32, ok bool) {
	name = i.order.Uint32(b)
	typ := elf.ST_TYPE(b[4])
	shndx := elf.SectionIndex(i.order.Uint16(b[6:]))
	f = function{i.order.Uint64(b[8:]), i.order.Uint64(b[16:])}
	return f, name, typ == elf.STT_FUNC && shndx != elf.SHN_UNDEF && f.addr != 0
}

// exported looks the names up in the loader's hash table.
func (i *image) exported(names []string, found map[string][]function) error {
	symtab, ok1 := i.table(elf.DT_SYMTAB)
	strtab, ok2 := i.table(elf.DT_STRTAB)
	if !ok1 || !ok2 {
		return nil // static, exports nothing
	}
	d := dynamic{image: i, symtab: symtab, strtab: strtab}
	walk := d.walkSysV
	base, ok := i.table(elf.DT_GNU_HASH)
	if ok {
		walk = d.walkGNU
	} else if base, ok = i.table(elf.DT_HASH); !ok {
		return nil
	}
	for _, n := range names {
		err := walk(base, n, func(f function) { add(found, n, f) })
		if err != nil {
			return err
		}
	}
	return nil
}

type dynamic struct {
	*image
	symtab, strtab uint64
}

// check calls hit if symbol number n is a function with this name.
func (d dynamic) check(n uint32, name string, hit func(function)) error {
	var b [symSize]byte
	if _, err := d.r.ReadAt(b[:], int64(d.symtab+uint64(n)*symSize)); err != nil {
		return fmt.Errorf("%w: read symbol %d: %w", errCorrupt, n, err)
	}
	f, at, ok := d.asFunction(b[:])
	if !ok || len(name) >= maxName {
		return nil
	}
	var have [maxName]byte
	text := have[:len(name)+1]
	if _, err := d.r.ReadAt(text, int64(d.strtab+uint64(at))); err == nil && string(text[:len(name)]) == name && text[len(name)] == 0 {
		hit(f)
	}
	return nil
}

// walkGNU follows .gnu.hash; see https://flapenguin.me/elf-dt-gnu-hash.
func (d dynamic) walkGNU(base uint64, name string, hit func(function)) error {
	head, err := d.bytes(base, 16)
	if err != nil {
		return err
	}
	buckets, first := d.order.Uint32(head), d.order.Uint32(head[4:])
	words, shift := d.order.Uint32(head[8:]), d.order.Uint32(head[12:])
	if buckets == 0 || words == 0 || words&(words-1) != 0 {
		return fmt.Errorf("%w: hash table of %d buckets, %d words", errCorrupt, buckets, words)
	}
	h := uint32(5381)
	for _, c := range []byte(name) {
		h = h*33 + uint32(c)
	}
	bloom, err := d.bytes(base+16+8*uint64(h/64%words), 8)
	if err != nil {
		return err
	}
	mask := uint64(1)<<(h%64) | uint64(1)<<(h>>(shift&31)%64)
	if d.order.Uint64(bloom)&mask != mask {
		return nil
	}
	table := base + 16 + 8*uint64(words)
	n, err := d.u32(table + 4*uint64(h%buckets))
	if err != nil || n < first {
		return err
	}
	chain := table + 4*uint64(buckets)
	for range maxChain {
		v, err := d.u32(chain + 4*uint64(n-first))
		if err != nil {
			return err
		}
		if v|1 == h|1 {
			if err := d.check(n, name, hit); err != nil {
				return err
			}
		}
		if v&1 != 0 {
			return nil
		}
		n++
	}
	return fmt.Errorf("%w: endless hash chain", errCorrupt)
}

// walkSysV follows .hash, the older table: bucket and chain counts, then one
// number each.
func (d dynamic) walkSysV(base uint64, name string, hit func(function)) error {
	buckets, err := d.u32(base)
	if err != nil || buckets == 0 {
		return err
	}
	var h uint32
	for _, c := range []byte(name) {
		h = h<<4 + uint32(c)
		h ^= h >> 24 & 0xf0
	}
	h &= 0x0fffffff
	n, err := d.u32(base + 8 + 4*uint64(h%buckets))
	for steps := 0; err == nil && n != 0; steps++ {
		if steps == maxChain {
			return fmt.Errorf("%w: endless hash chain", errCorrupt)
		}
		if err = d.check(n, name, hit); err == nil {
			n, err = d.u32(base + 8 + 4*uint64(buckets) + 4*uint64(n))
		}
	}
	return err
}

// local looks the names up in .symtab, which has no hash table and may have
// a million entries. So the string table is searched first, and symbols are
// compared by where their name stands.
func (i *image) local(names []string, found map[string][]function) error {
	s := i.f.SectionByType(elf.SHT_SYMTAB)
	if s == nil || s.Entsize != symSize || int(s.Link) >= len(i.f.Sections) {
		return nil
	}
	str := i.f.Sections[s.Link]
	if s.Flags&elf.SHF_COMPRESSED != 0 || str.Flags&elf.SHF_COMPRESSED != 0 || str.Type != elf.SHT_STRTAB {
		return nil
	}
	wanted := make(map[string]bool, len(names))
	for _, n := range names {
		wanted[n] = true
	}
	at, err := i.places(str.Offset, str.FileSize, wanted)
	if err != nil || len(at) == 0 {
		return err
	}
	return i.stream(s.Offset, s.FileSize/symSize*symSize, 0, func(b []byte, _ uint64) error {
		for ; len(b) >= symSize; b = b[symSize:] {
			if name, ok := at[i.order.Uint32(b)]; ok {
				if f, _, ok := i.asFunction(b); ok {
					add(found, name, f)
				}
			}
		}
		return nil
	})
}

// places returns where in a string table wanted names stand. A name may be
// the tail of another one: linkers share them.
func (i *image) places(off, size uint64, wanted map[string]bool) (map[uint32]string, error) {
	at := map[uint32]string{}
	starts := map[string]bool{} // what to search for: a few, as "cu"
	for n := range wanted {
		starts[n[:min(2, len(n))]] = true
	}
	err := i.stream(off, size, maxName, func(b []byte, base uint64) error {
		for start := range starts {
			for p := bytes.Index(b, []byte(start)); p >= 0; {
				name, _, ok := bytes.Cut(b[p:min(p+maxName, len(b))], []byte{0})
				if ok && wanted[string(name)] {
					at[uint32(base)+uint32(p)] = string(name)
				}
				if len(at) > maxFound {
					return fmt.Errorf("%w: more than %d names", errCorrupt, maxFound)
				}
				next := bytes.Index(b[p+1:], []byte(start))
				if next < 0 {
					break
				}
				p += 1 + next
			}
		}
		return nil
	})
	return at, err
}

// stream passes a part of the file to f in blocks that are whole multiples
// of a symbol; each repeats the last overlap bytes of the one before. base
// is the block's distance from off.
func (i *image) stream(off, size uint64, overlap int, f func(b []byte, base uint64) error) error {
	const block = symSize << 14
	buf := make([]byte, min(block, size))
	for base := uint64(0); base < size; {
		n, err := i.r.r.ReadAt(buf[:min(uint64(len(buf)), size-base)], int64(off+base))
		if err != nil && err != io.EOF {
			return fmt.Errorf("%w: %w", errCorrupt, err)
		}
		if err := f(buf[:n], base); err != nil {
			return err
		}
		if n < len(buf) || base+uint64(n) == size {
			return nil
		}
		base += uint64(n - overlap)
	}
	return nil
}
