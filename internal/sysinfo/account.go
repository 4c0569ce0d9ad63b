package sysinfo

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// Operations that Account.Calls counts.
var (
	MajorFault  = event.MakeOp(event.Host, 8)
	CPUThrottle = event.MakeOp(event.Host, 13)
)

// Account is what the kernel charged to one process since the last time.
type Account struct {
	PID   uint32
	Start int64 // of the process, unix ns, as it was given

	// How often, and how long on all CPUs together, the process's cgroup was
	// held back by a CPU quota, its own or that of a group around it. Every
	// process of a group shows the time of the whole group.
	ThrottledPeriods uint64
	Throttled        time.Duration

	MajorFaults uint64 // page faults that had to read from a disk, of all threads
	Memory      CgroupMemory
}

// AppendCalls appends the counts as operations of the host; those that are 0
// are left out. How long each period was is not known: all are counted with
// their mean.
func (a *Account) AppendCalls(to []stats.Calls) []stats.Calls {
	if n := a.ThrottledPeriods; n > 0 {
		ns := uint64(a.Throttled)
		mean := (ns + n - 1) / n
		h := &stats.Histogram{}
		h.AddBucket(stats.Bucket(mean), n)
		h.AddSum(ns, mean)
		to = append(to, stats.Calls{PID: a.PID, Start: a.Start, Op: CPUThrottle, Hist: h})
	}
	if a.MajorFaults > 0 {
		h := &stats.Histogram{}
		h.AddBucket(0, a.MajorFaults)
		to = append(to, stats.Calls{PID: a.PID, Start: a.Start, Op: MajorFault, Hist: h})
	}
	return to
}

// Accounts keeps the books of traced processes. It is not safe for
// concurrent use.
type Accounts struct {
	root   string
	proc   *os.File
	born   int64 // ns since boot; what processes that start later did is all new
	mounts []cgroupMount
	groups groups
	procs  map[uint32]*charged
	buf    []byte
}

// charged is what we know of one process.
type charged struct {
	sinceBoot   int64
	faults      uint64
	text        []byte // of /proc/PID/cgroup, to see when the process moves
	cpu, memory chain
	round       uint64
}

// OpenAccounts begins to keep books. root is where procfs is mounted, /proc if
// empty. Without cgroupfs, or where the groups of a process lie outside of
// what is mounted here, only faults are counted.
func OpenAccounts(root string) (*Accounts, error) {
	if root == "" {
		root = "/proc"
	}
	dir, err := os.OpenFile(root, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	a := &Accounts{root: root, proc: dir, procs: map[uint32]*charged{}, groups: groups{open: map[string]*group{}}}
	if text, err := os.ReadFile(filepath.Join(root, "self", "mountinfo")); err == nil {
		a.mounts = parseMounts(string(text))
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	a.born = now.Nano()
	return a, nil
}

// Close gives back what was kept open.
func (a *Accounts) Close() error {
	a.groups.close()
	return a.proc.Close()
}

// Take returns what happened to each process since the last time; the first
// time it only looks, but counts the faults of processes younger than the
// books. Processes that are gone are left out, and so are those whose number
// belongs to another by now.
func (a *Accounts) Take(procs []event.Process) []Account {
	a.groups.next()
	all := make([]Account, 0, len(procs))
	for i := range procs {
		if acc, ok := a.take(&procs[i]); ok {
			all = append(all, acc)
		}
	}
	for pid, c := range a.procs {
		if c.round != a.groups.round {
			delete(a.procs, pid)
		}
	}
	return all
}

func (a *Accounts) take(p *event.Process) (Account, bool) {
	acc := Account{PID: p.PID, Start: p.Start, Memory: CgroupMemory{Current: -1, Limit: -1}}
	faults, sinceBoot, ok := parseStat(a.read(p.PID, "/stat"))
	if !ok || p.SinceBoot != 0 && sinceBoot != p.SinceBoot {
		return acc, false
	}
	c := a.procs[p.PID]
	if c == nil || c.sinceBoot != sinceBoot {
		c = &charged{sinceBoot: sinceBoot, faults: faults}
		if sinceBoot >= a.born {
			c.faults = 0
		}
		a.procs[p.PID] = c
	}
	c.round = a.groups.round
	if faults > c.faults {
		acc.MajorFaults = faults - c.faults
	}
	c.faults = max(faults, c.faults)
	if text := a.read(p.PID, "/cgroup"); len(text) > 0 && !bytes.Equal(text, c.text) {
		c.text = bytes.Clone(text)
		c.cpu, c.memory = find(a.mounts, string(text), "cpu"), find(a.mounts, string(text), "memory")
	}
	t := a.groups.worst(c.cpu)
	acc.ThrottledPeriods, acc.Throttled = t.periods, time.Duration(t.ns)
	acc.Memory = a.groups.tightest(c.memory)
	return acc, true
}

// read returns a file of a process, valid until the next read; nil if the
// process is gone.
func (a *Accounts) read(pid uint32, name string) []byte {
	b, err := readInto(int(a.proc.Fd()), strconv.Itoa(int(pid))+name, a.buf)
	a.buf = b[:0]
	if err != nil {
		return nil
	}
	return b
}

// tick is the unit of times in /proc/PID/stat: USER_HZ is 100 on every
// architecture we run on.
const tick = 10 * time.Millisecond

// parseStat returns majflt and starttime of /proc/PID/stat. The name is in
// parentheses and may itself hold some, so the last one counts.
func parseStat(b []byte) (faults uint64, sinceBoot int64, ok bool) {
	i := 0
	for f := range bytes.FieldsSeq(b[bytes.LastIndexByte(b, ')')+1:]) { // from field 3, the state
		switch i {
		case 9:
			n, err := strconv.ParseUint(string(f), 10, 64)
			if err != nil {
				return 0, 0, false
			}
			faults = n
		case 19:
			n, err := strconv.ParseInt(string(f), 10, 64)
			return faults, n * int64(tick), err == nil
		}
		i++
	}
	return 0, 0, false
}
