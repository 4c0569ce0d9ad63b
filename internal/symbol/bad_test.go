package symbol

import (
	"bytes"
	"compress/zlib"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"ingero/internal/event"
)

// small is a file with a bit of everything.
func small() *elfFile {
	f := &elfFile{vaddr: 0x401000, textOff: 0x200, textSize: 0x300}
	f.symbols(elf.SHT_SYMTAB, []elf.Sym64{
		{},
		sym(1, elf.STT_FUNC, elf.STB_GLOBAL, 0x401000, 0x100),
		sym(7, elf.STT_NOTYPE, elf.STB_LOCAL, 0x401010, 0),
		sym(13, elf.STT_FUNC, elf.STB_LOCAL, 0x401200, 0x40),
		sym(20, elf.STT_GNU_IFUNC, elf.STB_WEAK, 0x401200, 0x40),
		sym(30, elf.STT_NOTYPE, elf.STB_GLOBAL, 0x401280, 0),
		sym(36, elf.STT_OBJECT, elf.STB_GLOBAL, 0x401290, 8),
	}, []byte("\x00outer\x00label\x00__impl\x00memcpy@@V\x00asm_f\x00data\x00"))
	link := append([]byte("x.debug\x00"), 1, 2, 3, 4)
	note := []byte("\x04\x00\x00\x00\x04\x00\x00\x00\x03\x00\x00\x00GNU\x00\xde\xad\xbe\xef")
	f.sections = append(f.sections,
		elfSection{name: ".gnu_debuglink", Section64: elf.Section64{Type: uint32(elf.SHT_PROGBITS)}, data: link},
		elfSection{name: ".note.gnu.build-id", Section64: elf.Section64{Type: uint32(elf.SHT_NOTE)}, data: note})
	return f
}

func TestTable(t *testing.T) {
	img, err := parseImage(small().bytes())
	if err != nil {
		t.Fatal(err)
	}
	tab := newTable(img, nil)
	for addr, want := range map[uint64]string{
		0x400fff: "", 0x401000: "outer+0x0", 0x401010: "outer+0x10", 0x4010ff: "outer+0xff",
		0x401100: "", 0x401200: "memcpy+0x0", 0x40123f: "memcpy+0x3f", 0x401240: "",
		0x401280: "asm_f+0x0", 0x4012ff: "asm_f+0x7f", 0x401300: "",
	} {
		got := ""
		if ref, start, ok := tab.find(addr); ok {
			got = fmt.Sprintf("%s+%#x", tab.name(ref, maxName), addr-start)
		}
		if got != want {
			t.Errorf("%#x: %q, want %q", addr, got, want)
		}
	}
	if id := img.buildID(); !bytes.Equal(id, []byte{0xde, 0xad, 0xbe, 0xef}) {
		t.Errorf("build id %x", id)
	}
	if name, sum, ok := img.debugLink(); name != "x.debug" || sum != 0x04030201 || !ok {
		t.Errorf("debug link %q %#x %v", name, sum, ok)
	}
	if a, ok := img.address(0x210); a != 0x401010 || !ok {
		t.Errorf("offset 0x210 is address %#x", a)
	}
}

// look uses everything of a file as Resolve does, and returns how long that
// took and how much it allocated.
func look(data []byte) (time.Duration, uint64) {
	var a, b runtime.MemStats
	runtime.ReadMemStats(&a)
	began := cpu()
	lookup(data)
	took := cpu() - began
	runtime.ReadMemStats(&b)
	return took, b.TotalAlloc - a.TotalAlloc
}

func lookup(data []byte) {
	img, err := parseImage(data)
	if err != nil {
		return
	}
	img.buildID()
	img.debugLink()
	tab := newTable(img, img)
	addrs := []uint64{0, 1, 0x401000, 0x401015, 0x401210, 0x4012ff, 1<<64 - 1}
	for _, off := range []uint64{0, 0x200, 0x4ff, 1 << 40} {
		if a, ok := img.address(off); ok {
			addrs = append(addrs, a)
		}
	}
	for _, ref := range tab.order[:min(len(tab.order), 100)] {
		_, b := tab.symbol(ref)
		addrs = append(addrs, le.Uint64(b[8:]))
	}
	for _, a := range addrs {
		if ref, _, ok := tab.find(a); ok {
			readable(string(tab.name(ref, maxName)))
		}
	}
	if l := newLines(img, img, 8<<20); l != nil {
		_ = guarded(func() {
			for _, a := range addrs {
				var f event.Frame
				l.frames(&f, a)
			}
		})
	}
}

// header returns that of a section in a file, to be changed.
func header(data []byte, n int) []byte {
	return data[le.Uint64(data[40:])+uint64(n)*sectionSize:][:sectionSize]
}

// TestBadFiles damages a file in the ways that cost others memory, time or
// their life.
func TestBadFiles(t *testing.T) {
	const symtab, strtab = 2, 3
	set := func(at int, v uint64, size int) func([]byte) {
		return func(b []byte) { var w [8]byte; le.PutUint64(w[:], v); copy(b[at:at+size], w[:size]) }
	}
	in := func(section, at int, v uint64, size int) func([]byte) {
		return func(b []byte) { set(at, v, size)(header(b, section)) }
	}
	bad := map[string]func([]byte){
		"65,535 segments": set(56, 0xffff, 2), "segments nowhere": set(32, 1<<63, 8), "tiny segments": set(54, 1, 2),
		"65,535 sections": set(60, 0xffff, 2), "sections nowhere": set(40, 1<<64-10, 8), "sections counted elsewhere": set(60, 0, 2),
		"names nowhere": set(62, 0xfffe, 2), "names at XINDEX": set(62, 0xffff, 2),
		"huge symbols": in(symtab, 32, 1<<62, 8), "symbols nowhere": in(symtab, 24, 1<<63, 8),
		"symbols of 0 bytes": in(symtab, 56, 0, 8), "symbols of 1 byte": in(symtab, 56, 1, 8),
		"names in no section": in(symtab, 40, 99, 4), "names in symbols": in(symtab, 40, symtab, 4),
		"compressed symbols": in(symtab, 8, uint64(elf.SHF_COMPRESSED), 8), "compressed names": in(strtab, 8, uint64(elf.SHF_COMPRESSED), 8),
		"names without end": in(strtab, 32, 3, 8), "no names": in(strtab, 32, 0, 8),
		"segment of 2^64": set(headerSize+32, 1<<64-1, 8), "segment round the end": set(headerSize+16, 1<<64-0x100, 8),
		"code of 2^63": func(b []byte) { set(headerSize+40, 1<<63, 8)(b); set(headerSize+32, 1<<40, 8)(b) },
	}
	for name, f := range bad {
		b := small().bytes()
		f(b)
		if took, mem := look(b); took > time.Second || mem > 8<<20 {
			t.Errorf("%s: %v, %d KB", name, took, mem>>10)
		}
	}
	good := small().bytes()
	for n := range good {
		lookup(good[:n])
	}
}

// many is a file whose n symbols all have one address and a long name, or
// each enclose all those that follow.
func many(n int, nested bool) []byte {
	f := elfFile{vaddr: 0x10000, textOff: 0x1000, textSize: 1 << 24}
	syms := make([]elf.Sym64, n)
	for i := range syms {
		syms[i] = sym(uint32(i%7), elf.STT_FUNC, elf.STB_GLOBAL, 0x10000, 1<<24)
		if nested {
			syms[i] = sym(uint32(i%7), elf.STT_FUNC, elf.STB_GLOBAL, 0x10000+uint64(i), uint64(1<<24-2*i))
		}
	}
	f.symbols(elf.SHT_SYMTAB, syms, append(bytes.Repeat([]byte("_"), 1<<16), 0))
	return f.bytes()
}

func TestManySymbols(t *testing.T) {
	for _, nested := range []bool{false, true} {
		if took, mem := look(many(1<<19, nested)); took > 4*time.Second || mem > 16<<20 {
			t.Errorf("half a million symbols, nested %v: %v, %d KB", nested, took, mem>>10)
		} else {
			t.Logf("half a million symbols, nested %v: %v, %d KB", nested, took, mem>>10)
		}
	}
}

// withDebug is a file with sections of debug information.
func withDebug(names string, flags elf.SectionFlag, content []byte) []byte {
	f := small()
	for name := range strings.FieldsSeq(names) {
		f.sections = append(f.sections, elfSection{name: name, Section64: elf.Section64{Type: uint32(elf.SHT_PROGBITS), Flags: uint64(flags)}, data: content})
	}
	return f.bytes()
}

// TestCompressedBombs has sections that say, or really have, far more bytes
// than they take in the file.
func TestCompressedBombs(t *testing.T) {
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	w.Write(make([]byte, 256<<20))
	w.Close()
	names := ".debug_info .debug_line .debug_abbrev .debug_str"
	packed := func(kind elf.CompressionType, size uint64, b []byte) []byte {
		var w bytes.Buffer
		put(&w, elf.Chdr64{Type: uint32(kind), Size: size, Addralign: 1})
		return append(w.Bytes(), b...)
	}
	old := binary.BigEndian.AppendUint64([]byte("ZLIB"), 256<<20)
	for name, data := range map[string][]byte{
		"says 2^60":      withDebug(names, elf.SHF_COMPRESSED, packed(elf.COMPRESS_ZLIB, 1<<60, z.Bytes())),
		"says the truth": withDebug(names, elf.SHF_COMPRESSED, packed(elf.COMPRESS_ZLIB, 256<<20, z.Bytes())),
		"says less":      withDebug(names, elf.SHF_COMPRESSED, packed(elf.COMPRESS_ZLIB, 1<<20, z.Bytes())),
		"says 1 MB":      withDebug(names, elf.SHF_COMPRESSED, packed(elf.COMPRESS_ZLIB, 1<<20, z.Bytes()[:20])),
		"zstd":           withDebug(names, elf.SHF_COMPRESSED, packed(elf.COMPRESS_ZSTD, 1<<20, z.Bytes())),
		"unknown kind":   withDebug(names, elf.SHF_COMPRESSED, packed(99, 1<<20, z.Bytes())),
		"no header":      withDebug(names, elf.SHF_COMPRESSED, []byte{1}),
		"old":            withDebug(".zdebug_info .zdebug_line .zdebug_abbrev", 0, append(old, z.Bytes()...)),
		"old, short":     withDebug(".zdebug_info .zdebug_line", 0, []byte("ZLIB")),
	} {
		if took, mem := look(data); took > 2*time.Second || mem > 32<<20 {
			t.Errorf("%s: %v, %d KB", name, took, mem>>10)
		}
	}
}

// TestLongNames has names that grow when they are demangled.
func TestLongNames(t *testing.T) {
	grow := "_Z1f1AIiiE"
	for i := range 30 {
		grow += fmt.Sprintf("1AIS%c_S%c_E", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[i%36], "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[i%36])
	}
	for _, name := range []string{
		grow, "_Z1f" + strings.Repeat("P", maxName-5) + "i", "_ZN" + strings.Repeat("1a", maxName/2-4) + "Ev",
		"_Z1f" + strings.Repeat("1AI", maxName/3-10) + "i" + strings.Repeat("E", maxName/3-10),
		"_RNv" + strings.Repeat("C", maxName-10), "_R" + strings.Repeat("INvB", 2000), strings.Repeat("x", maxName),
		"_Z1fIXadL_Z1g" + strings.Repeat("T_", 1000), "_Z1fI" + strings.Repeat("XplLi1E", 1000) + "E",
	} {
		began := cpu()
		got := readable(name)
		if took := cpu() - began; took > time.Second || len(got) > maxName {
			t.Errorf("%.20s…, %d bytes: %v, result of %d bytes", name, len(name), took, len(got))
		}
	}
}

// dwarfOf is a file with one unit, the given abbreviations, and a version 5
// line table that continues with tables.
func dwarfOf(abbrev, tables []byte) []byte {
	var info, line, rest bytes.Buffer
	rest.Write([]byte{1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1})
	rest.Write(tables)
	put(&line, uint32(8+rest.Len()))
	put(&line, uint16(5))
	line.Write([]byte{8, 0})
	put(&line, uint32(rest.Len()))
	line.Write(rest.Bytes())
	info.Write([]byte{5, 0, 1, 8, 0, 0, 0, 0, 1})
	put(&info, uint64(0x401000))
	put(&info, [2]uint32{0x300, 0})
	all := append(le.AppendUint32(nil, uint32(info.Len())), info.Bytes()...)
	f := small()
	for name, b := range map[string][]byte{".debug_info": all, ".debug_abbrev": abbrev, ".debug_line": line.Bytes()} {
		f.sections = append(f.sections, elfSection{name: name, Section64: elf.Section64{Type: uint32(elf.SHT_PROGBITS)}, data: b})
	}
	return f.bytes()
}

// TestHostileLines has counts that debug/dwarf would believe.
func TestHostileLines(t *testing.T) {
	unit := []byte{1, 0x11, 0, 0x11, 0x01, 0x12, 0x06, 0x10, 0x17, 0, 0, 0}
	billion := []byte{0x80, 0x80, 0x80, 0x80, 4}
	good := []byte{1, 1, 8, 1, '/', 0, 1, 1, 8, 1, 'a', 0}
	img, err := parseImage(dwarfOf(unit, good))
	if err != nil {
		t.Fatal(err)
	}
	l := newLines(img, nil, 1<<20)
	if u := l.unit(0x401000); u == nil || len(u.files) != 1 || u.files[0] != "a" {
		t.Fatalf("the good file has no file names: %+v", u)
	}
	wide := []byte{1, 0x11, 0}
	for range 100_000 {
		wide = append(wide, 0x03, 0x08)
	}
	for name, data := range map[string][]byte{
		"folders":             dwarfOf(unit, append([]byte{1, 1, 8}, billion...)),
		"folders of no bytes": dwarfOf(unit, append([]byte{0}, billion...)),
		"files":               dwarfOf(unit, append([]byte{1, 1, 8, 1, '/', 0, 1, 1, 8}, billion...)),
		"block":               dwarfOf(unit, append([]byte{1, 1, 9, 1}, billion...)),
		"attributes":          dwarfOf(append(wide, 0, 0, 0), good),
		"endless attributes":  dwarfOf(wide, good),
	} {
		if took, mem := look(data); took > time.Second || mem > 4<<20 {
			t.Errorf("%s: %v, %d KB", name, took, mem>>10)
		}
	}
	if shortStrings(append(bytes.Repeat([]byte("x"), maxString+1), 0)) || !shortStrings(bytes.Repeat([]byte("xyz\x00"), 1<<20)) {
		t.Error("shortStrings is wrong")
	}
}

func FuzzTable(f *testing.F) {
	f.Add(small().bytes())
	f.Add(library(20))
	f.Add(withDebug(".debug_info .debug_line .debug_abbrev", 0, []byte("\x08\x00\x00\x00\x05\x00\x01\x08\x00\x00\x00\x00")))
	f.Add(withDebug(".zdebug_info .zdebug_line", 0, []byte("ZLIB\x00\x00\x00\x00\x00\x00\x00\x10x\x9c")))
	if maps, err := readMaps(os.Getpid()); err == nil {
		for _, m := range maps {
			if m.Path == vdso {
				if _, b, err := m.readVDSO(os.Getpid()); err == nil {
					f.Add(b)
				}
			}
		}
	}
	f.Add(dwarfOf([]byte{1, 0x11, 0, 0x11, 0x01, 0x12, 0x06, 0x10, 0x17, 0, 0, 0}, []byte{1, 1, 8, 1, '/', 0, 1, 1, 8, 1, 'a', 0}))
	f.Fuzz(func(t *testing.T, data []byte) { lookup(data) })
}

// FuzzLines changes the debug information of a small real program.
func FuzzLines(f *testing.F) {
	if _, err := exec.LookPath("gcc"); err != nil {
		f.Skip("needs gcc: apt install gcc")
	}
	dir := f.TempDir()
	os.WriteFile(dir+"/a.c", []byte("static inline int g(int x) { return x * 7 + 1; }\nint f(int n) { return g(n) + g(n + 1); }\n"), 0o644)
	for _, version := range []string{"-gdwarf-5", "-gdwarf-4"} {
		run(f, "gcc", "-O2", version, "-shared", "-nostdlib", "-o", dir+"/a.so", dir+"/a.c")
		b, err := os.ReadFile(dir + "/a.so")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) { lookup(data) })
}

// TestStubs has a name that nvcc puts together from one that is mangled.
func TestStubs(t *testing.T) {
	for name, want := range map[string]string{
		"__device_stub__ZN2at6native52_GLOBAL__N__4671fab5_19_ForeachTernaryOp_cu_5285c63625multi_tensor_apply_kernelINS1_18TensorListMetadataILi2EEEEEvT_": "__device_stub__at::native::(anonymous namespace)::multi_tensor_apply_kernel<at::native::(anonymous namespace)::TensorListMetadata<2> >",
		"__device_stub__ZN": "__device_stub__ZN", // not a mangled name
		"__device_stub_f":   "__device_stub_f",
	} {
		if got := readable(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
