// Package sysinfo says how busy the machine is, what it is made of, and what
// it charges to a process, from /proc, cgroupfs and nvidia-smi: no probes.
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

// Sample is the state of the machine at one moment. CPU, Cores and the
// pressures are means since the sample before.
//
// A core that waits for a disk (iowait) is not busy: it could run something
// else. One that the hypervisor gave to another machine (steal) is: whoever
// wanted it did not get it.
type Sample struct {
	Time     time.Time
	CPU      float64   // percent of all cores together
	Cores    []float64 // percent of each, by its number; -1 is offline
	Mem      float64   // percent of memory in use: not available without swapping
	MemAvail int64     // MiB
	Swap     int64     // MiB in use
	Load     float64   // one-minute load average

	// Percent of the time in which some task waited for a CPU, for memory or
	// for I/O; -1 where the kernel does not measure pressure.
	PSICPU, PSIMem, PSIIO float64

	cores int   // to judge how much Load moved
	total int64 // MiB of memory, to judge Swap
}

// Sampler takes samples. It is not safe for concurrent use.
type Sampler struct {
	root     string
	now      func() time.Time
	last     cpuTime
	cores    []cpuTime // by number
	pressure pressure
}

// cpuTime counts ticks since boot, of one core or of all.
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
	s.last, s.cores, _ = s.cpu() // without it the first sample is the mean since boot
	s.pressure = readPressure(root, s.now())
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
	at.CPU = cpu.since(s.last)
	at.Cores = make([]float64, len(cores))
	for i, c := range cores {
		at.Cores[i] = -1
		if c.total > 0 {
			at.cores++
		}
		if i < len(s.cores) && s.cores[i].total > 0 {
			at.Cores[i] = c.since(s.cores[i])
		}
	}
	s.last, s.cores = cpu, cores
	pressure := readPressure(s.root, at.Time)
	at.PSICPU, at.PSIMem, at.PSIIO = pressure.since(s.pressure)
	s.pressure = pressure
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

// since returns the share of busy time in percent, -1 when none has passed.
// The kernel may take back idle time it counted, so busy may run ahead.
func (t cpuTime) since(last cpuTime) float64 {
	if t.total <= last.total {
		return -1
	}
	busy := float64(t.busy) - float64(last.busy)
	return min(max(100*busy/float64(t.total-last.total), 0), 100)
}

// maxCores bounds the numbers of cores; Linux is built for at most 8192.
const maxCores = 8192

// cpu reads the first lines of /proc/stat. Cores that are offline have none.
func (s *Sampler) cpu() (all cpuTime, cores []cpuTime, err error) {
	b, err := os.ReadFile(filepath.Join(s.root, "stat"))
	if err != nil {
		return all, nil, fmt.Errorf("read CPU time: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		name, ticks, _ := strings.Cut(line, " ")
		number, is := strings.CutPrefix(name, "cpu")
		if !is {
			break
		}
		t, err := parseTicks(ticks)
		if err != nil {
			return all, nil, fmt.Errorf("read CPU time: %w", err)
		}
		if number == "" {
			all = t
			continue
		}
		i, err := strconv.Atoi(number)
		if err != nil || i < 0 || i >= maxCores {
			return all, nil, fmt.Errorf("read CPU time: unexpected core %q", name)
		}
		for len(cores) <= i {
			cores = append(cores, cpuTime{})
		}
		cores[i] = t
	}
	if all.total == 0 {
		return all, nil, fmt.Errorf("read CPU time: no cpu line in %s/stat", s.root)
	}
	return all, cores, nil
}

// parseTicks adds up user, nice, system, idle, iowait, irq, softirq and
// steal. The two fields after those are in user and nice already.
func parseTicks(text string) (t cpuTime, err error) {
	f := strings.Fields(text)
	for i, v := range f[:min(len(f), 8)] {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			return t, err
		}
		t.total += n
		if i != 3 && i != 4 {
			t.busy += n
		}
	}
	return t, nil
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
// due. Single cores are left out: one thread that wanders from core to core
// moves them all the time.
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
		far(share(float64(s.Swap), s.total), share(float64(d.last.Swap), s.total)) ||
		far(s.PSICPU, d.last.PSICPU) || far(s.PSIMem, d.last.PSIMem) || far(s.PSIIO, d.last.PSIIO)
}

// share is v in percent of all.
func share[T int | int64](v float64, all T) float64 { return 100 * v / float64(max(all, 1)) }
