package workload

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestDeviceTime(t *testing.T) {
	dir := unpacked(t)
	// Limits are far from what is right, for a busy machine, and farther from
	// what would be wrong.
	tests := []struct {
		name, args  string
		want, limit time.Duration // of a step
	}{
		{"kernels", "--launches 4 --kernel-ns 5000000", 20 * time.Millisecond, 10 * time.Second},
		{"half speed", "--launches 4 --kernel-ns 5000000 --speed 0.5", 40 * time.Millisecond, 10 * time.Second},
		{"high speed", "--launches 4 --kernel-ns 100000000000 --speed 1e6", 0, 10 * time.Second},
		{"graph", "--launches 4 --kernel-ns 5000000 --graph", 20 * time.Millisecond, 10 * time.Second},
		{"copies", "--launches 0 --copy-bytes 1000000 --bandwidth 1e8", 20 * time.Millisecond, 10 * time.Second},
		{"full queue", "--launches 1025 --kernel-ns 50000000 --sync none", 50 * time.Millisecond, 10 * time.Second},
		{"room in the queue", "--launches 1024 --kernel-ns 1000000000 --sync none", 0, 10 * time.Second},
		{"one device", "--launches 2 --kernel-ns 10000000 --threads 2", 20 * time.Millisecond, 10 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			truth := wait(t, start(t, dir, "--steps 1 "+tt.args))
			got := time.Duration(truth.WorstStepNS)
			if got < tt.want || got > tt.limit {
				t.Errorf("a step takes %v, want %v to %v", got, tt.want, tt.limit)
			}
		})
	}
}

func TestWaits(t *testing.T) {
	dir := unpacked(t)
	const steps = 100
	sleeps := func(wait string) int64 {
		r := start(t, dir, "--steps 100 --launches 1 --kernel-ns 1000000 --wait "+wait)
		if _, err := r.Wait(); err != nil {
			t.Fatal(err)
		}
		return r.cmd.ProcessState.SysUsage().(*syscall.Rusage).Nvcsw
	}
	if n := sleeps("block"); n < steps/2 {
		t.Errorf("%d blocking waits sleep %d times", steps, n)
	}
	if n := sleeps("spin"); n > steps/4 { // at start-up, too, it sleeps a little
		t.Errorf("%d spinning waits sleep %d times", steps, n)
	}
}

// eventually waits for a condition that the workload brings about.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for ctx := deadline(t); !cond(); {
		select {
		case <-ctx.Done():
			t.Fatalf("%s did not happen", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// inFutex says whether the first thread sleeps in futex, which is 202 on amd64.
func inFutex(r *Run) bool {
	b, _ := os.ReadFile("/proc/" + strconv.Itoa(r.PID) + "/syscall")
	return strings.HasPrefix(string(b), "202 ")
}

func TestStuckDeviceEndsOnSignal(t *testing.T) {
	r := start(t, unpacked(t), "--steps 0 --speed 0 --wait-stdin")
	if err := r.Ready(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := r.Go(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a wait for the stuck device", func() bool { return inFutex(r) })
	if err := r.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if truth := wait(t, r); truth.Steps != 1 || truth.Calls["cuStreamSynchronize"] != 1 {
		t.Errorf("%d steps, want the one that was stuck: %v", truth.Steps, truth.Calls)
	}
}

func TestSpeedChangesInFlight(t *testing.T) {
	r := start(t, unpacked(t), "--steps 1 --launches 1 --kernel-ns 200000000 --wait-stdin")
	if err := r.Ready(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := r.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if err := r.Go(); err != nil {
		t.Fatal(err)
	}
	if got := time.Duration(wait(t, r).WorstStepNS); got < 300*time.Millisecond {
		t.Errorf("200 ms of work take %v at half speed", got)
	}
}

func TestControlFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "control")
	settings := "# from now on\nlaunches=7\nkernel_ns=30000000\nspeed=2\nwait=block\ngap_us=0\n"
	r := start(t, unpacked(t), "--steps 0 --launches 1 --kernel-ns 1000 --wait spin --wait-stdin --control "+file)
	if err := r.Ready(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.Go(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a blocking wait", func() bool { return inFutex(r) })
	if err := os.WriteFile(file, []byte(settings+"stop=1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	truth := wait(t, r)
	if truth.Steps == 0 || truth.Calls["cudaLaunchKernel"] != 7*truth.Steps {
		t.Errorf("%d launches in %d steps, want 7 each", truth.Calls["cudaLaunchKernel"], truth.Steps)
	}
	if truth.MedianStepNS < 100e6 {
		t.Errorf("a step of 7 × 30 ms at double speed takes %v", time.Duration(truth.MedianStepNS))
	}
}
