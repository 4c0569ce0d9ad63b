package workload

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What the host does takes its time, and the job goes on.
func TestHostWork(t *testing.T) {
	dir, files := unpacked(t), t.TempDir()
	data := filepath.Join(files, "data")
	if err := os.WriteFile(data, make([]byte, 4<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, args string
		want       time.Duration // of the slowest step, at least
	}{
		{"work", "--work-us 20000", 20 * time.Millisecond},
		{"read", "--read DATA --read-bytes 2097152", 0},
		{"map", "--mmap DATA --map-pages 64", 0},
		{"map and drop", "--mmap DATA --map-pages 64 --drop 1", 0},
		{"write", "--write NEW --write-bytes 3145728 --write-every 2", 0},
		{"dirty", "--dirty NEW2 --dirty-bytes 3145728", 0},
		{"grow", "--grow-bytes 1048576", 0},
		{"free lock", "--lock", 0},
		{"held lock", "--lock --lock-us 40000", 20 * time.Millisecond},
		{"loaders", "--loaders 2 --loader-us 20000", 10 * time.Millisecond},
		{"loaders that read", "--loaders 2 --loader-file DATA --loader-bytes 1048576", 0},
		{"loaders with a lock", "--loaders 3 --loader-lock-us 20000", 15 * time.Millisecond},
		{"slow allocation", "--alloc-bytes 4096 --allocs 5 --alloc-ns 2000000", 20 * time.Millisecond},
		{"slow capture", "--graph --recapture 1 --capture-us 20000", 20 * time.Millisecond},
		{"slow instantiation", "--graph --recapture 1 --instantiate-ns 20000000", 20 * time.Millisecond},
		{"large copies", "--copy-bytes 1000000 --bandwidth 1e8 --copy-every 4", 20 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := strings.NewReplacer("DATA", data, "NEW", filepath.Join(files, "new")).Replace(tt.args)
			truth := wait(t, start(t, dir, "--steps 8 --launches 1 --kernel-ns 1000 "+args))
			if got := time.Duration(truth.WorstStepNS); truth.Steps != 8 || got < tt.want {
				t.Errorf("%d steps, the slowest %v, want 8 and %v", truth.Steps, got, tt.want)
			}
		})
	}
	if st, err := os.Stat(filepath.Join(files, "new")); err != nil || st.Size() != 3<<20 {
		t.Errorf("the checkpoint: %v, %v", st, err)
	}
}

func TestCallsOfAStep(t *testing.T) {
	dir := unpacked(t)
	for _, tt := range []struct {
		args string
		want map[string]uint64
	}{
		{"--alloc-bytes 4096 --allocs 7", map[string]uint64{"cudaMalloc": 70, "cudaFree": 70}},
		{"--driver --alloc-bytes 4096 --allocs 7", map[string]uint64{"cuMemAlloc_v2": 70, "cuMemFree_v2": 70}},
		{"--graph", map[string]uint64{"cudaGraphInstantiate": 1, "cudaGraphExecDestroy": 1, "cudaGraphLaunch": 10}},
		{"--graph --recapture 1", map[string]uint64{"cudaGraphInstantiate": 11, "cudaGraphExecDestroy": 11}},
		{"--graph --graph-pool 4 --shapes 4", map[string]uint64{"cudaGraphInstantiate": 4, "cudaGraphExecDestroy": 4}},
		{"--graph --graph-pool 4 --shapes 8", map[string]uint64{"cudaGraphInstantiate": 10, "cudaGraphLaunch": 10}},
		{"--driver --graph --graph-pool 2 --shapes 3", map[string]uint64{"cuGraphInstantiateWithFlags": 8, "cuGraphLaunch": 10}},
	} {
		truth := wait(t, start(t, dir, "--steps 10 --kernel-ns 1000 "+tt.args))
		for call, n := range tt.want {
			if truth.Calls[call] != n {
				t.Errorf("%s: %d calls of %s, want %d", tt.args, truth.Calls[call], call, n)
			}
		}
	}
}

// A process that shares its device waits for the other's kernels.
func TestSharedDevice(t *testing.T) {
	dir, file := unpacked(t), filepath.Join(t.TempDir(), "device")
	args := "--launches 1 --kernel-ns 300000000 --share " + file
	a, b := start(t, dir, "--steps 1 "+args), start(t, dir, "--steps 1 "+args)
	x, y := wait(t, a), wait(t, b)
	if got := time.Duration(max(x.WorstStepNS, y.WorstStepNS)); got < 400*time.Millisecond {
		t.Errorf("two kernels of 300 ms on one device take %v", got)
	}
}

func TestPeer(t *testing.T) {
	in, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	go func() {
		c, err := in.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		request := make([]byte, 3<<20)
		for {
			if _, err := io.ReadFull(c, request); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
			c.Write(make([]byte, 64))
		}
	}()
	truth := wait(t, start(t, unpacked(t), fmt.Sprint("--steps 3 --peer-bytes 3145728 --peer ", in.Addr())))
	if got := time.Duration(truth.MedianStepNS); truth.Steps != 3 || got < 19*time.Millisecond {
		t.Errorf("%d steps of %v with a peer that takes 20 ms", truth.Steps, got)
	}
}

// The job ends when there are no more requests.
func TestRequests(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "requests")
	if err := syscall.Mkfifo(fifo, 0o666); err != nil {
		t.Fatal(err)
	}
	r := start(t, unpacked(t), "--steps 0 --requests "+fifo)
	f, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if truth := wait(t, r); truth.Steps != 5 {
		t.Errorf("%d steps for 5 requests", truth.Steps)
	}
}

func TestLog(t *testing.T) {
	dir := unpacked(t)
	for name, begin := range map[string]func(args string) *Run{
		"C": func(args string) *Run { return start(t, dir, args) },
		"Python": func(args string) *Run {
			r, err := StartPython(deadline(t), dir, strings.Fields(args)...)
			if err != nil {
				t.Fatal(err)
			}
			return r
		},
	} {
		file := filepath.Join(t.TempDir(), "log")
		before := time.Now()
		truth := wait(t, begin("--steps 0 --duration-s 0.6 --work-us 100 --log "+file))
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines, last := 0, uint64(0)
		for in := bufio.NewScanner(strings.NewReader(string(b))); in.Scan(); lines++ {
			var pid int
			var ns int64
			var steps uint64
			if _, err := fmt.Sscan(in.Text(), &pid, &ns, &steps); err != nil || pid != truth.PID || steps <= last {
				t.Fatalf("%s: line %q after step %d: %v", name, in.Text(), last, err)
			}
			if at := time.Unix(0, ns); at.Before(before) || at.After(time.Now()) {
				t.Errorf("%s: logged at %v", name, at)
			}
			last = steps
		}
		if lines < 2 || lines > 7 || last > truth.Steps {
			t.Errorf("%s: %d lines in 600 ms, the last at step %d of %d", name, lines, last, truth.Steps)
		}
	}
}
