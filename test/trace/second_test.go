package trace

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// quota makes a cgroup that may use a tenth of a CPU, and returns its folder.
func quota(t *testing.T) string {
	t.Helper()
	dir, file, text := "/sys/fs/cgroup/ingero-trace-test", "cpu.max", "10000 100000"
	if _, err := os.Stat("/sys/fs/cgroup/cpu/tasks"); err == nil {
		dir, file, text = "/sys/fs/cgroup/cpu/ingero-trace-test", "cpu.cfs_quota_us", "10000"
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
		t.Skip("needs a writable cgroupfs: ", err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
		t.Skip("needs the cpu controller: ", err)
	}
	return dir
}

// A job under a CPU quota: the periods it was held back are in the database
// beside its calls, and are not taken for calls. An nvidia-smi that has
// nothing to tell is a gap, no error.
func TestThrottledJob(t *testing.T) {
	b := newBox(t)
	dir := quota(t)
	smi := filepath.Join(b.dir, "nvidia-smi")
	if err := os.WriteFile(smi, []byte("#!/bin/sh\necho No devices were found\nexit 6\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", b.dir+":"+os.Getenv("PATH"))
	a := b.trace(b.libs()...)
	r := b.launch("--steps", "0", "--launches", "1000", "--kernel-ns", "0", "--gap-us", "0")
	t.Cleanup(func() { r.Signal(os.Kill); r.Wait() })
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, r.PID), 0o644); err != nil {
		t.Fatal(err)
	}
	b.until("periods held back", func() bool {
		return b.try("SELECT coalesce(sum(count), 0) FROM call_stats WHERE source = 3 AND op = 13") > 3
	})
	if err := r.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	a.stop()
	var calls, periods, ns uint64
	answer := b.query()
	for _, op := range answer.Ops {
		switch op.Source {
		case "host":
			if op.Op == "cpu_throttle" {
				periods, ns = op.Count, op.TotalNS
			}
		default:
			calls += op.Count
		}
	}
	if mean := ns / max(periods, 1) / 1e6; mean < 20 || mean > 300 {
		t.Errorf("%d periods of %d ms; want about 90", periods, mean)
	}
	if answer.Coverage.Calls != calls || calls == 0 {
		t.Errorf("coverage says %d calls, operations %d", answer.Coverage.Calls, calls)
	}
	if said := a.said(); strings.Count(said, "not traced: clocks, memory and load of the GPUs: nvidia-smi: No devices were found") != 1 {
		t.Error(said)
	}
}
