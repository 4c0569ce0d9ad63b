package sysinfo

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const meminfo = `MemTotal:       16000000 kB
MemFree:         1000000 kB
MemAvailable:    4000000 kB
SwapTotal:       2097152 kB
SwapFree:        1048576 kB
HugePages_Total:       0
`

func stat(user, nice, system, idle, iowait, irq, soft, steal int) string {
	line := fmt.Sprintf("%d %d %d %d %d %d %d %d 500 600\n", user, nice, system, idle, iowait, irq, soft, steal)
	return "cpu  " + line + "cpu0 " + line + "cpu1 " + line + "intr 1 2 3\nbtime 1\n"
}

func TestSample(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{"stat": stat(100, 0, 50, 800, 50, 0, 0, 0), "meminfo": meminfo, "loadavg": "3.25 1.00 0.50 2/345 678\n"})
	now := time.Unix(1700000000, 0)
	s := NewSampler(root, func() time.Time { return now })
	if _, err := s.Sample(); !errors.Is(err, ErrTooSoon) {
		t.Errorf("at once: %v", err)
	}
	// 30 + 5 + 10 + 1 + 2 + 2 of 100 ticks are busy; 40 idle and 10 waiting for a disk are not.
	write(t, root, map[string]string{"stat": stat(130, 5, 60, 840, 60, 1, 2, 2)})
	got, err := s.Sample()
	if err != nil {
		t.Fatal(err)
	}
	want := Sample{
		Time: now, CPU: 50, Cores: []float64{50, 50}, Mem: 75, MemAvail: 3906, Swap: 1024, Load: 3.25,
		PSICPU: -1, PSIMem: -1, PSIIO: -1, cores: 2, total: 15625,
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(Sample{})); d != "" {
		t.Error(d)
	}
	for file, bad := range map[string]string{"stat": "nothing\n", "loadavg": "", "meminfo": ""} {
		write(t, root, map[string]string{"stat": stat(230, 5, 60, 940, 60, 1, 2, 2), "loadavg": "1 1 1", "meminfo": meminfo, file: bad})
		if got, err := NewSampler(root, nil).Sample(); err == nil {
			t.Errorf("%s %q: got %+v", file, bad, got)
		}
	}
}

const some = "some avg10=1.00 avg60=0.00 avg300=0.00 total=%d\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"

func TestPressureAndCores(t *testing.T) {
	root := t.TempDir()
	cores := func(a, b, c string) string { return "cpu  1" + a[1:] + " 9\ncpu0 " + a + "\n" + b + "cpu2 " + c + "\n" }
	write(t, root, map[string]string{
		"stat": cores("10 0 0 100 0 0 0 0", "cpu1 5 0 0 5 0 0 0 0\n", "0 0 0 100 100 0 0 0"), "meminfo": meminfo, "loadavg": "1 1 1\n",
		"pressure/cpu": fmt.Sprintf(some, 1_000_000), "pressure/memory": fmt.Sprintf(some, 50),
	})
	now := time.Unix(1700000000, 0)
	s := NewSampler(root, func() time.Time { return now })
	now = now.Add(2 * time.Second)
	// Core 1 went offline; core 2 waits for a disk and loses the rest of its time to another machine.
	write(t, root, map[string]string{
		"stat":         cores("85 0 0 125 0 0 0 0", "", "0 0 0 100 140 0 0 60"),
		"pressure/cpu": fmt.Sprintf(some, 1_500_000), "pressure/memory": fmt.Sprintf(some, 9_000_000), "pressure/io": fmt.Sprintf(some, 1),
	})
	got, err := s.Sample()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]float64{75, -1, 60}, got.Cores); d != "" || got.cores != 2 {
		t.Errorf("%d cores: %s", got.cores, d)
	}
	// A quarter of the time; more than all of it cannot be; not measured before.
	if got.PSICPU != 25 || got.PSIMem != 100 || got.PSIIO != -1 {
		t.Errorf("pressure %g %g %g", got.PSICPU, got.PSIMem, got.PSIIO)
	}
}

// The real /proc gives sane figures.
func TestSampleHere(t *testing.T) {
	s := NewSampler("", nil)
	deadline := time.Now().Add(5 * time.Second)
	for {
		got, err := s.Sample()
		if errors.Is(err, ErrTooSoon) && time.Now().Before(deadline) {
			continue // the counters move every 10 ms
		}
		if err != nil {
			t.Fatal(err)
		}
		if math.IsNaN(got.CPU) || got.CPU < 0 || got.CPU > 100 || got.Mem <= 0 || got.Mem > 100 || got.MemAvail <= 0 || got.cores < 1 {
			t.Errorf("got %+v", got)
		}
		return
	}
}

func TestDeadband(t *testing.T) {
	base := Sample{CPU: 50, Mem: 60, Load: 2, Swap: 0, cores: 4, total: 10000}
	with := func(f func(*Sample)) Sample { s := base; f(&s); return s }
	type step struct {
		s    Sample
		keep bool
	}
	for name, c := range map[string]struct {
		d     Deadband
		steps []step // one second apart
	}{
		"off keeps all":   {Deadband{}, []step{{base, true}, {base, true}}},
		"same is dropped": {Deadband{Percent: 5}, []step{{base, true}, {base, false}, {base, false}}},
		"small moves add up against the last kept": {Deadband{Percent: 5}, []step{
			{base, true},
			{with(func(s *Sample) { s.CPU = 54 }), false},
			{with(func(s *Sample) { s.CPU = 56 }), true},
			{with(func(s *Sample) { s.CPU = 52 }), false},
			{with(func(s *Sample) { s.CPU = 50.9 }), true},
		}},
		"memory": {Deadband{Percent: 5}, []step{{base, true}, {with(func(s *Sample) { s.Mem = 54 }), true}}},
		"load, in percent of the cores": {Deadband{Percent: 5}, []step{
			{base, true}, {with(func(s *Sample) { s.Load = 2.19 }), false}, {with(func(s *Sample) { s.Load = 2.3 }), true},
		}},
		"swap, in percent of memory": {Deadband{Percent: 5}, []step{
			{base, true}, {with(func(s *Sample) { s.Swap = 500 }), false}, {with(func(s *Sample) { s.Swap = 501 }), true},
		}},
		"pressure": {Deadband{Percent: 5}, []step{
			{base, true}, {with(func(s *Sample) { s.PSIMem = 4 }), false}, {with(func(s *Sample) { s.PSIMem = 6 }), true},
			{with(func(s *Sample) { s.PSIMem, s.PSIIO = 6, 6 }), true}, {with(func(s *Sample) { s.PSIMem, s.PSIIO, s.PSICPU = 6, 6, 6 }), true},
		}},
		"a single core":                     {Deadband{Percent: 5}, []step{{base, true}, {with(func(s *Sample) { s.Cores = []float64{100} }), false}}},
		"exactly the threshold is not more": {Deadband{Percent: 5}, []step{{base, true}, {with(func(s *Sample) { s.CPU = 55 }), false}}},
		"heartbeat":                         {Deadband{Percent: 5, Heartbeat: 2 * time.Second}, []step{{base, true}, {base, false}, {base, true}, {base, false}, {base, true}}},
	} {
		at := time.Unix(1700000000, 0)
		for i, s := range c.steps {
			s.s.Time = at
			at = at.Add(time.Second)
			if got := c.d.Keep(s.s); got != s.keep {
				t.Errorf("%s: sample %d: keep %v", name, i, got)
			}
		}
	}
}
