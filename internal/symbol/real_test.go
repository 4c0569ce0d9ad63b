package symbol

import (
	"bufio"
	"bytes"
	"debug/elf"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ingero/internal/event"

	"ingero/internal/proc"
)

// tool skips a test that needs a program which is not installed.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("needs %s: apt install gcc g++ binutils", name)
	}
	return path
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(tool(t, name), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func build(t testing.TB, flags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	run(t, "g++", append([]string{"-o", path, "testdata/program.cc", "-ldl"}, flags...)...)
	return path
}

// buildRust returns a program whose units refer to each other, as those
// optimised together do.
func buildRust(t testing.TB) string {
	path := filepath.Join(t.TempDir(), "rust")
	if rustc, err := exec.LookPath("rustc"); err == nil {
		exec.Command(rustc, "-g", "-O", "-o", path, "testdata/program.rs").Run()
	}
	return path
}

// openObject reads a file with its debug information, as Resolve does.
func openObject(t testing.TB, path string) *object {
	t.Helper()
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Skip(err)
	}
	key, data, err := mapFile(proc.OpenRegular(path))
	if err != nil {
		t.Fatal(err)
	}
	o := &object{key: key, data: data}
	t.Cleanup(o.close)
	if o.load(); o.img == nil {
		t.Fatalf("%s: no ELF file", path)
	}
	New(Options{}).findSplit(o, os.Getpid(), path)
	o.tab = newTable(o.img, o.split)
	o.lines = newLines(o.img, o.split, 64<<20)
	return o
}

// someCode returns addresses in sections of code, evenly spread.
func someCode(t testing.TB, path string, n int) []uint64 {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := f.Section(".text")
	rnd := rand.New(rand.NewPCG(1, 2))
	var all []uint64
	for range n {
		all = append(all, s.Addr+rnd.Uint64N(s.Size))
	}
	slices.Sort(all)
	return all
}

// nmSymbol is a line of nm -S.
type nmSymbol struct {
	addr, size uint64
	kind       byte
	name       string
}

func nm(t *testing.T, args ...string) (all []nmSymbol) {
	t.Helper()
	for line := range strings.Lines(run(t, "nm", append([]string{"-S", "-n"}, args...)...)) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		s := nmSymbol{name: f[len(f)-1], kind: f[len(f)-2][0]}
		s.addr, _ = strconv.ParseUint(f[0], 16, 64)
		if len(f) == 4 {
			s.size, _ = strconv.ParseUint(f[1], 16, 64)
		}
		s.name, _, _ = strings.Cut(s.name, "@")
		if strings.IndexByte("tTwWiuV", s.kind) >= 0 {
			all = append(all, s)
		}
	}
	return all
}

// TestAgainstNM looks up thousands of addresses. The answer must be one of
// the names nm has for the place, and there must be one if nm has one.
func TestAgainstNM(t *testing.T) {
	libc := "/lib/x86_64-linux-gnu/libc.so.6"
	for name, c := range map[string]struct {
		path string
		args []string
	}{
		"program":  {build(t, "-O2", "-g"), nil},
		"static":   {build(t, "-O1", "-static"), nil},
		"stripped": {build(t, "-O2", "-s", "-rdynamic"), []string{"-D"}},
		"libc":     {libc, []string{"-D"}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat(c.path); err != nil {
				t.Skip(err)
			}
			o := openObject(t, c.path)
			truth := nm(t, append(c.args, c.path)...)
			if o.splits != nil {
				t.Log("with a separate debug file")
				truth = append(truth, nm(t, splitPath(t, o))...)
			}
			checked := 0
			for _, addr := range someCode(t, c.path, 20000) {
				want := namesAt(truth, addr)
				got := ""
				if ref, start, ok := o.tab.find(addr); ok {
					got = fmt.Sprintf("%s+%#x", o.tab.name(ref, maxName), addr-start)
				}
				if len(want) == 0 && got == "" {
					continue
				}
				if len(want) > 0 {
					checked++
				}
				if !slices.Contains(want, got) && (len(want) > 0 || !labelAt(truth, addr, got)) {
					t.Fatalf("%#x: %q, want one of %q", addr, got, want)
				}
			}
			t.Logf("%d of 20000 addresses lie in a function that nm knows the size of", checked)
			if checked == 0 {
				t.Error("nothing was compared")
			}
		})
	}
}

func splitPath(t *testing.T, o *object) string {
	t.Helper()
	id := fmt.Sprintf("%x", o.img.buildID())
	return filepath.Join("/usr/lib/debug/.build-id", id[:2], id[2:]+".debug")
}

// namesAt returns the symbols with a size that hold an address, those that
// begin last: a function may lie within another.
func namesAt(all []nmSymbol, addr uint64) (names []string) {
	last := uint64(0)
	for _, s := range all {
		if addr < s.addr || addr-s.addr >= s.size || s.addr < last {
			continue
		}
		if s.addr > last {
			names, last = nil, s.addr
		}
		names = append(names, fmt.Sprintf("%s+%#x", s.name, addr-s.addr))
	}
	return names
}

// labelAt reports whether a name is that of a symbol without a size.
func labelAt(all []nmSymbol, addr uint64, name string) bool {
	return slices.ContainsFunc(all, func(s nmSymbol) bool {
		return s.size == 0 && s.addr <= addr && fmt.Sprintf("%s+%#x", s.name, addr-s.addr) == name
	})
}

// TestAgainstAddr2line compares lines and the functions inlined: files too
// with the one of LLVM, while that of binutils says the unit's main file for
// code that comes from a header.
func TestAgainstAddr2line(t *testing.T) {
	for name, c := range map[string]struct {
		path  string
		agree float64
	}{
		"dwarf5": {build(t, "-O2", "-g", "-gdwarf-5"), 0.99},
		"dwarf4": {build(t, "-O2", "-g", "-gdwarf-4"), 0.99},
		"zlib":   {build(t, "-O2", "-g", "-gz=zlib"), 0.99},
		"zdebug": {build(t, "-O2", "-g", "-gz=zlib-gnu"), 0.99},
		"O0":     {build(t, "-O0", "-g"), 0.99},
		"rust":   {buildRust(t), 0.99},
		"libc":   {"/lib/x86_64-linux-gnu/libc.so.6", 0.99},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat(c.path); err != nil {
				t.Skip(err)
			}
			o := openObject(t, c.path)
			if o.lines == nil {
				t.Skip("no debug information for this file: apt install libc6-dbg")
			}
			addrs := someCode(t, c.path, 3000)
			path := c.path
			if name == "zdebug" { // which neither of them reads any more; the code is the same
				path = build(t, "-O2", "-g")
			}
			if o.splits != nil {
				path = splitPath(t, o)
			}
			want, files := addr2line(t, path, addrs)
			same, known := 0, 0
			for i, addr := range addrs {
				f := event.Frame{}
				frames := append(o.lines.frames(&f, addr), f)
				got := ""
				for _, f := range frames {
					if files {
						got += filepath.Base(f.Source)
					}
					got += fmt.Sprintf(":%d ", f.Line)
				}
				if f.Source == "" && strings.HasSuffix(want[i], ":0 ") { // at most the file, from the symbol table
					continue
				}
				if known++; got == want[i] {
					same++
				} else if known-same < 10 {
					t.Logf("%#x: %s, addr2line says %s", addr, got, want[i])
				}
			}
			t.Logf("%d of %d addresses agree on all lines", same, known)
			if known == 0 || float64(same) < c.agree*float64(known) {
				t.Errorf("want %.0f %% to agree", 100*c.agree)
			}
		})
	}
}

// addr2line returns "file:line file:line " for each address, the innermost
// inlined function first.
func addr2line(t *testing.T, path string, addrs []uint64) (all []string, files bool) {
	t.Helper()
	name := "addr2line"
	if llvm, _ := filepath.Glob("/usr/lib/llvm-*/bin/llvm-addr2line"); len(llvm) > 0 {
		name, files = llvm[len(llvm)-1], true
	}
	var in bytes.Buffer
	for _, a := range addrs {
		fmt.Fprintf(&in, "%#x\n", a)
	}
	cmd := exec.Command(tool(t, name), "-a", "-i", "-e", path)
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		line := s.Text()
		if strings.HasPrefix(line, "0x") {
			all = append(all, "")
			continue
		}
		line, _, _ = strings.Cut(line, " (discriminator")
		line = strings.ReplaceAll(line, ":?", ":0")
		if line = filepath.Base(line); !files {
			line = line[strings.LastIndexByte(line, ':'):]
		}
		all[len(all)-1] += line + " "
	}
	if len(all) != len(addrs) {
		t.Fatalf("%d answers for %d addresses", len(all), len(addrs))
	}
	return all, files
}
