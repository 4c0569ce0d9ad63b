package python

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"ingero/internal/proc"
)

var (
	interpreter = regexp.MustCompile(`^(lib)?python([0-9]+(\.[0-9]+)?[a-z]{0,2})?(\.so[0-9.]*)?( \(deleted\))?$`)
	minorInName = regexp.MustCompile(`python3\.([0-9]+)|\.cpython-3([0-9]+)-`)
)

// mapped is a file that a process maps, at its lowest address.
type mapped struct{ proc.Mapping }

// mappings returns the files that a process maps: those named like an
// interpreter first, then its program, which may have one inside. names are
// those of all files.
func mappings(pid int) (likely []mapped, names []string, err error) {
	exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	seen := map[string]bool{}
	var program []mapped
	for m, err := range (proc.FS{}).Mappings(pid) {
		switch {
		case err != nil:
			return nil, nil, err
		case !m.OfFile() || seen[m.Path]:
			continue
		case interpreter.MatchString(filepath.Base(m.Path)):
			likely = append(likely, mapped{m})
		case m.Path == exe:
			program = append(program, mapped{m})
		}
		seen[m.Path] = true
		names = append(names, m.Path)
	}
	return append(likely, program...), names, nil
}

// symbols are those of an interpreter, as addresses in the process; 0 is not
// there.
type symbols struct{ runtime, version, codeType uint64 }

const maxSymbols = 64 << 20 // bytes of a symbol table that is read

// symbols looks for CPython in a mapped file.
func (m mapped) symbols(pid int) (symbols, error) {
	f, err := proc.FS{}.OpenMapped(pid, m.Mapping)
	if err != nil {
		return symbols{}, err
	}
	defer f.Close()
	img, err := elf.NewFile(f)
	if err != nil || img.Class != elf.ELFCLASS64 || img.Data != elf.ELFDATA2LSB {
		return symbols{}, nil
	}
	bias, ok := m.bias(img)
	if !ok {
		return symbols{}, nil
	}
	var found symbols
	find := func(all []elf.Symbol) {
		for _, s := range all {
			if s.Section == elf.SHN_UNDEF || s.Value == 0 {
				continue
			}
			switch s.Name {
			case "_PyRuntime":
				found.runtime = s.Value + bias
			case "Py_Version":
				found.version = s.Value + bias
			case "PyCode_Type":
				found.codeType = s.Value + bias
			}
		}
	}
	for _, table := range []elf.SectionType{elf.SHT_DYNSYM, elf.SHT_SYMTAB} {
		s := img.SectionByType(table)
		if found.runtime != 0 || s == nil || s.Size > maxSymbols {
			continue
		}
		read := img.DynamicSymbols
		if table == elf.SHT_SYMTAB {
			read = img.Symbols
		}
		if all, err := read(); err == nil {
			find(all)
		}
	}
	if s := img.Section(".PyRuntime"); s != nil && found.runtime == 0 {
		found.runtime = s.Addr + bias
	}
	return found, nil
}

// bias is what the loader added to the file's addresses.
func (m mapped) bias(img *elf.File) (uint64, bool) {
	const page = 4<<10 - 1
	for _, p := range img.Progs {
		if p.Type == elf.PT_LOAD && p.Off&^page <= m.Offset && m.Offset < p.Off+p.Filesz {
			return m.Start - (p.Vaddr - p.Off + m.Offset), true
		}
	}
	return 0, false
}

// Find describes the interpreter of a process. The error wraps ErrNone if it
// has none; if it has one that is not known, the error says what and why.
func Find(pid int) (*Process, error) {
	fail := func(err error) (*Process, error) {
		return nil, fmt.Errorf("look for Python in process %d: %w", pid, err)
	}
	likely, names, err := mappings(pid)
	if err != nil {
		return fail(err)
	}
	for _, m := range likely {
		found, err := m.symbols(pid)
		if err != nil {
			return fail(err)
		}
		if found.runtime == 0 {
			continue
		}
		f, err := openMemory(pid)
		if err != nil {
			return fail(err)
		}
		p, err := describe(memory{f}, found, names)
		if err != nil {
			f.Close()
			return fail(err)
		}
		p.file = f
		return p, nil
	}
	for _, m := range likely {
		if interpreter.MatchString(filepath.Base(m.Path)) {
			return fail(fmt.Errorf("%s has no symbol _PyRuntime: Python before 3.7, or stripped of what it exports", m.Path))
		}
	}
	return fail(ErrNone)
}

// describe finds the version and with it the layout, and tries it out.
func describe(m memory, found symbols, names []string) (*Process, error) {
	p := &Process{mem: m, runtime: found.runtime, codeType: found.codeType, typeAt: typeAt, codes: map[uint64]*code{}}
	b := make([]byte, 8*debugWords)
	err := m.read(b, p.runtime)
	switch {
	case err != nil:
		err = fmt.Errorf("read _PyRuntime: %w", err)
	case string(b[:len(debugCookie)]) == debugCookie:
		p.layout, p.Version, err = fromDebug(b)
		if u64(b, 16) != 0 {
			p.typeAt = freeTypeAt
		}
	default:
		if p.Version, err = p.version(found, names); err == nil {
			p.layout, err = fromTable(p.Version)
		}
	}
	if err != nil {
		return nil, err
	}
	p.walk = p.layout.walk
	p.walk.Interpreters = p.runtime + p.layout.runtimeHead
	return p, p.try()
}

// version reads Py_Version, which is there since 3.11. 3.10 is known by the
// names of its files only; try finds out if they lie.
func (p *Process) version(found symbols, names []string) (Version, error) {
	if found.version != 0 {
		h, err := p.mem.word(found.version)
		return fromHex(h), err
	}
	for _, n := range names {
		if m := minorInName.FindStringSubmatch(filepath.Base(n)); m != nil {
			minor, _ := strconv.Atoi(m[1] + m[2])
			return Version{3, minor, -1}, nil
		}
	}
	return Version{}, errors.New("CPython of an unknown version: neither the symbol Py_Version nor a file name tells it")
}

// try follows the layout from the runtime to a thread and back. A process
// that has only begun has no interpreter yet, which is fine.
func (p *Process) try() error {
	w := p.walk
	interp, err := p.mem.word(w.Interpreters)
	if err != nil || interp == 0 {
		return err
	}
	var state, back, id uint64
	for range 3 { // a thread may end meanwhile
		if state, err = p.mem.word(interp + uint64(w.InterpThreads)); err != nil || state == 0 {
			continue
		}
		back, err = p.mem.word(state + p.layout.threadInterp)
		if err == nil && back == interp {
			id, err = p.mem.word(state + uint64(w.ThreadId))
		}
		if err == nil && id != 0 {
			return nil
		}
	}
	if state == 0 && err == nil {
		return nil // no thread yet
	}
	return fmt.Errorf("CPython %v whose memory is not laid out as that version's", p.Version)
}
