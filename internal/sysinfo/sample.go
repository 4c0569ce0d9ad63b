// Package sysinfo says how busy the machine is and what it is made of, from
// /proc alone: no root, no probes.
package sysinfo

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Sample is the state of the machine at one moment; CPU is the mean since
// the sample before.
type Sample struct {
	Time     time.Time
	CPU      float64 // percent of all cores together
	Mem      float64 // percent of memory in use: not available without swapping
	MemAvail int64   // MiB
	Swap     int64   // MiB in use
	Load     float64 // one-minute load average

	cores int   // to judge how much Load moved
	total int64 // MiB of memory, to judge Swap
}

// Sampler takes samples. It is not safe for concurrent use.
type Sampler struct {
	root string
	now  func() time.Time
	last cpuTime
}

// cpuTime counts ticks since boot, over all cores.
type cpuTime struct{ busy, total uint64 }

// ErrTooSoon is returned for a sample taken before the CPU counters moved.
var ErrTooSoon = errors.New("no CPU time has passed since the last sample")

// NewSampler starts to measure. root is where procfs is mounted, /proc if
// empty; now is the clock, time.Now if nil.
func NewSampler(root string, now func() time.Time) *Sampler {
	if root == "" {
		root = "/proc"
	}
	if now == nil {
		now = time.Now
	}
	s := &Sampler{root: root, now: now}
	s.last, _, _ = s.cpu() // without it the first sample is the mean since boot
	return s
}

// Sample returns the state now. The error is ErrTooSoon when called again at
// once.
func (s *Sampler) Sample() (Sample, error) {
	at := Sample{Time: s.now()}
	cpu, cores, err := s.cpu()
	if err != nil {
		return at, err
	}
	if cpu.total <= s.last.total {
		return at, ErrTooSoon
	}
	// The kernel may take back idle time it counted, so busy may run ahead.
	busy := float64(cpu.busy) - float64(s.last.busy)
	at.CPU = min(max(100*busy/float64(cpu.total-s.last.total), 0), 100)
	at.cores = cores
	s.last = cpu
	mem, err := readMeminfo(s.root)
	if err != nil {
		return at, err
	}
	at.total, at.MemAvail = mem["MemTotal"]>>10, mem["MemAvailable"]>>10
	at.Swap = (mem["SwapTotal"] - mem["SwapFree"]) >> 10
	if t := mem["MemTotal"]; t > 0 {
		at.Mem = 100 * float64(t-mem["MemAvailable"]) / float64(t)
	}
	b, err := os.ReadFile(filepath.Join(s.root, "loadavg"))
	if err != nil {
		return at, fmt.Errorf("read load: %w", err)
	}
	one, _, _ := strings.Cut(string(b), " ")
	if at.Load, err = strconv.ParseFloat(one, 64); err != nil {
		return at, fmt.Errorf("read load: %w", err)
	}
	return at, nil
}

// cpu reads the first line of /proc/stat: user, nice, system, idle, iowait,
// irq, softirq, steal. The two fields after those are in user and nice
// already. A core that waits for a disk is not busy.
func (s *Sampler) cpu() (t cpuTime, cores int, err error) {
	b, err := os.ReadFile(filepath.Join(s.root, "stat"))
	if err != nil {
		return t, 0, fmt.Errorf("read CPU time: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 0 || !strings.HasPrefix(f[0], "cpu") {
			break
		}
		if f[0] != "cpu" {
			cores++
			continue
		}
		for i, v := range f[1:min(len(f), 9)] {
			n, err := strconv.ParseUint(v, 10, 64)
			if err != nil {
				return t, 0, fmt.Errorf("read CPU time: %w", err)
			}
			t.total += n
			if i != 3 && i != 4 {
				t.busy += n
			}
		}
	}
	if t.total == 0 {
		return t, 0, fmt.Errorf("read CPU time: no cpu line in %s/stat", s.root)
	}
	return t, cores, nil
}

// readMeminfo returns the lines of /proc/meminfo in KiB.
func readMeminfo(root string) (map[string]int64, error) {
	b, err := os.ReadFile(filepath.Join(root, "meminfo"))
	if err != nil {
		return nil, fmt.Errorf("read memory use: %w", err)
	}
	mem := map[string]int64{}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) >= 2 {
			if n, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				mem[strings.TrimSuffix(f[0], ":")] = n
			}
		}
	}
	return mem, nil
}

// Deadband drops samples that say nothing new. The zero value keeps all.
type Deadband struct {
	Percent   float64       // how far a value must move, in percent of the machine; 0 keeps every sample
	Heartbeat time.Duration // keep one at least this often all the same; 0 is never
	last      Sample
}

// Keep reports whether s is worth keeping: it is the first one, a value
// moved by more than Percent since the last one kept, or the heartbeat is
// due.
func (d *Deadband) Keep(s Sample) bool {
	keep := d.last.Time.IsZero() || d.Percent <= 0 || d.moved(s) ||
		d.Heartbeat > 0 && s.Time.Sub(d.last.Time) >= d.Heartbeat
	if keep {
		d.last = s
	}
	return keep
}

func (d *Deadband) moved(s Sample) bool {
	far := func(a, b float64) bool { return math.Abs(a-b) > d.Percent }
	return far(s.CPU, d.last.CPU) || far(s.Mem, d.last.Mem) ||
		far(share(s.Load, s.cores), share(d.last.Load, s.cores)) ||
		far(share(float64(s.Swap), s.total), share(float64(d.last.Swap), s.total))
}

// share is v in percent of all.
func share[T int | int64](v float64, all T) float64 { return 100 * v / float64(max(all, 1)) }
