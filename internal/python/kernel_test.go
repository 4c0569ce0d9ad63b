package python

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"

	"ingero/internal/bpftest"
	"ingero/internal/event"
)

// walker compiles and loads testdata/walk.bpf.c.
func walker(t *testing.T) *ebpf.Collection {
	t.Helper()
	bpftest.NeedBPF(t)
	clang, err := exec.LookPath("clang-16")
	if err != nil {
		clang, err = exec.LookPath("clang")
	}
	if err != nil {
		if os.Getenv("REQUIRE_BPF") != "" {
			t.Fatal("needs clang to compile the walker for the kernel")
		}
		t.Skip("needs clang to compile the walker for the kernel")
	}
	object := filepath.Join(t.TempDir(), "walk.o")
	out, err := exec.Command(clang, "-target", "bpf", "-D__TARGET_ARCH_x86", "-O2", "-g", "-Wall", "-Werror", "-mcpu=v3",
		"-I../../bpf", "-I/usr/include/x86_64-linux-gnu", "-c", "testdata/walk.bpf.c", "-o", object).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	began := time.Now()
	spec, err := ebpf.LoadCollectionSpec(object)
	if err != nil {
		t.Fatal(err)
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(coll.Close)
	t.Logf("verified %d instructions in %v", verified(coll), time.Since(began))
	return coll
}

func verified(c *ebpf.Collection) uint32 {
	info, err := c.Programs["call"].Info()
	if err != nil {
		return 0
	}
	n, _ := info.VerifiedInstructions()
	return n
}

// encode lays a Walk out as the compiled object does.
func encode(t *testing.T, w Walk, m *ebpf.Map) []byte {
	t.Helper()
	h, err := m.Handle()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	spec, err := h.Spec(nil)
	if err != nil {
		t.Fatal(err)
	}
	var s *btf.Struct
	if err := spec.TypeByName("py_process", &s); err != nil {
		t.Fatal(err)
	}
	b, v := make([]byte, s.Size), reflect.ValueOf(w)
	for _, f := range s.Members {
		if f.Name == "_pad" {
			continue
		}
		name := ""
		for part := range strings.SplitSeq(f.Name, "_") {
			name += strings.ToUpper(part[:1]) + part[1:]
		}
		field := v.FieldByName(name)
		if !field.IsValid() {
			t.Fatalf("Walk has no %s", name)
		}
		if field.Kind() == reflect.Uint64 {
			binary.LittleEndian.PutUint64(b[f.Offset.Bytes():], field.Uint())
		} else {
			binary.LittleEndian.PutUint32(b[f.Offset.Bytes():], uint32(field.Uint()))
		}
	}
	if want := laidOut(w); !slices.Equal(b, want) {
		t.Fatalf("struct py_process is laid out as %x, the plain walker is given %x", b, want)
	}
	return b
}

// record is struct walk in testdata/walk.bpf.c.
type record struct {
	tag, ns uint64
	pid     int
	frames  []RawFrame
}

func decodeRecord(b []byte) record {
	r := record{tag: u64(b, 0), ns: u64(b, 8), pid: int(binary.LittleEndian.Uint32(b[16:]))}
	for i := range uint64(binary.LittleEndian.Uint32(b[20:])) {
		r.frames = append(r.frames, RawFrame{u64(b, 24+16*i), u64(b, 32+16*i)})
	}
	return r
}

func TestEveryLineInTheKernel(t *testing.T) {
	coll := walker(t)
	all := pythons(t)
	if len(all) == 0 {
		t.Skip("needs a python3 with ctypes, 3.10 or later")
	}
	for version, path := range all {
		t.Run(version, func(t *testing.T) { everyLine(t, coll, version, path) })
	}
}

func everyLine(t *testing.T, coll *ebpf.Collection, version, path string) {
	j := startJob(t, path, 200, 4)
	pid := j.cmd.Process.Pid
	var ps Processes
	began := time.Now()
	walk, v, err := ps.Add(pid)
	if err != nil {
		t.Fatal(err)
	}
	adding, naming, named := time.Since(began), time.Duration(0), 0
	defer ps.Remove(pid)
	version = strings.TrimRight(version, "t")
	if v.Micro < 0 {
		v.Micro = 0
		version = version[:strings.LastIndex(version, ".")] + ".0"
	}
	if v.String() != version {
		t.Errorf("found CPython %v, want %s", v, version)
	}
	m := coll.Maps["py_processes"]
	if err := m.Put(uint32(pid), encode(t, walk, m)); err != nil {
		t.Fatal(err)
	}
	defer m.Delete(uint32(pid))
	exe, err := link.OpenExecutable(j.dir + "/libcudart.so.12")
	if err != nil {
		t.Fatal(err)
	}
	l, err := exe.Uprobe("cudaLaunchKernel", coll.Programs["call"], nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r, err := ringbuf.NewReader(coll.Maps["walks"])
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	j.begin()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		j.expect("done")
		r.Flush()
	}()
	got := map[uint64][]event.Frame{}
	var ns []uint64
	var last record
	for {
		rec, err := r.Read()
		if errors.Is(err, ringbuf.ErrFlushed) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		w := decodeRecord(rec.RawSample)
		began := time.Now()
		got[w.tag] = ps.Frames(w.pid, w.frames)
		naming += time.Since(began)
		named += len(w.frames)
		ns = append(ns, w.ns)
		last = w
	}
	<-stopped
	want := j.truth()
	compare(t, want, got)
	j.end()
	ended(t, &ps, pid, last, got[last.tag])
	slices.Sort(ns)
	t.Logf("%d stacks of %d calls, of %d frames in the mean; walking takes %v in the middle, %v at most of 99 %%; finding it took %v, naming a frame %v",
		len(ns), len(want.Calls), named/len(ns), time.Duration(ns[len(ns)/2]), time.Duration(ns[len(ns)*99/100]), adding, naming/time.Duration(named))
}

// ended checks what is said once the process has ended.
func ended(t *testing.T, ps *Processes, pid int, last record, before []event.Frame) {
	t.Helper()
	if got := ps.Frames(pid, last.frames); !slices.Equal(got, before) {
		t.Errorf("after the end: got\n%swant\n%s", show(got), show(before))
	}
	last.frames[0].Code += 16
	if got := ps.Frames(pid, last.frames[:1]); got[0] != (event.Frame{PyFunc: "?"}) {
		t.Errorf("after the end, of code that was not read: got %+v", got)
	}
}

func compare(t *testing.T, want truth, got map[uint64][]event.Frame) {
	t.Helper()
	wrong, missed := 0, 0
	for i := range want.Calls {
		w, g := want.frames(uint64(i+1)), got[uint64(i+1)]
		if slices.Equal(w, g) {
			continue
		}
		// The list of threads is read while others add and remove theirs: a
		// thread that C has just made may not be found in it, in very few calls.
		if missed++; len(g) == 0 && missed <= 2 && strings.HasPrefix(w[len(w)-1].PyFunc, "entry") {
			t.Logf("call %d of a thread that C made: not found", i+1)
			continue
		}
		if wrong++; wrong <= 3 {
			t.Errorf("call %d: got\n%swant\n%s", i+1, show(g), show(w))
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d calls with a wrong stack", wrong, len(want.Calls))
	}
}
