package symbol

import (
	"bufio"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ingero/internal/event"
	"ingero/internal/proc"
)

// victim is testdata/program.cc, running, with the stack it printed: where
// innermost begins and two return addresses.
type victim struct {
	pid   int
	start int64
	stack []uint64
	in    io.Writer
	out   *bufio.Reader
	cmd   *exec.Cmd
}

func start(t testing.TB, cmd *exec.Cmd) *victim {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	v := &victim{pid: cmd.Process.Pid, in: in, out: bufio.NewReader(out), cmd: cmd}
	t.Cleanup(v.end)
	if v.start, err = (proc.FS{}).Started(v.pid); err != nil {
		t.Fatal(err)
	}
	v.stack = v.read(t)
	return v
}

func (v *victim) read(t testing.TB) (all []uint64) {
	t.Helper()
	line, err := v.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	for f := range strings.FieldsSeq(line) {
		n, err := strconv.ParseUint(f, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

func (v *victim) end() {
	if v.cmd.ProcessState == nil {
		v.cmd.Process.Kill()
		v.cmd.Wait()
	}
}

func newResolver(t testing.TB, o Options) *Resolver {
	r := New(o)
	t.Cleanup(r.Close)
	return r
}

// show makes a stack easy to compare: "symbol file line", offsets and paths
// left out.
func show(frames []event.Frame) (all []string) {
	for _, f := range frames {
		name, _, _ := strings.Cut(f.Symbol, "+0x")
		s := fmt.Sprintf("%s (%s)", name, f.File)
		if f.Source != "" {
			s += fmt.Sprintf(" %s:%d", filepath.Base(f.Source), f.Line)
		}
		if f.Inlined {
			s += " inlined"
		}
		all = append(all, s)
	}
	return all
}

func check(t *testing.T, what string, got []event.Frame, want ...string) {
	t.Helper()
	if s := show(got); !slices.Equal(s, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, s, want)
	}
}

var named = []string{"shop::innermost (program)", "shop::Basket<long>::total (program)", "shop::local_one (program)"}

// TestLayouts runs the program as all kinds of executables, and asks about
// it while it runs and when it is gone.
func TestLayouts(t *testing.T) {
	for _, flags := range []string{
		"-O1 -pie -fPIE", "-O1 -no-pie", "-O1 -static", "-O1 -static-pie -fPIE",
		"-O1 -Wl,-z,noseparate-code", "-O1 -Wl,-Ttext-segment=0x10000000 -no-pie", "-O1 -Wl,-z,max-page-size=65536",
		"-O1 -ffunction-sections -Wl,--gc-sections", "-O1 -fuse-ld=gold", "-O1 -fuse-ld=lld",
	} {
		t.Run(flags, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "program")
			args := append([]string{"-o", path, "testdata/program.cc", "-ldl"}, strings.Fields(flags)...)
			if out, err := exec.Command(tool(t, "g++"), args...).CombinedOutput(); err != nil {
				t.Skipf("%s", out)
			}
			v := start(t, exec.Command(path))
			r := newResolver(t, Options{})
			if err := r.Process(v.pid, v.start); err != nil {
				t.Fatal(err)
			}
			v.end()
			os.Remove(path)
			check(t, "after its end", r.Resolve(v.pid, v.start, v.stack), named...)
		})
	}
}

func TestLinesAndInlined(t *testing.T) {
	v := start(t, exec.Command(build(t, "-O2", "-g", "-fno-omit-frame-pointer")))
	r := newResolver(t, Options{})
	frames := r.Resolve(v.pid, v.start, v.stack)
	check(t, "stack", frames,
		"shop::innermost (program) program.cc:36",
		"shop::Basket<long>::total (program) program.cc:46",
		"shop::local_one (program) program.cc:54")
	if s := frames[0].Symbol; s != "shop::innermost+0x0" {
		t.Errorf("innermost frame is %q", s)
	}
	// Somewhere in local_one, twice and note are inlined.
	most := []event.Frame{}
	for ip := v.stack[2]; ip < v.stack[2]+100 && len(most) == 0; ip++ {
		if f := r.Resolve(v.pid, v.start, []uint64{ip}); f[0].Symbol == "shop::note" {
			most = f
		}
	}
	check(t, "inlined", most, "shop::note (program) program.cc:27 inlined",
		"shop::twice (program) program.cc:32 inlined", "shop::local_one (program) program.cc:55")
}

// A stripped file has an address and a name, but no function.
func TestStripped(t *testing.T) {
	v := start(t, exec.Command(build(t, "-O1", "-s")))
	r := newResolver(t, Options{})
	check(t, "stripped", r.Resolve(v.pid, v.start, v.stack), " (program)", " (program)", " (program)")
	check(t, "nowhere", r.Resolve(v.pid, v.start, []uint64{1, 1 << 63, 0}), " ()", " ()", " ()")
}

func TestSplitDebug(t *testing.T) {
	for name, flags := range map[string][]string{
		"build id":     {"-Wl,--build-id=sha1"},
		"debuglink":    {"-Wl,--build-id=none"},
		"other folder": {"-Wl,--build-id=none"},
	} {
		t.Run(name, func(t *testing.T) {
			path := build(t, append(flags, "-O1", "-g")...)
			dir := t.TempDir()
			split := path + ".debug"
			run(t, "objcopy", "--only-keep-debug", path, split)
			run(t, "strip", path)
			switch name {
			case "debuglink":
				run(t, "objcopy", "--add-gnu-debuglink="+split, path)
			case "other folder":
				run(t, "objcopy", "--add-gnu-debuglink="+split, path)
				to := filepath.Join(dir, split)
				os.MkdirAll(filepath.Dir(to), 0o755)
				os.Rename(split, to)
			case "build id":
				f, err := elf.Open(path)
				if err != nil {
					t.Fatal(err)
				}
				b, _ := f.Section(".note.gnu.build-id").Data()
				f.Close()
				id := fmt.Sprintf("%x", b[16:])
				os.MkdirAll(filepath.Join(dir, ".build-id", id[:2]), 0o755)
				os.Rename(split, filepath.Join(dir, ".build-id", id[:2], id[2:]+".debug"))
			}
			v := start(t, exec.Command(path))
			r := newResolver(t, Options{DebugDirs: []string{dir}})
			check(t, "stack", r.Resolve(v.pid, v.start, v.stack), named[0]+" program.cc:37",
				named[1]+" program.cc:46", named[2]+" program.cc:54")
		})
	}
}

// A debug file that belongs to another build would give wrong names.
func TestSplitOfAnotherBuild(t *testing.T) {
	path := build(t, "-O1", "-g", "-Wl,--build-id=none")
	split := path + ".debug"
	run(t, "objcopy", "--only-keep-debug", path, split)
	run(t, "strip", path)
	run(t, "objcopy", "--add-gnu-debuglink="+split, path)
	f, err := os.OpenFile(split, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("changed")
	f.Close()
	v := start(t, exec.Command(path))
	check(t, "stack", newResolver(t, Options{}).Resolve(v.pid, v.start, v.stack), " (program)", " (program)", " (program)")
}

// A library loaded after the process was first seen is found, and named
// when the process and the library are gone.
func TestLoadedLater(t *testing.T) {
	v := start(t, exec.Command(build(t, "-O1", "-rdynamic")))
	r := newResolver(t, Options{})
	if err := r.Process(v.pid, v.start); err != nil {
		t.Fatal(err)
	}
	lib := filepath.Join(t.TempDir(), "liblate.so.1.2")
	source := filepath.Join(t.TempDir(), "late.c")
	os.WriteFile(source, []byte("int late(int n) { return n * 3; }\n"), 0o644)
	run(t, "gcc", "-shared", "-fPIC", "-O1", "-Wl,-Ttext-segment=0x200000", "-o", lib, source)
	fmt.Fprintf(v.in, "late %s\n", lib)
	at := v.read(t)
	check(t, "loaded", r.Resolve(v.pid, v.start, at), "late (liblate.so.1.2)")
	v.end()
	os.Remove(lib)
	check(t, "gone", r.Resolve(v.pid, v.start, at), "late (liblate.so.1.2)")
}

func TestAnotherProcess(t *testing.T) {
	v := start(t, exec.Command(build(t, "-O1")))
	r := newResolver(t, Options{})
	other := v.start - int64(time.Hour)
	if err := r.Process(v.pid, other); err == nil {
		t.Error("the maps of a process were taken for those of another with its pid")
	}
	check(t, "other", r.Resolve(v.pid, other, v.stack), " ()", " ()", " ()")
	check(t, "start unknown", r.Resolve(v.pid, 0, v.stack), named...)
	if err := r.Process(1<<22+1, 0); err == nil {
		t.Error("no error for a process that is not there")
	}
}

// In a container, paths mean other files.
func TestOtherRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: sudo -E go test ./internal/symbol")
	}
	path := build(t, "-O1", "-static")
	root := t.TempDir()
	if err := os.Rename(path, filepath.Join(root, "program")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/program")
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	cmd.Dir = "/"
	v := start(t, cmd)
	check(t, "stack", newResolver(t, Options{}).Resolve(v.pid, v.start, v.stack), named...)
}

func TestVDSO(t *testing.T) {
	maps, err := readMaps(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(maps, func(m mapping) bool { return m.Path == vdso })
	if i < 0 {
		t.Skip("this process has no vDSO")
	}
	_, data, err := maps[i].readVDSO(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	img, err := parseImage(data)
	if err != nil {
		t.Fatal(err)
	}
	tab := newTable(img, nil)
	if len(tab.order) == 0 {
		t.Fatal("the vDSO has no functions")
	}
	_, b := tab.symbol(tab.order[0])
	got := newResolver(t, Options{}).Resolve(os.Getpid(), 0, []uint64{maps[i].Start + le.Uint64(b[8:])})
	if len(got) != 1 || got[0].File != "[vdso]" || got[0].Symbol != string(tab.name(tab.order[0], maxName))+"+0x0" {
		t.Errorf("got %+v", got)
	}
}

// A file that is cut short while it is mapped must not end the program.
func TestCutShort(t *testing.T) {
	path := build(t, "-O1", "-g", "-shared", "-fPIC")
	o := openObject(t, path)
	if len(o.tab.order) == 0 || o.lines == nil {
		t.Fatal("nothing to cut")
	}
	r := newResolver(t, Options{})
	o.loaded, o.tab = true, nil
	p := &process{pid: os.Getpid()}
	m := &mapping{proc.Mapping{Start: 0x1000000, End: 0x2000000, Path: path}, o}
	if err := os.Truncate(path, 4096); err != nil {
		t.Fatal(err)
	}
	for at := range uint64(100) {
		if got := r.frames(nil, p, m, 0x1001000+at, 0x1001000+at); len(got) != 1 || got[0].Symbol != "" || got[0].File != "program" {
			t.Fatalf("got %+v", got)
		}
	}
}
