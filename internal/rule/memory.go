package rule

import (
	"fmt"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// chargeReclaim is the time that feeders freed memory for the kernel before
// they got any.
func chargeReclaim(_ *job, s *slot) []charge {
	return []charge{{rule: ruleReclaim, ns: float64(s.at(event.Reclaim))}}
}

// chargeFault is the time that feeders waited in page faults.
func chargeFault(_ *job, s *slot) []charge {
	return []charge{{rule: ruleFault, ns: float64(s.at(event.Fault))}}
}

// faultNS is the CPU time that the kernel may take for one page fault that
// reads from a disk, beside the wait.
const faultNS = 20_000

// faultWork bounds the CPU time of page faults that a feeder waited in; it
// shows as running.
func (j *job) faultWork(s *slot) float64 {
	c := s.host[event.MakeOp(event.Host, 8)]
	if c == nil || s.lost[ruleFault].ns == 0 {
		return 0
	}
	return min(faultNS*float64(c.Hist.Count()), 1.5*s.lost[ruleFault].ns)
}

func tellReclaim(_ *job, f *Finding) {
	f.Summary = fmt.Sprintf("memory is short: %s of %s lost to freeing it (reclaim)", f.lost(), f.Process.Comm)
	f.Fixes = []Fix{
		{Text: "Raise the memory limit of the job (memory.high, memory.max), or find who fills the memory", Command: fmt.Sprintf("cat /proc/%d/cgroup; grep -H . /proc/pressure/memory; ps -eo pid,rss,comm --sort=-rss | head", f.Process.PID)},
	}
}

func tellFault(j *job, f *Finding) {
	faults := uint64(0)
	for _, s := range f.slots {
		if c := s.host[event.MakeOp(event.Host, 8)]; c != nil {
			faults += c.Hist.Count()
		}
	}
	f.Summary = fmt.Sprintf("%s waited in page faults", f.Process.Comm)
	if faults > 0 {
		f.Summary += fmt.Sprintf(" (%d had to read from a disk)", faults)
	}
	f.Summary += fmt.Sprintf(": %s lost", f.lost())
	f.Fixes = []Fix{
		{Text: "Keep the pages in memory: read the mapped file ahead (madvise MADV_WILLNEED, vmtouch), lock it (mlock), or give the machine more memory; if it swaps, find who fills the memory", Command: fmt.Sprintf("grep -E 'maj|Swap' /proc/%d/status /proc/vmstat; vmstat 1 5", f.Process.PID)},
	}
}

// findOOM reports traced processes that the kernel killed.
func findOOM(w *Window, p *stats.Process) []Finding {
	var out []Finding
	for i := range p.Seconds {
		s := &p.Seconds[i]
		for k := range s.Calls {
			if c := &s.Calls[k]; c.Op == event.MakeOp(event.Host, 4) && c.Hist.Count() > 0 {
				out = append(out, oom(w, p, s.At))
			}
		}
	}
	return out
}

func oom(w *Window, p *stats.Process, at int64) Finding {
	f := newFinding(p, "oom_kill", at, at+1)
	f.Severity, f.Confidence, f.Share, f.Explained = High, 1, 1, 1
	// Whatever it would have done until the end of the window is lost.
	f.LostNS = uint64(max(w.last()-at, 1)) * 1e9
	f.Symptom.During = &stats.Histogram{}
	f.Summary = fmt.Sprintf("the kernel killed %s (PID %d) because memory ran out", p.Comm, p.PID)
	f.Culprits = []Culprit{{PID: p.PID, Comm: p.Comm, NS: f.LostNS, Share: 1}}
	f.Fixes = []Fix{{
		Text:    "Give the job more memory (memory.max of its cgroup, the pod's limit), or let it use less: smaller batches, fewer data loader workers, no copies of the data set in each of them",
		Command: "dmesg -T | grep -A 20 'invoked oom-killer'",
	}}
	return f
}
