package sysinfo

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"ingero/internal/event"
)

// fakeSMI makes a script the nvidia-smi of this test.
func fakeSMI(t *testing.T, script string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "nvidia-smi")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return path
}

func describeGPU(s event.GPUSample) string {
	var procs []string
	for _, p := range s.Procs {
		procs = append(procs, fmt.Sprintf("%d %q %g", p.PID, p.Name, p.Mem))
	}
	return fmt.Sprintf("gpu %d: util %g mem %g/%g sm %g/%g memclk %g power %g temp %g throttle %q procs [%s]",
		s.GPU, s.Util, s.MemUsed, s.MemTotal, s.SMClock, s.SMMax, s.MemClock, s.Power, s.Temp, s.Throttle, strings.Join(procs, " | "))
}

// Every line of want is seen sooner or later, and no line that begins like
// one of never.
func TestSMI(t *testing.T) {
	cases, err := filepath.Glob("testdata/smi/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatal(cases, err)
	}
	for _, path := range cases {
		t.Run(filepath.Base(path), func(t *testing.T) {
			ar, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			part := map[string]string{}
			for _, f := range ar.Files {
				part[f.Name] = string(f.Data)
			}
			script := fakeSMI(t, part["nvidia-smi"])
			s := openSMI(smiConfig{
				path: findSMI(), every: 50 * time.Millisecond, apps: 2 * time.Second, silence: 300 * time.Millisecond,
				pause: 10 * time.Millisecond, limit: 40 * time.Millisecond, now: time.Now,
			})
			defer s.Close()
			missing := strings.Split(strings.TrimSpace(part["want"]), "\n")
			deadline := time.Now().Add(20 * time.Second)
			seen := map[string]bool{}
			for ; len(missing) > 0; time.Sleep(time.Millisecond) { // nobody waits for the tracer either
				lines := []string{"trouble: " + s.Trouble()}
				for _, x := range s.Take() {
					if d := time.Since(time.Unix(0, x.Time)); d < -time.Second || d > time.Minute {
						t.Errorf("time %v ago", d)
					}
					lines = append(lines, describeGPU(x))
				}
				for _, line := range lines {
					seen[line] = true
					missing = slices.DeleteFunc(missing, func(want string) bool { return want == line })
					for never := range strings.Lines(part["never"]) {
						if strings.HasPrefix(line, strings.TrimSpace(never)) {
							t.Error(line)
						}
					}
				}
				if time.Now().After(deadline) {
					t.Fatalf("missing %q, seen %v", missing, seen)
				}
			}
			s.Close()
			if pids, err := os.ReadFile(script + ".pids"); err == nil {
				for pid := range strings.Lines(string(pids)) {
					gone(t, pid)
				}
			}
		})
	}
}

// gone waits for a process to end; what is left of it may wait for its
// parent.
func gone(t *testing.T, text string) {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(b), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d still lives", pid)
		}
	}
}

func TestNoSMI(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if findSMI() != "" {
		t.Skip("needs a machine that is not Windows' Linux")
	}
	s := OpenSMI()
	if x, trouble := s.Take(), s.Trouble(); x != nil || trouble != "" {
		t.Error(x, trouble)
	}
	s.Close()
}

// The time is that of the driver, unless its clock cannot be ours; processes
// that are not seen any more are forgotten.
func TestSMITimes(t *testing.T) {
	now := time.Date(2024, 5, 1, 10, 0, 1, 0, time.UTC)
	s := &SMI{cfg: smiConfig{now: func() time.Time { return now }, apps: 2 * time.Second}, apps: gpuApps{}}
	read := func() event.GPUSample {
		r, ok := parseRow(gpuColumns(), "2024/05/01 10:00:00.250, 0, GPU-aa, 1, 2, 3, 4, 5, 6, 7, 8, 0x0")
		if !ok {
			t.Fatal("not a line")
		}
		s.sample(&r)
		return s.Take()[0]
	}
	app := newRow()
	app.PID, app.uuid = 5, "GPU-aa"
	s.app(&app)
	if x := read(); x.Time != now.Add(-750*time.Millisecond).UnixNano() || len(x.Procs) != 1 {
		t.Errorf("%+v", x)
	}
	now = now.Add(time.Hour)
	if x := read(); x.Time != now.UnixNano() || len(x.Procs) != 0 || len(s.apps) != 0 {
		t.Errorf("%+v", x)
	}
	for range maxSamples + 5 {
		r := newRow()
		s.sample(&r)
	}
	if n := len(s.Take()); n != maxSamples {
		t.Error(n)
	}
}

func TestThrottleNames(t *testing.T) {
	got := map[string]string{}
	for _, mask := range []string{"0x0", "0x3", "0x00000000000001FC", "0x4000000000000000", "", "Active"} {
		got[mask] = throttleNames(mask)
	}
	want := map[string]string{
		"0x0": "", "0x3": "", "0x4000000000000000": "", "": "", "Active": "",
		"0x00000000000001FC": "sw_power_cap,hw_slowdown,sync_boost,sw_thermal_slowdown,hw_thermal_slowdown,hw_power_brake_slowdown,display_clock_setting",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// Both nvidia-smi end with us, even if we are killed.
func TestSMIDiesWithUs(t *testing.T) {
	if os.Getenv("INGERO_TEST_SMI") != "" {
		OpenSMI()
		select {}
	}
	script := fakeSMI(t, "echo $$ >> \"$0.pids\"\nexec sleep 1000\n")
	cmd := exec.Command(os.Args[0], "-test.run=^TestSMIDiesWithUs$")
	cmd.Env = append(os.Environ(), "INGERO_TEST_SMI=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	var pids []string
	for deadline := time.Now().Add(10 * time.Second); len(pids) < 2; time.Sleep(time.Millisecond) {
		b, _ := os.ReadFile(script + ".pids") // not yet there
		pids = strings.Fields(string(b))
		if time.Now().After(deadline) {
			t.Fatal("not started")
		}
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		gone(t, pid)
	}
}

func FuzzSMI(f *testing.F) {
	f.Add("2024/05/01 10:00:00.123, 0, GPU-aa, 97, 70000, 81559, 1410, 1980, 2619, 650.12, 61, 0x0000000000000044")
	f.Add("4822, /opt/my, odd, python3, 1024, GPU-aa")
	f.Add(`Field "clocks.sm" is not a valid field to query.`)
	f.Add("0, [N/A], [Not Supported], MIG-GPU-aa/1/0")
	f.Fuzz(func(t *testing.T, line string) {
		for _, columns := range [][]smiColumn{gpuColumns(), appColumns(), gpuColumns()[1:2], appColumns()[:2]} {
			if r, ok := parseRow(columns, line); ok {
				if r.GPU < 0 || r.GPU >= maxGPUs {
					t.Errorf("GPU %d", r.GPU)
				}
				for _, v := range []float64{r.Util, r.MemUsed, r.MemTotal, r.SMClock, r.SMMax, r.MemClock, r.Power, r.Temp, r.Mem} {
					if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 && v != -1 {
						t.Errorf("%g", v)
					}
				}
			}
			if fewer, ok := withoutUnknown(columns, line); ok && query(fewer) == query(columns) {
				t.Error("nothing changed: it would be asked for ever")
			}
		}
	})
}
