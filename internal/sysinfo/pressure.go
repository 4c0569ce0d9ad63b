package sysinfo

import (
	"time"

	"github.com/prometheus/procfs"
)

// pressure is how long some task has waited for each resource since boot.
type pressure struct {
	at              time.Time
	cpu, memory, io int64 // µs, -1 where the kernel does not measure it
}

// readPressure reads /proc/pressure. Kernels built without PSI, and those
// started with psi=0, have none.
func readPressure(root string, at time.Time) pressure {
	fs, err := procfs.NewFS(root)
	total := func(resource string) int64 {
		if err != nil {
			return -1
		}
		s, err := fs.PSIStatsForResource(resource)
		if err != nil || s.Some == nil {
			return -1
		}
		return int64(s.Some.Total)
	}
	return pressure{at, total("cpu"), total("memory"), total("io")}
}

// since returns the shares of the time since last, in percent.
func (p pressure) since(last pressure) (cpu, memory, io float64) {
	us := float64(p.at.Sub(last.at).Microseconds())
	share := func(now, before int64) float64 {
		if now < 0 || before < 0 || us <= 0 {
			return -1
		}
		return min(max(100*float64(now-before)/us, 0), 100)
	}
	return share(p.cpu, last.cpu), share(p.memory, last.memory), share(p.io, last.io)
}
