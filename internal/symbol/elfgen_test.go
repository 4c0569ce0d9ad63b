package symbol

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
)

// elfFile writes an ELF file for tests: one segment of code, and sections.
type elfFile struct {
	vaddr, textOff, textSize uint64
	sections                 []elfSection
}

type elfSection struct {
	name string
	elf.Section64
	data []byte
}

func put(w *bytes.Buffer, v any) { binary.Write(w, le, v) }

// bytes lays the file out: headers, the sections' data, their headers.
func (f *elfFile) bytes() []byte {
	all := append([]elfSection{{}, {
		name:      ".text",
		Section64: elf.Section64{Type: uint32(elf.SHT_PROGBITS), Flags: uint64(elf.SHF_ALLOC | elf.SHF_EXECINSTR), Addr: f.vaddr, Off: f.textOff, Size: f.textSize},
	}}, f.sections...)
	names := elfSection{name: ".shstrtab", Section64: elf.Section64{Type: uint32(elf.SHT_STRTAB)}, data: []byte{0}}
	all = append(all, names)
	last := &all[len(all)-1]
	for i := range all[1:] {
		all[i+1].Name = uint32(len(last.data))
		last.data = append(append(last.data, all[i+1].name...), 0)
	}
	off := max(uint64(headerSize+segmentSize), f.textOff+f.textSize)
	for i := range all {
		if s := &all[i]; len(s.data) > 0 {
			s.Off, s.Size = off, uint64(len(s.data))
			off += s.Size
		}
	}
	var w bytes.Buffer
	h := elf.Header64{
		Type: uint16(elf.ET_DYN), Machine: uint16(elf.EM_X86_64), Version: 1, Phoff: headerSize, Shoff: off,
		Ehsize: headerSize, Phentsize: segmentSize, Phnum: 1, Shentsize: sectionSize, Shnum: uint16(len(all)), Shstrndx: uint16(len(all) - 1),
	}
	copy(h.Ident[:], elf.ELFMAG+"\x02\x01\x01")
	put(&w, h)
	put(&w, elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Off: f.textOff, Vaddr: f.vaddr,
		Filesz: f.textSize, Memsz: f.textSize, Align: 4096,
	})
	w.Write(make([]byte, max(0, int(f.textOff+f.textSize)-w.Len())))
	for _, s := range all {
		w.Write(s.data)
	}
	for _, s := range all {
		put(&w, s.Section64)
	}
	return w.Bytes()
}

// symbols adds a symbol table; its strings come right after it.
func (f *elfFile) symbols(typ elf.SectionType, syms []elf.Sym64, strs []byte) {
	var w bytes.Buffer
	put(&w, syms)
	f.sections = append(f.sections,
		elfSection{name: ".symtab", Section64: elf.Section64{Type: uint32(typ), Link: uint32(len(f.sections) + 3), Entsize: symbolSize}, data: w.Bytes()},
		elfSection{name: ".strtab", Section64: elf.Section64{Type: uint32(elf.SHT_STRTAB)}, data: strs})
}

func sym(name uint32, typ elf.SymType, bind elf.SymBind, addr, size uint64) elf.Sym64 {
	return elf.Sym64{Name: name, Info: elf.ST_INFO(bind, typ), Shndx: 1, Value: addr, Size: size}
}

// library is a shared object with n functions of 16 bytes each, with names as
// those of C++ code.
func library(n int) []byte {
	f := elfFile{vaddr: 0x10000, textOff: 0x1000, textSize: uint64(n) * 16}
	strs, syms := []byte{0}, make([]elf.Sym64, 1, n+1)
	for i := range n {
		syms = append(syms, sym(uint32(len(strs)), elf.STT_FUNC, elf.STB_GLOBAL, f.vaddr+uint64(i)*16, 16))
		strs = fmt.Appendf(strs, "_ZN2at6native%d%sERKNS_6TensorESt8optionalIlEb\x00", len(functionName(i)), functionName(i))
	}
	f.symbols(elf.SHT_SYMTAB, syms, strs)
	return f.bytes()
}

func functionName(i int) string { return fmt.Sprintf("kernel_number_%d", i) }
