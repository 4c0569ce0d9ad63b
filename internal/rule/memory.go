package rule

import (
	"fmt"

	"ingero/internal/event"
)

// lostToReclaim is memory_reclaim: a feeder had to free memory for the kernel
// before it got any.
func lostToReclaim(s Second) loss { return loss{ns: timeIn(s, event.Reclaim)} }

func tellReclaim(f *Finding) {
	f.Summary = fmt.Sprintf("memory is short: %s of the feeders' time (%s) spent freeing it (direct reclaim)", percent(f.Share), short(f.LostNS))
	f.Fixes = []Fix{{Text: "Raise the memory limit of the job, or find who fills the memory", Command: "grep -H . /sys/fs/cgroup/memory.pressure /proc/pressure/memory"}}
}
