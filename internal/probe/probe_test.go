package probe

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf/link"

	"ingero/internal/bpftest"
	"ingero/internal/event"
	"ingero/internal/proc"
	"ingero/internal/stats"
	"ingero/test/workload"
)

// Every way to call, with every count, error and byte compared with what the
// workload counted itself.
func TestCountsAreExact(t *testing.T) {
	dir := sim(t)
	for name, args := range map[string]string{
		"training":     "--steps 50 --launches 20 --copy-bytes 65536 --alloc-bytes 4096 --kernel-ns 1000",
		"failing":      "--steps 20 --fail --kernel-ns 1000",
		"graphs":       "--steps 50 --graph --kernel-ns 1000",
		"driver only":  "--steps 50 --driver --copy-bytes 65536 --alloc-bytes 4096 --kernel-ns 1000",
		"event sync":   "--steps 50 --sync event --wait spin --kernel-ns 1000",
		"fast":         "--bench cudaLaunchKernel --count 200000 --kernel-ns 0",
		"8 threads":    "--bench cudaLaunchKernel --count 25000 --threads 8 --kernel-ns 0",
		"2 processes":  "--bench cudaLaunchKernel --count 100000 --processes 2 --kernel-ns 0",
		"late dlopen":  "--steps 20 --late-dlopen-ms 50 --kernel-ns 1000",
		"many devices": "--steps 20 --threads 4 --devices 4 --kernel-ns 1000",
	} {
		for _, single := range []bool{false, true} {
			var rows []event.Call
			if single {
				if name != "training" && name != "8 threads" {
					continue
				}
				// New kernels, which do not need single uprobes, take 0.1 s to remove each.
				rows = slices.DeleteFunc(slices.Clone(event.Calls), func(c event.Call) bool {
					return !strings.HasSuffix(c.Name, "LaunchKernel") && c.Class != event.Alloc
				})[:6]
			}
			t.Run(strings.ReplaceAll(name, " ", "-")+map[bool]string{true: "/single-uprobes"}[single], func(t *testing.T) {
				s := open(t, Config{Calls: rows, Everyone: true, Emit: EmitPolicy, Single: single}, libs(dir)...)
				truth := run(t, dir, strings.Fields(args)...)
				s.finish()
				s.agree(truth)
				if truth.Calls["cuLaunchKernel"]+truth.Calls["cuGraphLaunch"] == 0 {
					t.Error("the workload launched nothing")
				}
			})
		}
	}
}

// A launch as nvcc 13 compiles it is a launch.
func TestSecondSymbol(t *testing.T) {
	dir := sim(t)
	s := open(t, Config{Everyone: true, Emit: EmitPolicy}, libs(dir)...)
	truth := run(t, dir, "--bench", "__cudaLaunchKernel", "--count", "5000", "--kernel-ns", "0")
	s.finish()
	for name, want := range map[string]uint64{"cudaLaunchKernel": truth.Calls["__cudaLaunchKernel"], "cuLaunchKernel": 5000} {
		if c := s.calls[name]; c == nil || c.Hist.Count() != want || want != 5000 {
			t.Errorf("%s: %+v, the program made %d", name, c, want)
		}
	}
}

func TestStaticRuntime(t *testing.T) {
	dir := sim(t)
	s := open(t, Config{Everyone: true}, filepath.Join(dir, "workload-static"), filepath.Join(dir, "libcuda.so.1"))
	r, err := workload.StartCommand(t.Context(), filepath.Join(dir, "workload-static"), "--steps", "20")
	if err != nil {
		t.Fatal(err)
	}
	truth, err := r.Wait()
	if err != nil {
		t.Fatal(err)
	}
	s.finish()
	s.agree(truth)
	if s.calls["cudaLaunchKernel"] == nil {
		t.Error("the runtime inside the executable was not traced")
	}
}

// With every call recorded, records and counters tell the same story to the
// last bucket; this also proves that C and Go agree on the buckets.
func TestRecordsMatchHistograms(t *testing.T) {
	dir := sim(t)
	s := open(t, Config{Everyone: true, Emit: EmitAll, RingBytes: 1 << 25}, libs(dir)...)
	truth := run(t, dir, "--steps", "200", "--launches", "50", "--copy-bytes", "100000", "--kernel-ns", "2000", "--threads", "2")
	s.finish()
	s.agree(truth)
	fromRecords := map[event.Op]*stats.Calls{}
	for _, e := range s.events {
		c := fromRecords[e.Op]
		if c == nil {
			c = &stats.Calls{Op: e.Op, Hist: &stats.Histogram{}}
			fromRecords[e.Op] = c
		}
		c.Hist.Add(uint64(e.Dur))
		c.Bytes += e.Bytes
		if e.Depth > 0 {
			c.Nested++
		}
	}
	for name, c := range s.calls {
		r := fromRecords[c.Op]
		if r == nil {
			t.Errorf("%s: counted but not recorded", name)
			continue
		}
		if got, want := r.Hist.AppendTo(nil), c.Hist.AppendTo(nil); !slices.Equal(got, want) {
			t.Errorf("%s: records make %d calls of %d ns, counters %d of %d", name, r.Hist.Count(), r.Hist.Sum(), c.Hist.Count(), c.Hist.Sum())
		}
		if r.Bytes != c.Bytes || r.Nested != c.Nested || c.Lost != 0 || c.Recorded != c.Hist.Count() {
			t.Errorf("%s: records %d bytes %d nested, counters %+v", name, r.Bytes, r.Nested, *c)
		}
	}
	if n := s.calls["cuLaunchKernel"]; n.Nested != n.Hist.Count() {
		t.Errorf("%d of %d driver launches nested, want all", n.Nested, n.Hist.Count())
	}
}

func TestFullRingLosesRecordsNotCounts(t *testing.T) {
	dir := sim(t)
	s := open(t, Config{Everyone: true, Emit: EmitAll, RingBytes: 1 << 12}, libs(dir)...)
	truth := run(t, dir, "--bench", "cudaLaunchKernel", "--count", "100000", "--kernel-ns", "0")
	s.finish()
	s.agree(truth)
	var recorded, lost uint64
	for name, c := range s.calls {
		if c.Recorded+c.Lost != c.Hist.Count() {
			t.Errorf("%s: %d recorded + %d lost is not %d calls", name, c.Recorded, c.Lost, c.Hist.Count())
		}
		recorded, lost = recorded+c.Recorded, lost+c.Lost
	}
	if lost == 0 || recorded != uint64(len(s.events)) {
		t.Errorf("%d lost, %d recorded, %d read", lost, recorded, len(s.events))
	}
}

// Fast calls are sampled, slow and rare ones always recorded.
func TestPolicy(t *testing.T) {
	dir := sim(t)
	s := open(t, Config{Everyone: true, Emit: EmitPolicy}, libs(dir)...)
	r, err := workload.Start(t.Context(), dir, "--steps", "0", "--launches", "200", "--kernel-ns", "100", "--duration-s", "2.5")
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(300 * time.Millisecond) // the agent does this once a second
	defer tick.Stop()
	go func() {
		for range tick.C {
			s.mu.Lock()
			s.Drain(s.count)
			s.SetPolicy()
			s.mu.Unlock()
		}
	}()
	truth, err := r.Wait()
	if err != nil {
		t.Fatal(err)
	}
	tick.Stop()
	s.finish()
	s.agree(truth)
	launch, sync := s.calls["cuLaunchKernel"], s.calls["cudaStreamSynchronize"]
	if launch.Recorded == 0 || launch.Recorded > launch.Hist.Count()/4 {
		t.Errorf("%d of %d launches recorded, want a sample", launch.Recorded, launch.Hist.Count())
	}
	if sync.Recorded != sync.Hist.Count() {
		t.Errorf("%d of %d waits recorded, want all", sync.Recorded, sync.Hist.Count())
	}
	slowest := uint64(0)
	for _, e := range s.events {
		if e.Op == launch.Op {
			slowest = max(slowest, uint64(e.Dur))
		}
	}
	if slowest != launch.Hist.Max() {
		t.Errorf("slowest launch recorded %d ns, slowest of all %d", slowest, launch.Hist.Max())
	}
}

// A process that slows down is sampled at its new rate at once, not when the
// calls that its old rate would have skipped are over.
func TestSamplingFollowsTheRate(t *testing.T) {
	dir := sim(t)
	control := filepath.Join(t.TempDir(), "control")
	if err := os.WriteFile(control, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s := open(t, Config{Everyone: true, Emit: EmitPolicy}, libs(dir)...)
	r, err := workload.Start(t.Context(), dir, "--steps", "0", "--launches", "500", "--kernel-ns", "100", "--control", control)
	if err != nil {
		t.Fatal(err)
	}
	// drain returns how many launches were made and recorded since it was called last.
	drain := func() (made, recorded uint64) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.Drain(func(c stats.Calls) {
			if c.Op == event.MakeOp(event.Driver, 1) {
				made, recorded = c.Hist.Count(), c.Recorded
			}
		})
		s.SetPolicy()
		return made, recorded
	}
	waitFor := func(what string, ok func(made, recorded uint64) bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; {
			time.Sleep(200 * time.Millisecond) // as the agent once a second
			made, recorded := drain()
			if ok(made, recorded) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: %d of %d launches recorded", what, recorded, made)
			}
		}
	}
	waitFor("fast", func(made, recorded uint64) bool { return made > 20_000 && recorded < made/10 })
	if err := os.WriteFile(control, []byte("gap_us=20000\nlaunches=2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	waitFor("slow", func(made, _ uint64) bool { return made > 0 && made < 100 })
	next := true // the policy has seen the new rate: from now on all are recorded
	waitFor("slow", func(made, recorded uint64) bool {
		if made > 0 && recorded < made && next {
			t.Errorf("%d of %d launches recorded at the new rate", recorded, made)
		}
		next = made == 0
		return made > 0
	})
	if err := os.WriteFile(control, []byte("stop=1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	s.finish()
}

func TestCapturedArguments(t *testing.T) {
	dir := sim(t)
	s := open(t, Config{Everyone: true, Emit: EmitAll}, libs(dir)...)
	before := time.Now()
	run(t, dir, "--steps", "3", "--launches", "1", "--copy-bytes", "12345", "--alloc-bytes", "6789", "--threads", "2", "--devices", "2")
	s.finish()
	made, freed, gpus := map[uint64]bool{}, map[uint64]bool{}, map[int16]bool{}
	directions := map[event.Direction]int{}
	for _, e := range s.events {
		if e.Start < before.UnixNano() || e.Start+e.Dur > time.Now().UnixNano() {
			t.Errorf("%v at %v is not within the run", e.Op, time.Unix(0, e.Start))
		}
		if e.Comm != "workload" || e.PID == 0 || e.TID == 0 || e.Cgroup == 0 {
			t.Errorf("%v: comm %q pid %d tid %d cgroup %d", e.Op, e.Comm, e.PID, e.TID, e.Cgroup)
		}
		switch e.Op.String() {
		case "cudaMalloc":
			made[e.Handle] = true
			if e.Handle == 0 || (e.Bytes != 6789 && e.Bytes != 12345) {
				t.Errorf("cudaMalloc of %d bytes at %#x", e.Bytes, e.Handle)
			}
		case "cudaFree":
			freed[e.Handle] = true
		case "cudaMemcpyAsync", "cudaMemcpy":
			directions[e.Dir]++
			if e.Bytes != 12345 {
				t.Errorf("%v of %d bytes", e.Op, e.Bytes)
			}
		case "cudaLaunchKernel":
			gpus[e.GPU] = true
			if e.Handle == 0 {
				t.Error("launch of no function")
			}
		}
	}
	for p := range freed {
		if p != 0 && !made[p] {
			t.Errorf("freed %#x, which was never made", p)
		}
	}
	if directions[event.HostToDevice] != 6 || directions[event.DeviceToHost] != 6 {
		t.Errorf("copies by direction %v, want 6 in and 6 out", directions)
	}
	if !gpus[0] || !gpus[1] || len(gpus) != 2 {
		t.Errorf("devices seen %v, want 0 and 1", gpus)
	}
}

// docs/adding.md says that one row is enough. Here it is added to a table
// that lacks it.
func TestOneRowIsEnough(t *testing.T) {
	dir := sim(t)
	row := event.Call{ID: event.MakeOp(event.CUDA, 200), Name: "cudaMemPrefetchAsync", Class: event.Copy, Async: true, Args: event.Args{Bytes: 2, Handle: 1}}
	if slices.ContainsFunc(event.Calls, func(c event.Call) bool { return c.Name == row.Name }) {
		t.Fatal("already in the table: choose another function for this test")
	}
	s := open(t, Config{Calls: append(slices.Clone(event.Calls), row), Everyone: true, Emit: EmitAll}, libs(dir)...)
	run(t, dir, "--bench", "cudaMemPrefetchAsync", "--count", "1000")
	s.finish()
	c := s.calls["cudaMemPrefetchAsync"]
	if c == nil || c.Hist.Count() != 1000 || c.Recorded != 1000 {
		t.Errorf("traced %+v, want 1000 calls, all recorded", c)
	}
}

// Two containers can show one file as two; its probes then fire twice.
func TestSeenTwiceIsCountedOnce(t *testing.T) {
	dir := sim(t)
	s := open(t, Config{Everyone: true}, libs(dir)...)
	for _, f := range libs(dir) {
		b, err := proc.OpenBinary(f)
		if err != nil {
			t.Fatal(err)
		}
		sites, _, err := b.Sites(event.Calls)
		if err != nil {
			t.Fatal(err)
		}
		ex, err := link.OpenExecutable(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.attachAll(proc.FileID{}, ex, sites); err != nil {
			t.Fatal(err)
		}
	}
	truth := run(t, dir, "--steps", "20", "--copy-bytes", "100")
	s.finish()
	s.agree(truth)
}

func TestWhoIsTraced(t *testing.T) {
	dir := sim(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for parent := filepath.Dir(dir); parent != "/" && parent != os.TempDir(); parent = filepath.Dir(parent) {
		if err := os.Chmod(parent, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	nobody, me := uint32(65534), uint32(os.Getuid())
	for name, c := range map[string]struct {
		cfg  Config
		want bool
	}{
		"everyone":       {Config{Everyone: true}, true},
		"the same user":  {Config{UID: &me}, true},
		"another user":   {Config{UID: &nobody}, false},
		"nobody by name": {Config{}, false},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			s := open(t, c.cfg, libs(dir)...)
			truth := run(t, dir, "--steps", "5")
			s.finish()
			if !c.want {
				if len(s.calls)+len(s.life) > 0 {
					t.Errorf("traced %v, %v", s.calls, s.life)
				}
				return
			}
			s.agree(truth)
		})
	}
}

// A process given by number is traced with its children; its neighbour not.
func TestTargetAndChildren(t *testing.T) {
	dir := sim(t)
	s := open(t, Config{Emit: EmitNone}, libs(dir)...)
	r, err := workload.Start(t.Context(), dir, "--steps", "20", "--processes", "3", "--wait-stdin")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Target(r.PID); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "--steps", "7") // the neighbour
	if err := r.Go(); err != nil {
		t.Fatal(err)
	}
	truth, err := r.Wait()
	if err != nil {
		t.Fatal(err)
	}
	s.finish()
	s.agree(truth)
	kinds := map[event.LifeKind]int{}
	for _, l := range s.life {
		kinds[l.Kind]++
	}
	if kinds[event.Fork] != 3 || kinds[event.Exit] != 4 {
		t.Errorf("life %v, want 3 forks and 4 exits", kinds)
	}
	if free := len(s.taken); free != 0 {
		t.Errorf("%d cells still held by processes that ended", free)
	}
}

func TestDeathInACall(t *testing.T) {
	dir := sim(t)
	s := open(t, Config{Everyone: true}, libs(dir)...)
	r, err := workload.Start(t.Context(), dir, "--crash-in-call")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Wait(); err == nil {
		t.Fatal("the workload survived")
	}
	s.finish()
	var died, exit *event.Life
	for i, l := range s.life {
		switch l.Kind {
		case event.DiedInCall:
			died = &s.life[i]
		case event.Exit:
			exit = &s.life[i]
		}
	}
	if died == nil || died.Op.Class() != event.Sync || died.CallStart >= died.Time {
		t.Errorf("died %+v, want in a wait", died)
	}
	if exit == nil || syscall.WaitStatus(exit.Status).Signal() != syscall.SIGABRT {
		t.Errorf("exit %+v, want by SIGABRT", exit)
	}
}

func TestAttachIsQuickAndOnce(t *testing.T) {
	dir := sim(t)
	s := open(t, Config{Everyone: true}, libs(dir)...)
	b, err := proc.OpenBinary(libs(dir)[0])
	if err != nil {
		t.Fatal(err)
	}
	if a, err := s.Attach(b); err != nil || !a.Again {
		t.Errorf("attached again: %+v, %v", a, err)
	}
	all := s.Sites()
	if err := s.DetachFile(b.ID); err != nil || s.Sites() >= all {
		t.Errorf("%d functions probed after detaching a file, %d before; %v", s.Sites(), all, err)
	}
	if a, err := s.Attach(b); err != nil || a.Again || s.Sites() != all {
		t.Errorf("attached after detaching: %+v, %v", a, err)
	}
	want := 6 // the simulation has some _ptsz variants as well
	for _, c := range event.Calls {
		if c.Lib != event.LIBNCCL {
			want++
		}
	}
	if all < want {
		t.Errorf("%d functions probed, want at least %d", all, want)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(make([]byte, 96))
	f.Add([]byte{1})
	p := &Probe{calls: event.Calls, clock: &Clock{}, names: map[[16]byte]string{}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if e, err := p.decode(raw); err == nil && e.Op.Class() == event.None {
			t.Errorf("decoded %+v", e)
		}
	})
}

// The cost is that of this machine, and measuring it leaves nothing behind.
func TestMeasureCost(t *testing.T) {
	bpftest.NeedBPF(t)
	p, err := Load(Config{Calls: event.Calls, Everyone: true, Emit: EmitAll, Stacks: StacksOfAll})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	cost, err := p.MeasureCost()
	took := time.Since(began)
	if err != nil {
		t.Fatal(err)
	}
	if p.Traced(os.Getpid()) {
		t.Error("we are still traced ourselves")
	}
	if e, err := p.ReadCalls(nil, 1, time.Now()); err != nil || len(e) > 0 {
		t.Errorf("records left behind: %v, %v", e, err)
	}
	if s, err := p.ReadStacks(nil); err != nil || len(s) > 0 {
		t.Errorf("stacks left behind: %v, %v", s, err)
	}
	p.Drain(func(c stats.Calls) { t.Errorf("counts left behind: %+v", c) })
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%v a call, measured in %v", cost, took)
	if c := cost.Call; c < 100*time.Nanosecond || c > 100*time.Microsecond {
		t.Errorf("%v a call", c)
	}
}
