package rule

import (
	"fmt"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// split divides the time that the feeders wanted a CPU and had none by who
// ran on it meanwhile. Thieves are known per process, so the feeders' time is
// divided in the same proportion. What nobody is named for stays with nobody.
func split(s Second, mine func(stats.Pair) bool) loss {
	var all uint64
	for _, l := range s.Pairs {
		if l.State == event.Runnable {
			all += l.NS
		}
	}
	waited := timeIn(s, event.Runnable)
	if all == 0 {
		return loss{}
	}
	part := min(float64(waited)/float64(all), 1) // other threads waited as well
	var l loss
	for _, p := range s.Pairs {
		if p.State != event.Runnable || !mine(p) {
			continue
		}
		ns := uint64(part * float64(p.NS))
		l.ns += ns
		l.culprits = append(l.culprits, Culprit{PID: p.OtherPID, Comm: p.OtherComm, NS: ns})
	}
	return l
}

// lostToOthers is cpu_contention: other processes, or too many threads of the
// process itself, ran where a feeder wanted to.
func lostToOthers(s Second) loss {
	return split(s, func(p stats.Pair) bool { return p.OtherPID != 0 })
}

func tellContention(f *Finding) {
	c := f.Culprits[0]
	if c.PID == f.Process.PID {
		f.Summary = fmt.Sprintf("its own threads compete for too few CPUs: up to %s of the feeders' time (%s) lost", percent(f.Share), short(f.LostNS))
		f.Fixes = []Fix{{Text: "Give it more CPUs, or fewer threads: OMP_NUM_THREADS, torch.set_num_threads, fewer data loader workers",
			Command: fmt.Sprintf("taskset -cp %d", f.Process.PID)}}
		return
	}
	f.Summary = fmt.Sprintf("%s (PID %d) ran where %s wanted to: up to %s of the feeders' time (%s) lost", c.Comm, c.PID, f.Process.Comm, percent(f.Share), short(f.LostNS))
	f.Fixes = []Fix{
		{Text: "Let the thief give way", Command: fmt.Sprintf("renice -n 19 -p %d", c.PID)},
		{Text: "Or keep it off the CPUs of the job", Command: fmt.Sprintf("taskset -cp CPUS %d", c.PID)},
	}
}

// throttledSlice tells a throttled process from one that merely wakes up on
// an idle CPU: a bandwidth period is some 100 ms, a wake-up some µs.
const throttledSlice = 1_000_000 // ns

// lostToThrottling is cpu_throttled: a feeder wanted a CPU, the CPU was idle,
// and still it did not get it.
func lostToThrottling(s Second) loss {
	l := split(s, func(p stats.Pair) bool {
		return p.OtherPID == 0 && p.Count > 0 && p.NS/p.Count >= throttledSlice
	})
	l.culprits = nil // nobody: its own limit
	return l
}

func tellThrottled(f *Finding) {
	f.Summary = fmt.Sprintf("%s used up its CPU quota: up to %s of the feeders' time (%s) lost while CPUs were idle", f.Process.Comm, percent(f.Share), short(f.LostNS))
	f.Fixes = []Fix{{Text: "Raise the CPU limit of its container or cgroup (cpu.max); nr_throttled in cpu.stat should stand still afterwards",
		Command: fmt.Sprintf("cat /sys/fs/cgroup$(cut -d: -f3 /proc/%d/cgroup)/cpu.stat", f.Process.PID)}}
}
