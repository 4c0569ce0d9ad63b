package probe

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ingero/internal/unwind"
)

// ours are the functions of the program below each call, innermost first;
// nested calls of the driver have those of the runtime's call.
var ours = map[string][]string{
	"cudaLaunchKernel":      {"inner_launch", "middle_launch", "outer_launch", "job"},
	"cudaMemcpyAsync":       {"inner_aligned", "middle_big", "outer_big", "job"},
	"cudaMemset":            append(slices.Repeat([]string{"inner_deep"}, 21), "middle_deep", "outer_deep", "job"),
	"cudaMalloc":            {"inner_alloc", "middle_alloc", "outer_handler", "outer_signal", "job"},
	"cudaFreeAsync":         {"inner_alloc", "middle_alloc", "outer_handler", "outer_signal", "job"},
	"cudaStreamSynchronize": {"outer_compare", "outer_sort", "job"},
	"cudaFree":              {"outer_buffer::overflow", "outer_stream", "job"},
	"cudaMemsetAsync":       {"late_call", "job"},
}

var plain = strings.NewReplacer(".localalias", "")

// judge says what is wrong with a stack, or nothing.
func judge(syms *symbols, h walked) string {
	var names, all []string
	file := ""
	for _, ip := range h.callers() {
		var fn string
		fn, file = syms.name(ip)
		fn = plain.Replace(fn)
		all = append(all, fn+"@"+file)
		if file == "main" || strings.HasPrefix(file, "lib") && slices.Contains([]string{"libinner.so", "libmiddle.so", "libouter.so", "liblate.so"}, file) {
			names = append(names, fn)
		}
	}
	call := h.call
	want := ours[call]
	for outer, chain := range ours { // a call of the driver comes from one of the runtime
		if strings.HasPrefix(call, "cu") && !strings.HasPrefix(call, "cuda") && slices.ContainsFunc(all, func(s string) bool { return s == outer+"@libcudart.so.12" }) {
			want = chain
		}
	}
	end := []string{"main", "_start"}
	if h.pid != h.tid {
		end = nil
	}
	got := slices.DeleteFunc(slices.Clone(names), func(s string) bool { return strings.Contains(s, "_M_run") })
	if want == nil || !slices.Equal(got, append(slices.Clone(want), end...)) {
		return call + ": " + strings.Join(all, " ")
	}
	if h.pid != h.tid && file != "libc.so.6" {
		return call + ": ends in " + file + ": " + strings.Join(all, " ")
	}
	return ""
}

// score judges all stacks of a program.
func (d *deep) score(syms *symbols, seen map[walked]int) (good, bad int) {
	shown := 0
	for h, n := range seen {
		if int(h.pid) != d.pid {
			continue
		}
		why := judge(syms, h)
		if why == "" {
			good += n
			continue
		}
		bad += n
		if shown++; shown <= 8 {
			d.t.Logf("%d times: %s", n, why)
		}
	}
	return good, bad
}

// TestWalkWithoutFramePointers runs four threads at full speed through three
// libraries built without frame pointers, and through callbacks of libc and
// libstdc++ and a signal handler, and checks every stack.
func TestWalkWithoutFramePointers(t *testing.T) {
	dir := buildDeep(t, "-fomit-frame-pointer")
	const rounds = 3000
	d := startDeep(t, dir, "4", fmt.Sprint(rounds))
	s := open(t, walkConfig, libs(dir)...)
	m := unwind.New(s.Unwind(), unwind.Config{})
	defer m.Close()
	m.Process(d.pid)
	await(t, func() bool { return m.Stats().Processes > 0 })
	d.next()
	d.expect("done")
	good, bad := d.score(readSymbols(t, d.pid), s.walked())
	lost, err := s.StacksLost()
	if err != nil {
		t.Fatal(err)
	}
	walks, err := s.Unwind().Walks()
	t.Logf("%d stacks right, %d wrong, %d lost, %d distinct; walks %+v %v; %+v", good, bad, lost, len(s.stacks), walks, err, m.Stats())
	if good+bad+int(lost) < 4*rounds*8 || bad*100 > good {
		t.Errorf("%d stacks right, %d wrong, %d lost; expected at least %d and 99 %% right", good, bad, lost, 4*rounds*8)
	}
	if walks.Complete < (walks.Complete+walks.NoRule+walks.Unsupported+walks.Unreadable+walks.TooDeep)*99/100 {
		t.Errorf("walks ended early: %+v", walks)
	}
}

// TestWalkAfterDlopen loads a library while the program runs: the first
// stacks that meet it make the manager look again. Nobody tells it of the
// process either.
func TestWalkAfterDlopen(t *testing.T) {
	dir := buildDeep(t, "-fomit-frame-pointer")
	d := startDeep(t, dir, "1", "200000", filepath.Join(dir, "liblate.so"))
	s := open(t, walkConfig, libs(dir)...)
	m := unwind.New(s.Unwind(), unwind.Config{Every: 10 * time.Millisecond})
	defer m.Close()
	d.next()
	d.expect("done")
	// How many calls come before the tables are there depends on who else wants a CPU.
	good, bad := d.score(readSymbols(t, d.pid), s.walkedAfter(0.75))
	t.Logf("%d stacks right, %d wrong in the last quarter; %+v", good, bad, m.Stats())
	if bad*50 > good {
		t.Errorf("%d stacks right, %d wrong", good, bad)
	}
	if n := m.Stats().Looks; n > 20 {
		t.Errorf("looked %d times", n)
	}
	d.next()
	_ = d.cmd.Wait()
	await(t, func() bool { return m.Stats().Processes == 0 })
	if err := s.Unwind().Misses(func(pid int, _ uint64) {
		if pid == d.pid {
			t.Error("a process that ended is still counted")
		}
	}); err != nil {
		t.Error(err)
	}
}

// TestWalkByFramePointers has no tables: code with frame pointers is walked
// all the same, as the kernel itself does it.
func TestWalkByFramePointers(t *testing.T) {
	dir := buildDeep(t, "-fno-omit-frame-pointer")
	d := startDeep(t, dir, "1", "200")
	s := open(t, walkConfig, libs(dir)...)
	d.next()
	d.expect("done")
	seen, syms, good := s.walked(), readSymbols(t, d.pid), 0
	for h, n := range seen {
		var all []string
		for _, ip := range h.callers() {
			fn, _ := syms.name(ip)
			all = append(all, plain.Replace(fn))
		}
		call := h.call
		want := strings.Join(append(slices.Clone(ours[call]), "main"), " ")
		switch got := strings.Join(all, " "); {
		case call != "cudaMemset" && call != "cudaLaunchKernel" && call != "cudaMemcpyAsync": // others come through libc
		case strings.HasPrefix(got, want):
			good += n
		default:
			t.Errorf("%s: %s", call, got)
		}
	}
	if good != 600 {
		t.Errorf("%d stacks right, expected 600", good)
	}
}

// TestWalkPython walks a real interpreter that calls through ctypes.
func TestWalkPython(t *testing.T) {
	dir := sim(t)
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3")
	}
	s := open(t, walkConfig, libs(dir)...)
	m := unwind.New(s.Unwind(), unwind.Config{})
	defer m.Close()
	cmd := exec.Command(python, filepath.Join(dir, "train.py"), "--lib-dir", dir, "--steps", "200", "--launches", "50", "--wait-stdin")
	finish := startWaiting(t, cmd)
	m.Process(cmd.Process.Pid)
	await(t, func() bool { return m.Stats().Processes > 0 })
	syms := readSymbols(t, cmd.Process.Pid)
	finish()
	good, bad, shown := 0, 0, 0
	for h, n := range s.walked() {
		var all []string
		for _, ip := range h.callers() {
			fn, file := syms.name(ip)
			all = append(all, fn+"@"+file)
		}
		at := slices.IndexFunc(all, func(s string) bool { return strings.HasPrefix(s, "_PyEval_EvalFrameDefault@") })
		end := slices.IndexFunc(all, func(s string) bool { return strings.HasPrefix(s, "Py_BytesMain@") })
		start := slices.IndexFunc(all, func(s string) bool { return strings.HasPrefix(s, "__libc_start_main@") })
		if 0 < at && at < end && end < start && start < len(all)-1 {
			good += n
			continue
		}
		bad += n
		if shown++; shown <= 5 {
			t.Logf("%d times: %s", n, strings.Join(all, " "))
		}
	}
	walks, err := s.Unwind().Walks()
	t.Logf("%d stacks right, %d wrong; walks %+v %v; %+v", good, bad, walks, err, m.Stats())
	if good < 1000 || bad*100 > good {
		t.Errorf("%d stacks right, %d wrong", good, bad)
	}
}

// gdbFrames prints the frames that are on the stack: not those that gdb infers
// from debug information, of calls that were inlined or jumped to.
const gdbFrames = `exec("""
f = gdb.newest_frame().older()
while f:
    if f.type() in (gdb.NORMAL_FRAME, gdb.SIGTRAMP_FRAME):
        print("frame %#x" % f.pc())
    f = f.older()
""")`

// TestWalkAgreesWithGDB compares the addresses of a Python program's stack with
// gdb's, from two runs at the same addresses: where a return probe is set gdb
// does not find its way.
func TestWalkAgreesWithGDB(t *testing.T) {
	dir := sim(t)
	for _, tool := range []string{"gdb", "setarch", "python3"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs gdb, setarch and python3")
		}
	}
	python, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output() // gdb takes no script
	if err != nil {
		t.Skip(err)
	}
	args := []string{strings.TrimSpace(string(python)), filepath.Join(dir, "train.py"), "--lib-dir", dir, "--steps", "20"}
	gdb := exec.Command("gdb", append([]string{
		"-batch", "-nx", "-ex", "set breakpoint pending on", "-ex", "set backtrace past-main on",
		"-ex", "break cudaStreamSynchronize", "-ex", "run", "-ex", "python " + gdbFrames, "-ex", "kill", "--args",
	}, args...)...)
	gdb.Env = append(os.Environ(), "DEBUGINFOD_URLS=")
	out, err := gdb.Output()
	if err != nil {
		t.Fatal(err)
	}
	var want []uint64
	for line := range strings.Lines(string(out)) {
		var at uint64
		if _, err := fmt.Sscanf(line, "frame 0x%x", &at); err == nil {
			want = append(want, at)
		}
	}
	if len(want) < 10 {
		t.Skipf("gdb sees no stack: %s", out)
	}
	s := open(t, walkConfig, libs(dir)...)
	m := unwind.New(s.Unwind(), unwind.Config{})
	defer m.Close()
	cmd := exec.Command("setarch", append([]string{"-R"}, append(args, "--wait-stdin")...)...)
	finish := startWaiting(t, cmd)
	m.Process(cmd.Process.Pid)
	await(t, func() bool { return m.Stats().Processes > 0 })
	finish()
	same, other := 0, 0
	for h, n := range s.walked() {
		if h.call != "cudaStreamSynchronize" {
			continue
		}
		if slices.Equal(h.callers(), want) {
			same += n
			continue
		}
		other += n
		t.Logf("%d times %#x, gdb says %#x", n, h.callers(), want)
	}
	if t.Logf("%d stacks of %d frames as gdb has them, %d others", same, len(want), other); same < 18 {
		t.Errorf("%d of %d stacks as gdb has them", same, same+other)
	}
}

// TestWalkThroughTailCall has a traced call jump to another one: both return
// probes share a return address, which is found all the same.
func TestWalkThroughTailCall(t *testing.T) {
	dir := buildDeep(t, "-fomit-frame-pointer")
	d := startProgram(t, dir, "tail")
	s := open(t, walkConfig, filepath.Join(dir, "libcudart.so.13"))
	m := unwind.New(s.Unwind(), unwind.Config{})
	defer m.Close()
	m.Process(d.pid)
	await(t, func() bool { return m.Stats().Processes > 0 })
	d.next()
	d.expect("done")
	seen, syms, good := s.walked(), readSymbols(t, d.pid), 0
	for h, n := range seen {
		var all []string
		for _, ip := range h.callers() {
			// Within libc one has a name only where its symbols are.
			if fn, _ := syms.name(ip); fn != "?" && fn != "__libc_start_call_main" {
				all = append(all, fn)
			}
		}
		call, want := h.call, "job main __libc_start_main _start"
		if call == "cudaMemset" {
			want = "cudaFreeAsync " + want
		}
		if got := strings.Join(all, " "); got != want {
			t.Errorf("%d times %s: %s, expected %s", n, call, got, want)
			continue
		}
		good += n
	}
	if good != 300 {
		t.Errorf("%d stacks right, expected 300", good)
	}
}
