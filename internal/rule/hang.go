package rule

import (
	"fmt"

	"ingero/internal/event"
)

const (
	// hangSeconds is how long nothing must have moved.
	hangSeconds = 3
	// hangTimes is how much longer than ever before a call must take.
	hangTimes = 5
)

// findHangs finds calls that do not return: seconds in a row in which nothing
// moves, far longer than such calls ever took.
func (j *job) findHangs() {
	j.undecide()
	for i := 0; i < len(j.slots); {
		n := 0
		for i+n < len(j.slots) && j.hanging(i+n) && (n == 0 || j.slots[i+n].At-j.slots[i+n-1].At <= 2) {
			n++
		}
		if n > 0 && j.hung(i, n) {
			for _, s := range j.slots[i : i+n] {
				// One verdict: what the stuck call looks like is no cause.
				s.lost = make([]loss, len(rules))
				s.lost[ruleHang].ns = float64(s.wall)
			}
			j.absorb(i-1, i)
			j.absorb(i+n, i+n-1)
		}
		i += max(n, 1)
	}
}

// chargeStopped is the time that the feeders were held by a signal or a
// debugger.
func chargeStopped(_ *job, s *slot) []charge {
	return []charge{{rule: ruleHang, ns: float64(s.at(event.Stopped))}}
}

// absorb makes the beginning and the end of a hang, in the seconds beside it,
// part of it.
func (j *job) absorb(i, beside int) {
	if i < 0 || i >= len(j.slots) || max(j.slots[i].At-j.slots[beside].At, j.slots[beside].At-j.slots[i].At) > 1 {
		return
	}
	l := j.slots[i].lost
	l[ruleHang].ns += l[ruleDevice].ns
	l[ruleDevice] = loss{}
}

// undecide takes back what was charged to the device while the job is stuck in
// a call that may yet turn out to hang.
func (j *job) undecide() {
	i := len(j.slots)
	for i > 0 && j.hanging(i-1) {
		i--
	}
	if n := len(j.slots) - i; n == 0 || j.hung(i, n) {
		return
	}
	for k := max(i-1, 0); k < len(j.slots); k++ {
		j.slots[k].lost[ruleDevice] = loss{}
	}
}

func (j *job) hanging(i int) bool {
	s := j.slots[i]
	if s.total > 0 || s.wall == 0 {
		return false
	}
	var inside uint64
	for p := 1; p < classes; p++ {
		if event.Class(p) != event.Capturing {
			inside += s.place(event.Class(p))
		}
	}
	// Several feeders: one is stuck, others wait for it between calls.
	return inside >= s.dur/100*95
}

// hung reports whether the n seconds from i on are long for what the job was
// doing.
func (j *job) hung(i, n int) bool {
	if n < hangSeconds {
		return false
	}
	var longest uint64
	for _, s := range j.slots[:i] {
		for op, c := range s.calls {
			if j.slots[i].place(op.Class()) > 0 {
				longest = max(longest, c.Hist.Max())
			}
		}
	}
	switch {
	case longest > 0:
	case j.slots[i].place(event.Load) > 0:
		longest = 6e9 // a context on a machine with many GPUs, a large module
	default:
		longest = 2e9 // the first of its kind: nobody knows how long it takes
	}
	return uint64(n)*1e9 >= hangTimes*longest
}

func tellHang(j *job, f *Finding) {
	var stopped, wall uint64
	var places [classes]uint64
	for _, s := range f.slots {
		stopped += s.at(event.Stopped)
		wall += s.wall
		for p := 1; p < classes; p++ {
			places[p] += s.place(event.Class(p))
		}
	}
	if stopped > wall/2 {
		f.Summary = fmt.Sprintf("%s was stopped by a signal or a debugger: %s lost", f.Process.Comm, f.lost())
		f.Fixes = []Fix{{Text: "Let it go on", Command: fmt.Sprintf("kill -CONT %d", f.Process.PID)}}
		return
	}
	best := event.Sync
	for p := range places {
		if places[p] > places[best] {
			best = event.Class(p)
		}
	}
	is := "was"
	if f.Ongoing {
		is = "is"
	}
	f.Summary = fmt.Sprintf("%s %s stuck in a call (%s) for %s: nothing moves", f.Process.Comm, is, best, short(f.LostNS))
	f.Severity = High
	f.Fixes = []Fix{
		{Text: "See what the device does, and where the thread is", Command: fmt.Sprintf("nvidia-smi; dmesg -T | grep -i xid; cat /proc/%d/task/*/wchan; py-spy dump --pid %d", f.Process.PID, f.Process.PID)},
		{Text: "If ranks wait for each other (NCCL), look for the one that is elsewhere", Command: "export NCCL_DEBUG=INFO TORCH_NCCL_TRACE_BUFFER_SIZE=2000"},
	}
}

// tellUnexplained says that the job is slow and that nothing we watch took
// the time: its own work between calls became more, or the machine slower.
func tellUnexplained(j *job, f *Finding) {
	f.Explained = 0
	f.Summary = fmt.Sprintf("%s does less work than before, and nothing that is watched took the time: %s; its own work between calls may have grown, or the CPUs become slower", f.Process.Comm, f.lost())
	f.Fixes = []Fix{{Text: "See what it computes between calls, and whether the clock of the CPUs fell or a hypervisor took them (steal)", Command: fmt.Sprintf("py-spy top --pid %d; vmstat 1 5; grep MHz /proc/cpuinfo", f.Process.PID)}}
	f.Confidence = 0.3
	f.limit(Low, "no cause was found")
}
