package proc

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ingero/internal/event"
)

var push = []byte{0x55, 0x5d, 0xc3}

// stub is what every exported function of libcuda.so.1 looks like.
var stub = []byte{
	0x81, 0x3d, 0x26, 0xd8, 0x8d, 0x01, 0x00, 0xba, 0x1c, 0x32, // cmpl $0x321cba00,disp(%rip)
	0x74, 0x0c, // je
	0xff, 0x25, 0x46, 0x5f, 0x7e, 0x01, // jmp *disp(%rip)
	0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00,
	0xb8, 0x04, 0x00, 0x00, 0x00, 0xc3,
}

var testCalls = []event.Call{
	{Lib: event.CUDART, Name: "cudaMalloc"},
	{Lib: event.LIBCUDA, Name: "cuMemAlloc", Symbols: []string{"cuMemAlloc_v2", "cuMemAlloc"}},
	{Lib: event.LIBCUDA, Name: "cuLaunchKernel"},
	{Lib: event.CUDART, Name: "cudaFree"},
}

func TestSites(t *testing.T) {
	driver := layout{machine: elf.EM_X86_64, funcs: []testFunc{
		{"cuMemAlloc_v2", stub}, {"cuMemAlloc", stub}, {"cuMemAlloc_v2_ptsz", push}, {"xcuLaunchKernel", stub},
	}}
	runtime := layout{machine: elf.EM_X86_64, funcs: []testFunc{{"cudaMalloc", push}, {"cudaFree", push}, {"main", push}}}
	for _, c := range []struct {
		name    string
		l       layout
		hash    elf.DynTag
		lib     event.Lib
		want    string // row symbol+distance, in order
		missing []int
	}{
		{"driver, gnu hash", driver, elf.DT_GNU_HASH, event.LIBCUDA, "1 cuMemAlloc_v2+10 1 cuMemAlloc_v2_ptsz+0 1 cuMemAlloc+10", []int{2}},
		{"driver, sysv hash", driver, elf.DT_HASH, event.LIBCUDA, "1 cuMemAlloc_v2+10 1 cuMemAlloc_v2_ptsz+0 1 cuMemAlloc+10", []int{2}},
		{"runtime library", runtime, elf.DT_GNU_HASH, event.CUDART, "0 cudaMalloc+0 3 cudaFree+0", nil},
		{"runtime linked in", runtime, 0, event.CUDART, "0 cudaMalloc+0 3 cudaFree+0", nil},
		{"neither", layout{machine: elf.EM_X86_64, funcs: []testFunc{{"main", push}}}, elf.DT_GNU_HASH, event.CUDART, "", []int{0, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "lib.so")
			c.l.hash = c.hash
			at := c.l.build(t, path)
			sites, missing, err := Binary{Path: path, Open: path, Libs: []event.Lib{c.lib}}.Sites(testCalls)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range sites {
				got = append(got, fmt.Sprintf("%d %s+%d", s.Row, s.Symbol, s.Offset-s.Func))
				if s.Func != at[s.Symbol] {
					t.Errorf("%s at %#x, want %#x", s.Symbol, s.Func, at[s.Symbol])
				}
			}
			if text := strings.Join(got, " "); text != c.want {
				t.Errorf("got  %s\nwant %s", text, c.want)
			}
			if !slices.Equal(missing, c.missing) {
				t.Errorf("missing %v, want %v", missing, c.missing)
			}
		})
	}
}

// Two names of one function are one site, which belongs to the first row.
func TestSitesSameAddress(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lib.so")
	layout{hash: elf.DT_GNU_HASH, funcs: []testFunc{{"cudaMalloc", nil}, {"cudaFree", push}}}.build(t, path)
	sites, missing, err := Binary{Path: path, Open: path, Libs: []event.Lib{event.CUDART}}.Sites(testCalls)
	if err != nil || len(sites) != 1 || sites[0].Row != 0 || missing != nil {
		t.Errorf("sites %v, missing %v, %v", sites, missing, err)
	}
}

// Our own executable is large and knows all its functions: what the linker
// wrote must be what we find.
func TestLocalFindsWhatDebugELFFinds(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ref, err := elf.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer ref.Close()
	all, err := ref.Symbols()
	if err != nil {
		t.Skipf("needs a test binary with symbols (go test -ldflags=): %v", err)
	}
	want := map[string][]function{}
	var names []string
	for _, s := range all {
		if elf.ST_TYPE(s.Info) == elf.STT_FUNC && s.Section != elf.SHN_UNDEF && s.Value != 0 &&
			strings.HasPrefix(s.Name, "ingero/internal/proc.") && len(s.Name) < maxName {
			names = append(names, s.Name)
			add(want, s.Name, function{s.Value, s.Size})
		}
	}
	img, err := openImage(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	got, err := img.functions(names, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(want) < 50 {
		t.Fatalf("only %d functions to compare", len(want))
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(function{})); d != "" {
		t.Error(d)
	}
}

func TestOpenBinary(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) {
		if err := os.WriteFile(file(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("text", "#!/bin/sh\n")
	write("empty", "")
	write("cut", elf.ELFMAG+"\x02\x01\x01")
	other := elf.EM_AARCH64
	if hostMachine == other {
		other = elf.EM_X86_64
	}
	cuda := []testFunc{{"cudaMalloc", push}, {"cuInit", push}}
	layout{machine: other, hash: elf.DT_HASH, funcs: cuda}.build(t, file("other"))
	layout{hash: elf.DT_HASH, funcs: []testFunc{{"main", push}}}.build(t, file("plain"))
	layout{hash: elf.DT_HASH, funcs: cuda}.build(t, file("libboth.so.12.4.127"))
	if err := os.Symlink("libboth.so.12.4.127", file("link.so")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"missing": "no such file or directory",
		"text":    "not an ELF file",
		"empty":   "not an ELF file",
		"cut":     "damaged ELF file",
		"other":   "not for this machine",
		"plain":   "holds no CUDA function",
		".":       "is a directory",
	} {
		_, err := OpenBinary(file(name))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file(name)) {
			t.Errorf("%s: error %v, want %q and the path", name, err, want)
		}
	}
	b, err := OpenBinary(file("link.so"))
	if err != nil {
		t.Fatal(err)
	}
	if b.Build != "12.4.127" || !slices.Equal(b.Libs, []event.Lib{event.CUDART, event.LIBCUDA}) || b.ID.Ino == 0 {
		t.Errorf("got %+v", b)
	}
}

func FuzzImage(f *testing.F) {
	for _, hash := range []elf.DynTag{0, elf.DT_HASH, elf.DT_GNU_HASH} {
		path := filepath.Join(f.TempDir(), "x")
		layout{hash: hash, needed: []string{"libcuda.so.1"}, runpath: "$ORIGIN", funcs: []testFunc{{"cudaMalloc", push}, {"cuInit", stub}}}.build(f, path)
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:0x1000], b[0x1000:])
	}
	f.Fuzz(func(t *testing.T, head, body []byte) {
		img, err := newImage(bytes.NewReader(append(slices.Clone(head), body...)))
		if err != nil {
			return
		}
		img.needed()
		img.searchPath(elf.DT_RUNPATH, "/x")
		img.holds("libcuda.so.1")
		img.sites(event.Calls, []event.Lib{event.CUDART, event.LIBCUDA})
	})
}

func TestAsFunction(t *testing.T) {
	img := &image{order: le}
	symbol := func(typ elf.SymType, section elf.SectionIndex, value uint64) []byte {
		b := make([]byte, symSize)
		b[4] = byte(elf.STB_GLOBAL)<<4 | byte(typ)
		le.PutUint16(b[6:], uint16(section))
		le.PutUint64(b[8:], value)
		return b
	}
	for what, c := range map[string]struct {
		b    []byte
		want bool
	}{
		"function":                       {symbol(elf.STT_FUNC, 7, 0x1000), true},
		"imported":                       {symbol(elf.STT_FUNC, elf.SHN_UNDEF, 0), false},
		"imported, called by its stub":   {symbol(elf.STT_FUNC, elf.SHN_UNDEF, 0x1000), false},
		"chosen at load time (IFUNC)":    {symbol(elf.STT_GNU_IFUNC, 7, 0x1000), false},
		"variable":                       {symbol(elf.STT_OBJECT, 7, 0x1000), false},
		"function that was not included": {symbol(elf.STT_FUNC, 7, 0), false},
	} {
		if _, _, ok := img.asFunction(c.b); ok != c.want {
			t.Errorf("%s: got %v", what, ok)
		}
	}
}
