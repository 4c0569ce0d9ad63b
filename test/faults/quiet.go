package main

import (
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// maxForeign is the part of one CPU that work which is not ours may take
// during a run; beyond it, that work is a fault of its own.
const maxForeign = 0.1

// meter tells how much of the CPUs others used.
type meter struct {
	at         time.Time
	busy, ours float64 // seconds
}

func newMeter() meter { return meter{time.Now(), busy(), ours()} }

// foreign returns the CPUs in use by others since the meter was made. What we
// started must have been waited for.
func (m meter) foreign() float64 {
	return max(0, (busy()-m.busy)-(ours()-m.ours)) / time.Since(m.at).Seconds()
}

func busy() float64 {
	fs, err := procfs.NewFS("/proc")
	if err != nil {
		return 0
	}
	s, err := fs.Stat()
	if err != nil {
		return 0
	}
	c := s.CPUTotal
	return c.User + c.Nice + c.System + c.Steal
}

func ours() float64 {
	sum := 0.0
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if unix.Getrusage(who, &u) == nil {
			sum += time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
		}
	}
	return sum
}
