package proc

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ingero/internal/event"
)

const (
	tick       = 10 * time.Millisecond // unit of times in /proc/PID/stat: USER_HZ is 100 on every architecture we run on
	maxEnviron = 4 << 20               // stop reading an environment here
	maxCmdline = 4 << 10               // longer command lines are cut
)

// Describe returns what procfs says about a process. Cgroup, Container, Pod and
// Rank stay empty where they cannot be read; the error wraps ErrGone or
// fs.ErrPermission when the process cannot be read at all.
func (p FS) Describe(pid int) (event.Process, error) {
	d := event.Process{PID: uint32(pid), Rank: event.NoRank}
	stat, err := os.ReadFile(p.path(pid, "stat"))
	if err != nil {
		return d, procError("read state", pid, err)
	}
	ticks, err := parseStat(stat, &d)
	if err != nil {
		return d, procError("read state", pid, err)
	}
	boot, err := p.bootTime()
	if err != nil {
		return d, err
	}
	d.SinceBoot = ticks * int64(tick)
	d.Start = boot + d.SinceBoot
	if d.UID, err = p.UID(pid); err != nil {
		return d, err
	}
	if b, err := readSome(p.path(pid, "cmdline"), maxCmdline); err == nil {
		d.Cmdline = commandLine(b)
	}
	if b, err := os.ReadFile(p.path(pid, "cgroup")); err == nil {
		d.Container = containerID(string(b))
		d.Pod = podUID(string(b))
		d.Cgroup = p.cgroupID(string(b))
	}
	if b, err := readSome(p.path(pid, "environ"), maxEnviron); err == nil {
		d.Rank = rankOf(b)
	}
	return d, nil
}

// StartOf returns when a process began, as Describe says it, from what the
// kernel knows to the nanosecond since boot.
func (p FS) StartOf(sinceBoot uint64) (int64, error) {
	boot, err := p.bootTime()
	return boot + int64(sinceBoot)/int64(tick)*int64(tick), err
}

// parseStat fills in name and parent from /proc/PID/stat and returns the
// start time in ticks since boot. The name is in parentheses and may itself
// hold parentheses and spaces, so the last one counts.
func parseStat(b []byte, d *event.Process) (start int64, err error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return 0, fmt.Errorf("unexpected text %q", b)
	}
	d.Comm = string(b[open+1 : end])
	f := strings.Fields(string(b[end+1:])) // from field 3, the state
	if len(f) < 20 {
		return 0, fmt.Errorf("unexpected text %q", b)
	}
	ppid, err := strconv.ParseUint(f[1], 10, 32)
	if err != nil {
		return 0, err
	}
	d.PPID = uint32(ppid)
	return strconv.ParseInt(f[19], 10, 64)
}

// Started returns when a process started, the same number that Describe says.
func (p FS) Started(pid int) (int64, error) {
	stat, err := os.ReadFile(p.path(pid, "stat"))
	if err != nil {
		return 0, procError("read state", pid, err)
	}
	var d event.Process
	ticks, err := parseStat(stat, &d)
	if err != nil {
		return 0, procError("read state", pid, err)
	}
	boot, err := p.bootTime()
	return boot + ticks*int64(tick), err
}

// Family returns the processes that descend from pid now.
func (p FS) Family(pid int) ([]int, error) {
	all, err := p.Processes()
	if err != nil {
		return nil, err
	}
	children := map[uint32][]int{}
	for _, other := range all {
		var d event.Process
		b, err := os.ReadFile(p.path(other, "stat"))
		if err != nil {
			continue // it has just ended
		}
		if _, err := parseStat(b, &d); err == nil {
			children[d.PPID] = append(children[d.PPID], other)
		}
	}
	var family []int
	for next := []int{pid}; len(next) > 0; next = next[1:] {
		mine := children[uint32(next[0])]
		delete(children, uint32(next[0])) // no loop, whatever /proc says
		family = append(family, mine...)
		next = append(next, mine...)
	}
	return family, nil
}

// UID returns the effective user of a process.
func (p FS) UID(pid int) (uint32, error) {
	status, err := os.ReadFile(p.path(pid, "status"))
	if err != nil {
		return 0, procError("read status", pid, err)
	}
	uid, err := effectiveUID(status)
	if err != nil {
		return 0, procError("read status", pid, err)
	}
	return uid, nil
}

func effectiveUID(status []byte) (uint32, error) {
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) >= 3 && f[0] == "Uid:" {
			uid, err := strconv.ParseUint(f[2], 10, 32)
			return uint32(uid), err
		}
	}
	return 0, fmt.Errorf("no Uid line")
}

// The system's own boot time is asked for once, so that the start of a
// process is the same number every time, although clocks are adjusted.
var systemBoot = sync.OnceValue(func() int64 {
	var real, boot unix.Timespec
	if unix.ClockGettime(unix.CLOCK_REALTIME, &real) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return 0
	}
	return (real.Nano() - boot.Nano()) / int64(tick) * int64(tick)
})

// bootTime returns when the system started, in unix ns. /proc/stat has it in
// whole seconds only, so the clocks are asked where the tree is our own.
func (p FS) bootTime() (int64, error) {
	if p.root() == "/proc" {
		if t := systemBoot(); t != 0 {
			return t, nil
		}
	}
	b, err := os.ReadFile(filepath.Join(p.root(), "stat"))
	if err != nil {
		return 0, fmt.Errorf("read boot time: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "btime "); ok {
			s, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return s * int64(time.Second), err
		}
	}
	return 0, fmt.Errorf("read boot time: no btime in %s/stat", p.root())
}

// commandLine joins the arguments with spaces.
func commandLine(b []byte) string {
	b = bytes.TrimRight(b, "\x00")
	return string(bytes.ReplaceAll(b, []byte{0}, []byte{' '}))
}

// launchers are the variables by which launchers number the processes of a
// job. What the job itself sees (torchrun's names) goes first: torchrun
// under Slurm starts several ranks in one Slurm task.
var launchers = [][3]string{
	{"RANK", "LOCAL_RANK", "WORLD_SIZE"},
	{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_SIZE"},
	{"PMI_RANK", "MPI_LOCALRANKID", "PMI_SIZE"},
	{"SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS"},
}

func splitEnviron(b []byte) []string { return strings.Split(string(b), "\x00") }

func rankOf(environ []byte) event.Rank {
	vars := map[string]int32{}
	for _, kv := range splitEnviron(environ) {
		k, v, ok := strings.Cut(kv, "=")
		if !ok {
			continue
		}
		if n, err := strconv.ParseInt(v, 10, 32); err == nil && n >= 0 {
			vars[k] = int32(n)
		}
	}
	get := func(k string) int32 {
		if n, ok := vars[k]; ok {
			return n
		}
		return -1
	}
	for _, l := range launchers {
		if r := get(l[0]); r >= 0 {
			return event.Rank{Rank: r, Local: get(l[1]), World: get(l[2])}
		}
	}
	return event.NoRank
}

func readSome(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}
