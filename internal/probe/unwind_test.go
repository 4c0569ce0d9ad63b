package probe

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ingero/internal/event"
	"ingero/internal/symbol"
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
		"gcc -shared -o libcudart.so.13 tail.c",
		"gcc -o tail tailmain.c -l:libcudart.so.13",
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
	return startProgram(t, dir, "main", args...)
}

func startProgram(t *testing.T, dir, name string, args ...string) *deep {
	cmd := exec.Command(filepath.Join(dir, name), args...)
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

// symbols turns return addresses of a process into names of functions, also
// when it has ended.
type symbols struct {
	*symbol.Resolver
	pid int
}

func readSymbols(t *testing.T, pid int) *symbols {
	s := &symbols{symbol.New(symbol.Options{NoLines: true}), pid}
	t.Cleanup(s.Close)
	if err := s.Process(pid, 0); err != nil {
		t.Fatal(err)
	}
	return s
}

// name returns the function, and the base name of its file.
func (s *symbols) name(ret uint64) (fn, file string) {
	f := s.Resolve(s.pid, 0, []uint64{0, ret})[1]
	fn, _, _ = strings.Cut(f.Symbol, "+")
	return cmp.Or(fn, "?"), cmp.Or(f.File, "?")
}

// walked is one call's stack, of one thread.
type walked struct {
	pid, tid uint32
	call     string // as exported
	stack    *event.RawStack
}

// callers are return addresses, innermost first.
func (w *walked) callers() []uint64 { return w.stack.IPs[1:] }

// walkConfig records every call with its stack.
var walkConfig = Config{Everyone: true, Emit: EmitAll, RingBytes: 64 << 20, Stacks: StacksOfAll}

// walked returns the stacks of all calls, and how many had each. It detaches.
func (s *session) walked() map[walked]int { return s.walkedAfter(0) }

// walkedAfter leaves out the first share of all calls.
func (s *session) walkedAfter(share float64) map[walked]int {
	s.t.Helper()
	s.finish()
	stacks := map[uint64]*event.RawStack{}
	for i := range s.stacks {
		stacks[s.stacks[i].Hash] = &s.stacks[i]
	}
	calls := map[event.Op]string{}
	for _, c := range s.Probe.calls {
		calls[c.ID] = c.Exports()[0]
	}
	seen := map[walked]int{}
	slices.SortStableFunc(s.events, func(a, b event.Event) int { return cmp.Compare(a.Start, b.Start) })
	for _, e := range s.events[int(share*float64(len(s.events))):] {
		if stacks[e.Stack] == nil {
			s.t.Fatalf("%v has no stack", e.Op)
		}
		seen[walked{e.PID, e.TID, calls[e.Op], stacks[e.Stack]}]++
	}
	return seen
}

// startWaiting starts a program that says "ready" on standard error and waits
// until the returned function is called, which lets it run to its end.
func startWaiting(t *testing.T, cmd *exec.Cmd) (finish func()) {
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
	return func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
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

// TestUnwindMaps checks that both sides mean the same, and that regions come
// and go.
func TestUnwindMaps(t *testing.T) {
	for k, b := range map[unwind.Kind]bpfUnwindKind{
		unwind.Hole: bpfUnwindKindUNWIND_HOLE, unwind.StackPtr: bpfUnwindKindUNWIND_SP, unwind.FramePtr: bpfUnwindKindUNWIND_BP,
		unwind.Realigned: bpfUnwindKindUNWIND_REALIGNED, unwind.PLT: bpfUnwindKindUNWIND_PLT, unwind.Signal: bpfUnwindKindUNWIND_SIGNAL,
		unwind.End: bpfUnwindKindUNWIND_END, unwind.Unsupported: bpfUnwindKindUNWIND_UNSUPPORTED,
	} {
		if uint32(k) != uint32(b) {
			t.Errorf("kind %d is %d in the kernel", k, b)
		}
	}
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	regions := spec.Maps["unwind_regions"]
	if regions.MaxEntries != unwind.MaxRegions || regions.InnerMap.MaxEntries != unwind.RegionWords ||
		len(bpfUnwindProcess{}.Mappings) != unwind.MaxMappings {
		t.Error("sizes differ")
	}
	sim(t)
	s := open(t, Config{})
	u := s.Unwind()
	words := make([]uint64, 3*unwind.RegionWords)
	for i := range words {
		words[i] = uint64(i)
	}
	const at = unwind.RegionWords / 2
	if err := u.WriteWords(at, words); err != nil {
		t.Fatal(err)
	}
	for _, i := range []uint32{0, 1, at, unwind.RegionWords, 3*unwind.RegionWords - 1} {
		var v uint64
		pos := at + i
		if err := u.regions[pos/unwind.RegionWords].Lookup(pos%unwind.RegionWords, &v); err != nil || v != uint64(i) {
			t.Errorf("word %d is %d, %v", i, v, err)
		}
	}
	for n := range uint32(4) {
		if err := u.DropRegion(n); err != nil {
			t.Error(err)
		}
		if err := u.DropRegion(n); err != nil {
			t.Error(err)
		}
	}
	if err := u.WriteWords(unwind.MaxRegions*unwind.RegionWords, words[:1]); err == nil {
		t.Error("wrote beyond all regions")
	}
	if err := u.SetMappings(1, make([]unwind.Mapping, unwind.MaxMappings+10)); err != nil {
		t.Error(err)
	}
	if err := u.DropMappings(1); err != nil {
		t.Error(err)
	}
}
