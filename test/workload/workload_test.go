package workload

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// unpacked returns a folder with the workload, which this machine can run.
func unpacked(t *testing.T) string {
	t.Helper()
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	if err := Unpack(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func start(t *testing.T, dir, args string) *Run {
	t.Helper()
	r, err := Start(deadline(t), dir, strings.Fields(args)...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wait(t *testing.T, r *Run) Truth {
	t.Helper()
	truth, err := r.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return truth
}

func TestTruthIsWhatOptionsImply(t *testing.T) {
	dir := unpacked(t)
	type counts map[string]uint64
	tests := []struct {
		name, args           string
		calls, bytes, errors counts
		steps                uint64
		processes            int
	}{
		{
			name: "launches", args: "--steps 10 --launches 5", steps: 10,
			calls: counts{
				"cudaLaunchKernel": 50, "cuLaunchKernel": 50, "cudaStreamSynchronize": 10, "cuStreamSynchronize": 10,
				"cudaSetDevice": 1, "cuInit": 1, "cuDevicePrimaryCtxRetain": 1, "cuModuleLoadData": 1, "cuModuleGetFunction": 4,
			},
		},
		{
			name: "memory", args: "--steps 4 --launches 0 --copy-bytes 100 --alloc-bytes 70", steps: 4,
			calls: counts{
				"cudaMalloc": 5, "cuMemAlloc_v2": 5, "cudaFree": 5, "cuMemFree_v2": 5, "cudaMemcpyAsync": 4,
				"cuMemcpyHtoDAsync_v2": 4, "cudaMemcpy": 4, "cuMemcpyDtoH_v2": 4, "cudaLaunchKernel": 0,
			},
			bytes: counts{"cudaMalloc": 380, "cuMemAlloc_v2": 380, "cudaMemcpyAsync": 400, "cuMemcpyHtoDAsync_v2": 400, "cudaMemcpy": 400},
		},
		{
			name: "driver", args: "--steps 3 --launches 7 --driver --copy-bytes 10", steps: 3,
			calls: counts{"cuLaunchKernel": 21, "cudaLaunchKernel": 0, "cudaSetDevice": 0, "cuMemcpyHtoDAsync_v2": 3, "cuStreamSynchronize": 3},
			bytes: counts{"cuMemcpyHtoDAsync_v2": 30},
		},
		{
			name: "graph", args: "--steps 6 --launches 4 --graph", steps: 6,
			calls: counts{
				"cudaLaunchKernel": 4, "cuLaunchKernel": 4, "cudaGraphLaunch": 6, "cuGraphLaunch": 6, "cudaStreamBeginCapture": 1,
				"cuStreamBeginCapture_v2": 1, "cudaStreamEndCapture": 1, "cudaGraphInstantiate": 1, "cuGraphInstantiateWithFlags": 1,
				"cudaGraphExecDestroy": 1,
			},
		},
		{
			name: "threads", args: "--steps 5 --launches 3 --threads 4 --devices 2 --sync device", steps: 20,
			calls: counts{
				"cudaLaunchKernel": 60, "cuLaunchKernel": 60, "cudaDeviceSynchronize": 20, "cuCtxSynchronize": 20,
				"cudaSetDevice": 4, "cuDevicePrimaryCtxRetain": 2, "cuCtxSetCurrent": 4, "cudaStreamSynchronize": 0,
			},
		},
		{
			name: "processes", args: "--steps 5 --launches 3 --processes 2 --sync event", steps: 10, processes: 2,
			calls: counts{"cudaLaunchKernel": 30, "cudaEventRecord": 10, "cudaEventSynchronize": 10, "cuEventSynchronize": 10, "cuInit": 2},
		},
		{
			name: "late", args: "--steps 2 --launches 3 --late-dlopen-ms 1", steps: 2,
			calls: counts{"cudaLaunchKernel": 6, "cuLaunchKernel": 6},
		},
		{
			name: "no memory", args: "--steps 3 --launches 0 --memory-bytes 1000 --alloc-bytes 1001", steps: 3,
			calls:  counts{"cudaMalloc": 3, "cuMemAlloc_v2": 3, "cudaFree": 0},
			errors: counts{"cudaMalloc": 3, "cuMemAlloc_v2": 3},
			bytes:  counts{"cudaMalloc": 3003},
		},
		{
			name: "wrong calls", args: "--steps 3 --fail --launches 2", steps: 3,
			calls: counts{"cudaLaunchKernel": 9, "cuLaunchKernel": 6, "cudaFree": 3},
			errors: counts{
				"cudaMalloc": 3, "cudaFree": 3, "cuMemFree_v2": 3, "cudaLaunchKernel": 3, "cuLaunchKernel": 0,
				"cudaMemcpy": 3, "cudaStreamSynchronize": 3, "cuStreamSynchronize": 3, "cudaSetDevice": 3,
			},
		},
		{
			name: "bench", args: "--bench cudaLaunchKernel --count 20000 --threads 2 --kernel-ns 0",
			calls: counts{"cudaLaunchKernel": 40000, "cuLaunchKernel": 40000, "cudaStreamSynchronize": 0},
		},
		{
			name: "bench of a stream variant", args: "--bench cuLaunchKernel_ptsz --count 500 --kernel-ns 0",
			calls: counts{"cuLaunchKernel_ptsz": 500, "cuLaunchKernel": 0}, errors: counts{"cuLaunchKernel_ptsz": 0},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t, dir, tt.args)
			truth := wait(t, r)
			compare(t, "calls of", tt.calls, truth.Calls)
			compare(t, "bytes of", tt.bytes, truth.Bytes)
			compare(t, "errors of", tt.errors, truth.Errors)
			if tt.errors == nil && len(truth.Errors) > 0 {
				t.Errorf("errors %v, want none", truth.Errors)
			}
			if truth.Steps != tt.steps {
				t.Errorf("%d steps, want %d", truth.Steps, tt.steps)
			}
			if n := len(r.Truths()); n != max(tt.processes, 1) {
				t.Errorf("%d truths, want %d", n, tt.processes)
			}
			if tt.processes == 0 && truth.PID != r.PID {
				t.Errorf("truth of process %d, want %d", truth.PID, r.PID)
			}
		})
	}
}

func compare(t *testing.T, what string, want, got map[string]uint64) {
	t.Helper()
	for k, n := range want {
		if got[k] != n {
			t.Errorf("%s %s: %d, want %d", what, k, got[k], n)
		}
	}
}

func TestCodes(t *testing.T) {
	dir := unpacked(t)
	tests := []struct{ args, want string }{
		{"--steps 1 --memory-bytes 1000 --alloc-bytes 1001", "cudaMalloc: error 2"},
		{"--steps 1 --memory-bytes 1000 --alloc-bytes 1001 --driver", "cuMemAlloc_v2: error 2"},
	}
	for _, tt := range tests {
		r := start(t, dir, tt.args)
		wait(t, r)
		if !strings.Contains(r.Stderr(), tt.want) {
			t.Errorf("%s wrote %q, want %s", tt.args, r.Stderr(), tt.want)
		}
	}
}

func TestProgramsAgree(t *testing.T) {
	dir := unpacked(t)
	args := strings.Fields("--steps 10 --launches 5 --copy-bytes 0")
	want := wait(t, start(t, dir, strings.Join(args, " "))).Calls
	for _, name := range []string{"workload-static", "workload-late", "python"} {
		t.Run(name, func(t *testing.T) {
			if name == "python" {
				if _, err := exec.LookPath("python3"); err != nil {
					t.Skip("needs python3: apt-get install python3")
				}
			}
			run := func() (*Run, error) {
				if name == "python" {
					return StartPython(deadline(t), dir, args...)
				}
				return StartCommand(deadline(t), filepath.Join(dir, name), args...)
			}
			r, err := run()
			if err != nil {
				t.Fatal(err)
			}
			truth := wait(t, r)
			if !maps.Equal(truth.Calls, want) {
				t.Errorf("calls %v, want %v", truth.Calls, want)
			}
			if truth.Steps != 10 {
				t.Errorf("%d steps, want 10", truth.Steps)
			}
		})
	}
}

func TestLateLibrariesAreLate(t *testing.T) {
	r := start(t, unpacked(t), "--steps 1 --late-dlopen-ms 1 --wait-stdin")
	if err := r.Ready(deadline(t)); err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/" + strconv.Itoa(r.PID) + "/maps")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(maps), "libcuda") {
		t.Errorf("CUDA is loaded before its time:\n%s", maps)
	}
	if err := r.Go(); err != nil {
		t.Fatal(err)
	}
	if truth := wait(t, r); truth.PID != r.PID || truth.Calls["cuLaunchKernel"] != 10 {
		t.Errorf("truth of process %d, want %d: %v", truth.PID, r.PID, truth.Calls)
	}
}

func TestBadEnds(t *testing.T) {
	dir := unpacked(t)
	tests := []struct{ args, want string }{
		{"--crash-in-call", "signal: aborted"},
		{"--steps many", "--steps: not a value for it: many"},
		{"--wait sleep", "--wait: not a value for it: sleep"},
		{"--threads 0", "--threads: not a value for it: 0"},
		{"extra", "takes options only"},
		{"--bench cuNothing", "find cuNothing: no library here has it"},
	}
	for _, tt := range tests {
		_, err := start(t, dir, tt.args).Wait()
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.args, err, tt.want)
		}
	}
}

func TestUnpackReplacesRunningProgram(t *testing.T) {
	dir := unpacked(t)
	r := start(t, dir, "--steps 1 --wait-stdin")
	if err := r.Ready(deadline(t)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"libcuda.so.1", "train.py"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Unpack(dir); err != nil {
		t.Fatal(err)
	}
	if err := r.Go(); err != nil {
		t.Fatal(err)
	}
	wait(t, r)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o755 || info.Size() < 1000 {
			t.Errorf("%s: mode %v, %d bytes", e.Name(), info.Mode(), info.Size())
		}
	}
	if len(entries) != 7 {
		t.Errorf("unpacked %d files, want 7", len(entries))
	}
}
