package workload

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/arch/x86/x86asm"

	"ingero/internal/event"
)

// perThread are the functions that have a variant for callers compiled for
// per-thread streams.
var perThread = []string{
	"cuLaunchKernel", "cuMemcpyAsync", "cuStreamSynchronize",
	"cudaLaunchKernel", "cudaMemcpyAsync", "cudaStreamSynchronize",
}

// Not in the table of calls, so that a test can add them to it.
var unlisted = []string{"cuMemPrefetchAsync", "cudaMemPrefetchAsync"}

func openELF(t *testing.T, name string) *elf.File {
	t.Helper()
	b, err := files.ReadFile("prebuilt/amd64/" + name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// functions returns the functions of a symbol table whose names begin with
// prefix.
func functions(t *testing.T, symbols func() ([]elf.Symbol, error), prefix string) map[string]elf.Symbol {
	t.Helper()
	syms, err := symbols()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]elf.Symbol{}
	for _, s := range syms {
		if strings.HasPrefix(s.Name, prefix) && elf.ST_TYPE(s.Info) == elf.STT_FUNC && s.Section != elf.SHN_UNDEF {
			found[s.Name] = s
		}
	}
	return found
}

func TestExportsWholeTable(t *testing.T) {
	driver := functions(t, openELF(t, "libcuda.so.1").DynamicSymbols, "cu")
	runtime := functions(t, openELF(t, "libcudart.so.12").DynamicSymbols, "cuda")
	static := functions(t, openELF(t, "workload-static").Symbols, "cuda")
	collectives := functions(t, openELF(t, "libnccl.so.2").DynamicSymbols, "nccl")
	var want []string
	for _, c := range event.Calls {
		want = append(want, c.Exports()[0])
	}
	for _, s := range perThread {
		want = append(want, s+"_ptsz")
	}
	for _, s := range slices.Concat(want, unlisted) {
		if strings.HasPrefix(s, "cuda") {
			if _, ok := static[s]; !ok {
				t.Errorf("workload-static does not contain %s", s)
			}
			if _, ok := runtime[s]; !ok {
				t.Errorf("libcudart.so.12 does not export %s", s)
			}
		} else if strings.HasPrefix(s, "nccl") {
			if _, ok := collectives[s]; !ok {
				t.Errorf("libnccl.so.2 does not export %s", s)
			}
		} else if _, ok := driver[s]; !ok {
			t.Errorf("libcuda.so.1 does not export %s", s)
		}
	}
	for _, c := range event.Calls {
		for _, s := range unlisted {
			if slices.Contains(c.Exports(), s) {
				t.Errorf("%s is in the table of calls; the test that adds it proves nothing", s)
			}
		}
	}
}

// code returns the instructions at the start of a function.
func code(t *testing.T, f *elf.File, s elf.Symbol, n int) []x86asm.Inst {
	t.Helper()
	text := f.Sections[s.Section]
	b := make([]byte, 64)
	got, _ := text.ReadAt(b, int64(s.Value-text.Addr))
	var insts []x86asm.Inst
	for b = b[:got]; len(insts) < n; {
		i, err := x86asm.Decode(b, 64)
		if err != nil {
			t.Fatalf("decode %s: %v", s.Name, err)
		}
		insts, b = append(insts, i), b[i.Len:]
	}
	return insts
}

func TestDriverPrologues(t *testing.T) {
	f := openELF(t, "libcuda.so.1")
	for name, s := range functions(t, f.DynamicSymbols, "cu") {
		i := code(t, f, s, 5)
		mem, _ := i[0].Args[0].(x86asm.Mem)
		slot, _ := i[2].Args[0].(x86asm.Mem)
		code, _ := i[3].Args[1].(x86asm.Imm)
		switch {
		case i[0].Op != x86asm.CMP || i[0].Len != 10 || mem.Base != x86asm.RIP || i[0].Args[1] != x86asm.Imm(0x321cba00):
			t.Errorf("%s begins with %v (%d bytes), want the ten bytes of cmpl $0x321cba00,flag(%%rip)", name, i[0], i[0].Len)
		case i[1].Op != x86asm.JE || i[1].Args[0] != x86asm.Rel(i[2].Len):
			t.Errorf("%s goes on with %v, want je over the jump", name, i[1])
		case i[2].Op != x86asm.JMP || slot.Base != x86asm.RIP:
			t.Errorf("%s goes on with %v, want a jump through a slot", name, i[2])
		case i[3].Op != x86asm.MOV || i[3].Args[0] != x86asm.EAX || code != 4 || i[4].Op != x86asm.RET:
			t.Errorf("%s ends with %v, %v, want mov $4,%%eax; ret", name, i[3], i[4])
		}
	}
}

func TestRuntimePrologues(t *testing.T) {
	for _, name := range []string{"libcudart.so.12", "workload-static"} {
		f := openELF(t, name)
		symbols := f.Symbols
		if f.Type == elf.ET_DYN && strings.HasPrefix(name, "lib") {
			symbols = f.DynamicSymbols
		}
		fns := functions(t, symbols, "cuda")
		if len(fns) < 40 {
			t.Errorf("%s has only %d runtime functions", name, len(fns))
		}
		for fn, s := range fns {
			if i := code(t, f, s, 1)[0]; i.Op != x86asm.PUSH || i.Args[0] != x86asm.RBP {
				t.Errorf("%s: %s begins with %v, want push %%rbp", name, fn, i)
			}
		}
	}
}

func TestLinkage(t *testing.T) {
	tests := []struct {
		name    string
		runtime bool // needs libcudart
		soname  string
	}{
		{name: "workload", runtime: true},
		{name: "workload-late"},
		{name: "workload-static"},
		{name: "libcudart.so.12", soname: "libcudart.so.12"},
		{name: "libcuda.so.1", soname: "libcuda.so.1"},
	}
	for _, tt := range tests {
		f := openELF(t, tt.name)
		need, err := f.ImportedLibraries()
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(need, "libcudart.so.12") != tt.runtime || slices.Contains(need, "libcuda.so.1") {
			t.Errorf("%s needs %v", tt.name, need)
		}
		soname, _ := f.DynString(elf.DT_SONAME)
		if strings.Join(soname, "") != tt.soname {
			t.Errorf("%s has the soname %q", tt.name, soname)
		}
		if !strings.HasPrefix(tt.name, "lib") && len(functions(t, f.DynamicSymbols, "cuda")) > 0 {
			t.Errorf("%s exports runtime functions", tt.name)
		}
		for _, section := range []string{".comment", ".note.gnu.build-id", ".debug_info"} {
			if f.Section(section) != nil {
				t.Errorf("%s has a section %s", tt.name, section)
			}
		}
	}
}

// What is committed is what its sources say: the build is repeated in
// another directory.
func TestPrebuiltIsFresh(t *testing.T) {
	for tool, version := range map[string]string{"gcc": "(Debian 12.2.0-", "ld": "(GNU Binutils for Debian) 2.40"} {
		out, err := exec.Command(tool, "--version").Output()
		if err != nil || !bytes.Contains(out, []byte(version)) {
			t.Skipf("needs gcc 12.2 and binutils 2.40 of Debian 12: apt-get install gcc; %s is not %s", tool, version)
		}
	}
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "src"), os.DirFS("src")); err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("build.sh")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "build.sh"), script, 0o755); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out")
	if msg, err := exec.Command(filepath.Join(dir, "build.sh"), out).CombinedOutput(); err != nil {
		t.Fatalf("build.sh: %v\n%s", err, msg)
	}
	built, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range built {
		got, err := os.ReadFile(filepath.Join(out, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		want, err := files.ReadFile("prebuilt/amd64/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from its sources: run test/workload/build.sh and commit the result", e.Name())
		}
	}
	if len(built) != 6 {
		t.Errorf("build.sh made %d files, want 6", len(built))
	}
}
