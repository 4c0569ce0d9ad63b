package proc

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// Place says where a task runs: on whose behalf it takes a CPU.
type Place struct {
	Cgroup    string // path as /proc/PID/cgroup has it; empty when not known
	Container string // 64 hex digits, or empty
	Kernel    bool   // a thread of the kernel, which belongs to no user
}

// Placer finds out where tasks run, and remembers: the same neighbours turn
// up every second, and some have ended by the time we ask. It is not safe for
// concurrent use.
type Placer struct {
	FS  FS
	Now func() time.Time // time.Now if nil

	known map[placeKey]placed
}

// placeKey includes the name, so that a number that is used again by another
// program is another task.
type placeKey struct {
	pid  uint32
	comm string
}

type placed struct {
	Place
	found bool
	at    time.Time // when it was last looked up
}

const (
	maxPlaces  = 4096
	placeFresh = 5 * time.Second // a task may move, and its number be used again
)

// Place returns where the task runs, or where it ran when it was last seen;
// false if it was gone before anybody asked. pid is that of the process, and
// comm the name of any of its threads.
func (p *Placer) Place(pid uint32, comm string) (Place, bool) {
	now := time.Now
	if p.Now != nil {
		now = p.Now
	}
	at := now()
	key := placeKey{pid, comm}
	old, seen := p.known[key]
	if seen && at.Sub(old.at) < placeFresh {
		return old.Place, old.found
	}
	place, found := p.FS.place(pid)
	if !found {
		place, found = old.Place, old.found
	}
	p.remember(key, placed{place, found, at})
	return place, found
}

// remember makes room first: by what was not asked for in a while, or else
// by everything.
func (p *Placer) remember(key placeKey, x placed) {
	if p.known == nil {
		p.known = map[placeKey]placed{}
	}
	if _, seen := p.known[key]; !seen && len(p.known) >= maxPlaces {
		for k, old := range p.known {
			if x.at.Sub(old.at) >= placeFresh {
				delete(p.known, k)
			}
		}
		if len(p.known) >= maxPlaces {
			clear(p.known)
		}
	}
	p.known[key] = x
}

func (p FS) place(pid uint32) (Place, bool) {
	stat, err := os.ReadFile(p.path(int(pid), "stat"))
	if err != nil {
		return Place{}, false
	}
	if kernelThread(string(stat)) {
		return Place{Cgroup: "/", Kernel: true}, true
	}
	b, err := os.ReadFile(p.path(int(pid), "cgroup"))
	if err != nil {
		return Place{}, false
	}
	return Place{Cgroup: cgroupPath(string(b)), Container: containerID(string(b))}, true
}

const pfKthread = 0x00200000 // PF_KTHREAD in the kernel's include/linux/sched.h

// kernelThread reports whether the flags in the text of /proc/PID/stat are
// those of a thread of the kernel. The name is in parentheses and may itself
// hold some, so the last one counts.
func kernelThread(stat string) bool {
	f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]) // from field 3, the state
	if len(f) < 7 {
		return false
	}
	flags, err := strconv.ParseUint(f[6], 10, 64)
	return err == nil && flags&pfKthread != 0
}

// cgroupPath returns the path that tells most about a process: in version 2,
// or that of the CPU controller, or of any other, whichever is not the root.
func cgroupPath(text string) string {
	best, rank := "/", 0
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 || f[2] == "/" {
			continue
		}
		r := 1
		switch {
		case f[0] == "0" && f[1] == "":
			r = 3
		case f[1] == "cpu" || strings.HasPrefix(f[1], "cpu,"):
			r = 2
		}
		if r > rank {
			best, rank = f[2], r
		}
	}
	return best
}
