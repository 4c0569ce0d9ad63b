package symbol

import (
	"bytes"
	"debug/elf"
	"sort"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A table finds the function at an address. It keeps four bytes a function:
// the number of its symbol, in the order of addresses. Addresses and names
// stay in the mapped file.
type table struct {
	img   *image    // whose addresses these are
	from  []symbols // at most maxSources
	order []uint32  // source<<indexBits | index, by address; one per address
	base  uint64    // lowest address of code
}

// symbols is one symbol table of a file with its names.
type symbols struct {
	img        *image
	syms, strs []byte
}

const (
	symbolSize = 24
	maxSources = 4
	indexBits  = 30
	maxSymbols = 1 << 22 // functions of one file; 64 MB while they are sorted, 16 MB after
	maxIndex   = 1 << 25 // symbols of all kinds looked at
	maxName    = 8 << 10
	maxAliases = 64 // names of one address that are compared
	maxBack    = 64 // how far back an enclosing function is looked for
)

// newTable reads the symbols of a file and of the file that its debug
// information was split off to, which may be nil.
func newTable(img, debug *image) *table {
	t := &table{img: img}
	for _, i := range []*image{img, debug} {
		if i == nil {
			continue
		}
		for _, typ := range []elf.SectionType{elf.SHT_SYMTAB, elf.SHT_DYNSYM} {
			if s, ok := i.symbols(typ); ok {
				t.from = append(t.from, s)
			}
		}
	}
	first := true
	for _, s := range img.loads {
		if s.exec && (first || s.vaddr < t.base) {
			t.base, first = s.vaddr, false
		}
	}
	n := t.each(func(uint64) {})
	if n == 0 {
		return t
	}
	keys, free := scratch(2 * n)
	defer free()
	keys, spare := keys[:n], keys[n:]
	at := 0
	t.each(func(k uint64) {
		if at < n { // the file may change while it is read
			keys[at] = k
			at++
		}
	})
	t.keep(sortKeys(keys[:at], spare[:at]))
	return t
}

func (i *image) symbols(typ elf.SectionType) (symbols, bool) {
	s, ok := i.find(func(s section) bool { return s.typ == typ })
	str, ok2 := i.section(s.link)
	if !ok || !ok2 || s.entsize != symbolSize || (s.flags|str.flags)&elf.SHF_COMPRESSED != 0 || str.typ != elf.SHT_STRTAB {
		return symbols{}, false
	}
	a, ok := i.content(s)
	b, ok2 := i.content(str)
	return symbols{i, a, b}, ok && ok2
}

// each calls f for every function with a key that sorts by address: the
// distance from base in the upper half, the symbol in the lower one.
func (t *table) each(f func(key uint64)) int {
	count := 0
	for src, s := range t.from {
		n := min(len(s.syms)/symbolSize, maxIndex)
		var in segment // the last one matched: nearly all symbols lie in one
		for i := range n {
			b := s.syms[i*symbolSize:][:symbolSize]
			typ := elf.ST_TYPE(b[4])
			if typ != elf.STT_FUNC && typ != elf.STT_NOTYPE && typ != elf.STT_GNU_IFUNC {
				continue
			}
			addr := le.Uint64(b[8:])
			if addr-in.vaddr >= in.memsz {
				seg, ok := t.img.code(addr)
				if !ok {
					continue
				}
				in = seg
			}
			if addr-t.base > 1<<32-1 || !s.function(b) {
				continue
			}
			if count++; count > maxSymbols {
				return maxSymbols
			}
			f((addr-t.base)<<32 | uint64(src)<<indexBits | uint64(i))
		}
	}
	return count
}

// function reports whether a symbol with an address in code is worth a name.
// Labels of hand-written assembly have no type; so have marks of the linker
// and of compilers, which are left out.
func (s symbols) function(b []byte) bool {
	index := elf.SectionIndex(le.Uint16(b[6:]))
	if index == elf.SHN_UNDEF || index == elf.SHN_ABS || index == elf.SHN_COMMON {
		return false
	}
	if elf.ST_TYPE(b[4]) != elf.STT_NOTYPE {
		return true
	}
	if sec, ok := s.img.section(uint32(index)); ok && sec.flags&elf.SHF_EXECINSTR == 0 {
		return false
	}
	name := text(s.strs, le.Uint32(b), 16)
	return len(name) > 0 && name[0] != '$' && !bytes.HasPrefix(name, []byte(".L")) && !bytes.HasPrefix(name, []byte(".annobin"))
}

func (t *table) symbol(ref uint32) (s symbols, b []byte) {
	s = t.from[ref>>indexBits]
	return s, s.syms[int(ref&(1<<indexBits-1))*symbolSize:][:symbolSize]
}

func (t *table) name(ref uint32, limit int) []byte {
	s, b := t.symbol(ref)
	name := text(s.strs, le.Uint32(b), limit)
	if at := bytes.IndexByte(name, '@'); at > 0 { // a version, as memcpy@@GLIBC_2.14
		name = name[:at]
	}
	return name
}

// keep fills order from sorted keys: one symbol for each address, and no
// label without a size inside a function that has one.
func (t *table) keep(keys []uint64) {
	n, end := 0, uint64(0)
	for i := 0; i < len(keys); {
		best := keys[i]
		for first := i; i < len(keys) && keys[i]>>32 == best>>32; i++ {
			if i-first < maxAliases && t.better(uint32(keys[i]), uint32(best)) {
				best = keys[i]
			}
		}
		_, b := t.symbol(uint32(best))
		if size := le.Uint64(b[16:]); size > 0 {
			end = max(end, best>>32+min(size, 1<<32))
		} else if best>>32 < end {
			continue
		}
		keys[n] = best
		n++
	}
	t.order = make([]uint32, n)
	for i, k := range keys[:n] {
		t.order[i] = uint32(k)
	}
}

// better decides between names of one address: a function before a label,
// what others can call before what is local, a name with a size before one
// without, and then the name a user would write: write, not __write.
func (t *table) better(a, b uint32) bool {
	ka, kb := t.rank(a), t.rank(b)
	if ka != kb {
		return ka > kb
	}
	na, nb := t.name(a, 64), t.name(b, 64)
	if ua, ub := underscores(na), underscores(nb); ua != ub {
		return ua < ub
	}
	if len(na) != len(nb) {
		return len(na) < len(nb)
	}
	return bytes.Compare(na, nb) < 0
}

func (t *table) rank(ref uint32) (r int) {
	_, b := t.symbol(ref)
	if elf.ST_TYPE(b[4]) != elf.STT_NOTYPE {
		r += 4
	}
	if elf.ST_BIND(b[4]) != elf.STB_LOCAL {
		r += 2
	}
	if le.Uint64(b[16:]) != 0 {
		r++
	}
	return r
}

func underscores(name []byte) int { return len(name) - len(bytes.TrimLeft(name, "_")) }

// find returns the function that holds an address.
func (t *table) find(addr uint64) (ref uint32, start uint64, ok bool) {
	i := sort.Search(len(t.order), func(i int) bool {
		_, b := t.symbol(t.order[i])
		return le.Uint64(b[8:]) > addr
	})
	for n := 0; i > 0 && n < maxBack; n++ {
		i--
		s, b := t.symbol(t.order[i])
		start, size := le.Uint64(b[8:]), le.Uint64(b[16:])
		if start > addr {
			return 0, 0, false // the file has changed
		}
		if size > 0 && addr-start < size {
			return t.order[i], start, true
		}
		if size == 0 {
			// It ends where the next symbol or its section does.
			sec, ok := s.img.section(uint32(le.Uint16(b[6:])))
			if n > 0 || ok && addr-sec.addr >= sec.size {
				return 0, 0, false
			}
			return t.order[i], start, true
		}
	}
	return 0, 0, false
}

func (t *table) bytes() int64 { return int64(4 * cap(t.order)) }

// scratch returns memory outside the heap, so that sorting a large table
// does not leave the heap large.
func scratch(n int) ([]uint64, func()) {
	b, err := unix.Mmap(-1, 0, 8*n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return make([]uint64, n), func() {}
	}
	return unsafe.Slice((*uint64)(unsafe.Pointer(&b[0])), n), func() { unix.Munmap(b) }
}

// sortKeys sorts by the upper 32 bits, equal ones staying in order: a radix
// sort, ten times as fast as slices.Sort. It returns one of its arguments.
func sortKeys(keys, spare []uint64) []uint64 {
	const digit, buckets = 11, 1 << 11
	for shift := 32; shift < 64; shift += digit {
		var at [buckets]int
		for _, k := range keys {
			at[k>>shift&(buckets-1)]++
		}
		sum := 0
		for i, n := range at {
			at[i] = sum
			sum += n
		}
		for _, k := range keys {
			d := k >> shift & (buckets - 1)
			spare[at[d]] = k
			at[d]++
		}
		keys, spare = spare, keys
	}
	return keys
}
