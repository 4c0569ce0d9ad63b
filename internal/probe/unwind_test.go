package probe

import (
	"bufio"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"ingero/internal/event"
	"ingero/internal/unwind"
)

// deep is a running program whose calls come from code without frame pointers.
type deep struct {
	t   *testing.T
	pid int
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	dir string
}

// buildDeep builds testdata/unwind beside the simulated CUDA.
func buildDeep(t *testing.T, frames string) string {
	dir := sim(t)
	for _, tool := range []string{"gcc", "g++"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs gcc and g++ to build code without frame pointers")
		}
	}
	flags := "-O2 -g0 -fPIC " + frames + " -Wall -Werror -Wl,-rpath,$ORIGIN -L" + dir
	for _, args := range []string{
		"gcc -shared -o libinner.so inner.c -l:libcudart.so.12",
		"gcc -shared -o libmiddle.so middle.c -linner",
		"g++ -shared -o libouter.so outer.cc -lmiddle -l:libcudart.so.12",
		"gcc -shared -o liblate.so late.c -l:libcudart.so.12",
		"g++ -o main main.cc -louter -lmiddle -linner -l:libcudart.so.12 -pthread",
	} {
		words := strings.Fields(args)
		words = append(words[:1:1], append(strings.Fields(flags), words[1:]...)...)
		for i, w := range words {
			if words[i-min(i, 1)] == "-o" {
				words[i] = filepath.Join(dir, w)
			}
		}
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Dir = "testdata/unwind"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd, err, out)
		}
	}
	return dir
}

func startDeep(t *testing.T, dir string, args ...string) *deep {
	cmd := exec.Command(filepath.Join(dir, "main"), args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close() // it goes on to its end
		if err := cmd.Wait(); err != nil && cmd.ProcessState == nil {
			t.Error(err)
		}
	})
	d := &deep{t, cmd.Process.Pid, cmd, in, bufio.NewReader(out), dir}
	d.expect("ready")
	return d
}

func (d *deep) expect(word string) {
	d.t.Helper()
	if line, err := d.out.ReadString('\n'); strings.TrimSpace(line) != word {
		d.t.Fatalf("%q, %v; expected %q", line, err, word)
	}
}

func (d *deep) next() { fmt.Fprintln(d.in) }

// symbols turns addresses of a process into names of functions.
type symbols struct {
	areas []symbolArea
	files map[string][]elf.Symbol
}

type symbolArea struct {
	start, end, bias uint64
	path             string
}

func readSymbols(t *testing.T, pid int) *symbols {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	s := &symbols{files: map[string][]elf.Symbol{}}
	for line := range strings.Lines(string(maps)) {
		var a symbolArea
		var offset, inode uint64
		var perm, dev string
		if n, _ := fmt.Sscanf(line, "%x-%x %s %x %s %d %s", &a.start, &a.end, &perm, &offset, &dev, &inode, &a.path); n < 7 || perm[2] != 'x' {
			continue
		}
		f, err := elf.Open(a.path)
		if err != nil {
			continue
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_LOAD && p.Flags&elf.PF_X != 0 && p.Off&^4095 <= offset && offset < p.Off+p.Filesz {
				a.bias = a.start - offset + p.Off - p.Vaddr
			}
		}
		all, _ := f.Symbols()
		dynamic, _ := f.DynamicSymbols()
		all = append(all, dynamic...)
		sort.SliceStable(all, func(i, j int) bool { return all[i].Value < all[j].Value })
		s.files[a.path] = all
		s.areas = append(s.areas, a)
		f.Close()
	}
	return s
}

// name returns the function, and the base name of its file.
func (s *symbols) name(ip uint64) (fn, file string) {
	for _, a := range s.areas {
		if ip < a.start || ip >= a.end {
			continue
		}
		for _, sym := range s.files[a.path] {
			if at := ip - a.bias; elf.ST_TYPE(sym.Info) == elf.STT_FUNC && at >= sym.Value && at < sym.Value+sym.Size {
				return sym.Name, filepath.Base(a.path)
			}
		}
		return "?", filepath.Base(a.path)
	}
	return "?", "?"
}

// hooked is one distinct stack that the hook recorded.
type hooked struct {
	pid, tid, row uint32
	n             uint32
	ips           [128]uint64
}

// readHook collects stacks until the returned function is called, which
// returns them with how often each was seen.
func readHook(s *session) func() map[hooked]int {
	r, err := ringbuf.NewReader(s.objs.HookRecords)
	if err != nil {
		s.t.Fatal(err)
	}
	seen := map[hooked]int{}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		var rec ringbuf.Record
		for {
			r.SetDeadline(time.Now().Add(5 * time.Millisecond))
			for r.ReadInto(&rec) == nil {
				h := *(*bpfHookRecord)(unsafe.Pointer(&rec.RawSample[0]))
				key := hooked{h.Pid, h.Tid, h.Row, h.Count, [128]uint64{}}
				copy(key.ips[:], h.Ips[:min(h.Count, 128)])
				seen[key]++
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	return func() map[hooked]int {
		time.Sleep(20 * time.Millisecond) // one more poll
		close(stop)
		<-done
		r.Close()
		return seen
	}
}

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

var mangled = strings.NewReplacer("_ZN12outer_buffer8overflowEi", "outer_buffer::overflow", ".localalias", "")

// judge says what is wrong with a stack, or nothing.
func judge(s *session, syms *symbols, h hooked) string {
	var names, all []string
	file := ""
	for _, ip := range h.ips[:h.n] {
		var fn string
		fn, file = syms.name(ip - 1)
		fn = mangled.Replace(fn)
		all = append(all, fn+"@"+file)
		if file == "main" || strings.HasPrefix(file, "lib") && slices.Contains([]string{"libinner.so", "libmiddle.so", "libouter.so", "liblate.so"}, file) {
			names = append(names, fn)
		}
	}
	call := s.Probe.calls[h.row].Exports()[0]
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
func (d *deep) score(s *session, syms *symbols, seen map[hooked]int) (good, bad int) {
	shown := 0
	for h, n := range seen {
		if int(h.pid) != d.pid {
			continue
		}
		why := judge(s, syms, h)
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
	s := open(t, Config{Everyone: true, hook: bpfHookHOOK_WALK}, libs(dir)...)
	m := unwind.New(s.Unwind(), unwind.Config{})
	defer m.Close()
	m.Process(d.pid)
	await(t, func() bool { return m.Stats().Processes > 0 })
	stop := readHook(s)
	d.next()
	d.expect("done")
	seen := stop()
	good, bad := d.score(s, readSymbols(t, d.pid), seen)
	var lost uint64
	if err := s.objs.HookLost.Get(&lost); err != nil {
		t.Fatal(err)
	}
	walks, err := s.Unwind().Walks()
	t.Logf("%d stacks right, %d wrong, %d lost, %d distinct; walks %+v %v; %+v", good, bad, lost, len(seen), walks, err, m.Stats())
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
	s := open(t, Config{Everyone: true, hook: bpfHookHOOK_WALK}, libs(dir)...)
	m := unwind.New(s.Unwind(), unwind.Config{Every: 10 * time.Millisecond})
	defer m.Close()
	stop := readHook(s)
	d.next()
	d.expect("done")
	seen := stop()
	good, bad := d.score(s, readSymbols(t, d.pid), seen)
	t.Logf("%d stacks right, %d wrong; %+v", good, bad, m.Stats())
	if bad*10 > good {
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
	s := open(t, Config{Everyone: true, hook: bpfHookHOOK_WALK}, libs(dir)...)
	stop := readHook(s)
	d.next()
	d.expect("done")
	seen, syms, good := stop(), readSymbols(t, d.pid), 0
	for h, n := range seen {
		var all []string
		for _, ip := range h.ips[:h.n] {
			fn, _ := syms.name(ip - 1)
			all = append(all, mangled.Replace(fn))
		}
		call := s.Probe.calls[h.row].Exports()[0]
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
	s := open(t, Config{Everyone: true, hook: bpfHookHOOK_WALK}, libs(dir)...)
	m := unwind.New(s.Unwind(), unwind.Config{})
	defer m.Close()
	stop := readHook(s)
	cmd := exec.Command(python, filepath.Join(dir, "train.py"), "--lib-dir", dir, "--steps", "200", "--launches", "50", "--wait-stdin")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(line, err)
	}
	m.Process(cmd.Process.Pid)
	await(t, func() bool { return m.Stats().Processes > 0 })
	syms := readSymbols(t, cmd.Process.Pid)
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	good, bad, shown := 0, 0, 0
	for h, n := range stop() {
		var all []string
		for _, ip := range h.ips[:h.n] {
			fn, file := syms.name(ip - 1)
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

// TestWalkCost measures a return probe without stacks, with walks by tables
// and with those of the kernel by frame pointers, from the same program.
func TestWalkCost(t *testing.T) {
	dir := buildDeep(t, "-fno-omit-frame-pointer")
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		t.Skip(err)
	}
	defer stats.Close()
	var base time.Duration
	for _, hook := range []bpfHook{bpfHookHOOK_NONE, bpfHookHOOK_WALK | bpfHookHOOK_DISCARD, bpfHookHOOK_KERNEL | bpfHookHOOK_DISCARD} {
		d := startDeep(t, dir, "1", "10000")
		calls := event.Calls[:0:0]
		for _, c := range event.Calls {
			if c.Exports()[0] == "cudaMemset" {
				calls = append(calls, c)
			}
		}
		s := open(t, Config{Everyone: true, hook: hook, Calls: calls}, libs(dir)...)
		m := unwind.New(s.Unwind(), unwind.Config{})
		m.Process(d.pid)
		await(t, func() bool { return m.Stats().Processes > 0 })
		d.next()
		d.expect("done")
		st, err := s.objs.CallExit.Stats()
		if err != nil {
			t.Fatal(err)
		}
		each := st.Runtime / time.Duration(max(st.RunCount, 1))
		if hook == bpfHookHOOK_NONE {
			base = each
		}
		var stack bpfHookRecord
		if err := s.objs.HookLast.Get(&stack.Count); err != nil {
			t.Fatal(err)
		}
		t.Logf("hook %d: call_exit %v, %v for %d frames; %d runs", hook, each, each-base, stack.Count, st.RunCount)
		m.Close()
		s.stop()
	}
}

func await(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing happened within 10 s")
		}
	}
}
