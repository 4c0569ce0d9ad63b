package proc

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// layout describes an ELF file made for a test.
type layout struct {
	machine elf.Machine // 0: this machine's
	funcs   []testFunc
	hash    elf.DynTag // DT_HASH or DT_GNU_HASH: a library; 0: a program with a linker's table only
	needed  []string
	runpath string
}

type testFunc struct {
	name string
	code []byte
}

const testBase = 0x400000 // addresses differ from file offsets

var le = binary.LittleEndian

// build writes the file; code starts at its first function's offset, which
// is returned per name.
func (l layout) build(t testing.TB, path string) map[string]uint64 {
	t.Helper()
	var body bytes.Buffer // from offset 0x1000
	at := map[string]uint64{}
	here := func() uint64 { return 0x1000 + uint64(body.Len()) }
	align := func() {
		for body.Len()%16 != 0 {
			body.WriteByte(0xcc)
		}
	}
	str := []byte{0}
	intern := func(s string) uint64 {
		str = append(append(str, s...), 0)
		return uint64(len(str) - len(s) - 1)
	}
	syms := make([]byte, symSize)
	for _, f := range l.funcs {
		align()
		at[f.name] = here()
		s := make([]byte, symSize)
		le.PutUint32(s, uint32(intern(f.name)))
		s[4] = byte(elf.STB_GLOBAL)<<4 | byte(elf.STT_FUNC)
		le.PutUint16(s[6:], 1)
		le.PutUint64(s[8:], testBase+here())
		le.PutUint64(s[16:], uint64(len(f.code)))
		syms = append(syms, s...)
		body.Write(f.code)
	}
	align()
	symAt := here()
	body.Write(syms)
	var dyn []uint64
	tag := func(t elf.DynTag, v uint64) { dyn = append(dyn, uint64(t), v) }
	for _, n := range l.needed {
		tag(elf.DT_NEEDED, intern(n))
	}
	if l.runpath != "" {
		tag(elf.DT_RUNPATH, intern(l.runpath))
	}
	strAt := here()
	body.Write(str)
	align()
	if l.hash != 0 {
		tag(elf.DT_SYMTAB, testBase+symAt)
		tag(l.hash, testBase+here())
		body.Write(l.table())
		align()
	}
	if l.hash != 0 || len(l.needed) > 0 {
		tag(elf.DT_STRTAB, testBase+strAt)
		tag(elf.DT_STRSZ, uint64(len(str)))
		tag(elf.DT_NULL, 0)
	}
	dynAt := here()
	binary.Write(&body, le, dyn)
	align()
	l.write(t, path, body.Bytes(), [][2]uint64{{symAt, uint64(len(syms))}, {strAt, uint64(len(str))}, {dynAt, uint64(8 * len(dyn))}})
	return at
}

// table is the hash table, with a single bucket that chains all symbols.
func (l layout) table() []byte {
	n := uint32(len(l.funcs))
	var b []byte
	u32 := func(v ...uint32) {
		for _, x := range v {
			b = le.AppendUint32(b, x)
		}
	}
	if l.hash == elf.DT_HASH {
		u32(1, n+1, min(1, n), 0)
		for i := range n {
			u32((i + 2) % (n + 1)) // the last one ends the chain
		}
		return b
	}
	u32(1, 1, 1, 0)
	b = le.AppendUint64(b, ^uint64(0)) // every name may be there
	u32(min(1, n))
	for i, f := range l.funcs {
		h := uint32(5381)
		for _, c := range []byte(f.name) {
			h = h*33 + uint32(c)
		}
		h &^= 1
		if i == len(l.funcs)-1 {
			h |= 1
		}
		u32(h)
	}
	return b
}

// write puts headers before the body: where is {symbols, strings, dynamic}.
func (l layout) write(t testing.TB, path string, body []byte, where [][2]uint64) {
	t.Helper()
	m := l.machine
	if m == 0 {
		m = hostMachine
	}
	size := 0x1000 + uint64(len(body))
	h := elf.Header64{
		Type: uint16(elf.ET_DYN), Machine: uint16(m), Version: 1,
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 2,
		Shoff: 64 + 2*56, Shentsize: 64,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	progs := []elf.Prog64{
		{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: testBase, Filesz: size, Memsz: size, Align: 0x1000},
		{Type: uint32(elf.PT_DYNAMIC), Flags: uint32(elf.PF_R), Off: where[2][0], Vaddr: testBase + where[2][0], Filesz: where[2][1]},
	}
	var sections []elf.Section64
	if l.hash == 0 {
		h.Shnum = 3
		sections = []elf.Section64{
			{},
			{Type: uint32(elf.SHT_SYMTAB), Off: where[0][0], Size: where[0][1], Link: 2, Entsize: symSize},
			{Type: uint32(elf.SHT_STRTAB), Off: where[1][0], Size: where[1][1]},
		}
		h.Shstrndx = 2
	} else {
		h.Shoff, h.Shentsize = 0, 0 // the loader needs no sections, nor do we
	}
	var out bytes.Buffer
	for _, v := range []any{h, progs, sections} {
		if err := binary.Write(&out, le, v); err != nil {
			t.Fatal(err)
		}
	}
	out.Write(make([]byte, 0x1000-out.Len()))
	out.Write(body)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o755); err != nil {
		t.Fatal(err)
	}
}
