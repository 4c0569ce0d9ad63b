package rule

import (
	"fmt"
	"strings"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// harmful is the part of the time that feeders wanted a CPU at a place and
// had none which held the job up. A thread that spins until the device is
// done loses only from the moment on when the device finishes. If its waits
// for a CPU are longer than the device takes, that is all but half of the
// device's time; if they are shorter, at most the last wait in each call
// counts, half of it on average.
func harmful(s *slot, place event.Class) float64 {
	c := &s.cells[place]
	waited := float64(c[event.Runnable].ns)
	if (place != event.Sync && place != event.Copy) || waited == 0 {
		return waited
	}
	running, blocked := float64(c[event.Running].ns), 0.0
	for state := event.Disk; state < event.States; state++ {
		blocked += float64(c[state].ns)
	}
	spin := running / max(running+blocked, 1)
	calls := float64(s.count(place))
	each, wait := (running+blocked)/max(calls, 1), max(float64(c[event.Runnable].max), 1)
	bound := min(waited, calls*waited/(waited+running+blocked)*wait/2)
	if wait >= each && calls > 0 {
		bound = max(bound, waited*(1-each/wait/2))
	}
	return waited*(1-spin) + spin*bound
}

// throttledSlice tells a throttled process from one that merely wakes up on
// an idle CPU: a bandwidth period is some 100 ms, a wake-up some µs.
const throttledSlice = 1_000_000 // ns

// chargeCPU divides the time that the feeders wanted a CPU by who ran on it
// meanwhile. Thieves are known per process, so the feeders' time is divided
// in the same proportion; what nobody is named for stays with nobody.
func chargeCPU(j *job, s *slot) []charge {
	var waited, named, idle float64
	for place := range s.cells {
		waited += harmful(s, event.Class(place))
	}
	if waited == 0 {
		return nil
	}
	held := j.throttled(s)
	for _, p := range s.Pairs {
		if p.State == event.Runnable && p.TID == 0 {
			named += float64(p.NS)
			if p.OtherPID == 0 && p.Count > 0 && p.NS/p.Count >= throttledSlice {
				idle += float64(p.NS)
			}
		}
	}
	if named == 0 {
		return nil
	}
	part := min(waited/named, 1)
	// The group is held back as a whole: while it is, others may use the CPU.
	quota := min(max(idle*part, min(held, waited)), waited)
	if held == 0 && idle < 0.5*named {
		quota = idle * part
	}
	out := []charge{{rule: ruleThrottled, ns: quota}}
	left := waited - quota
	if named-idle <= 0 {
		return out
	}
	for _, p := range s.Pairs {
		if p.State != event.Runnable || p.TID != 0 || p.OtherPID == 0 {
			continue
		}
		r := ruleContention
		if j.window.sameJob(j.Process, p.OtherPID) {
			r = ruleOwn
		}
		ns := min(float64(p.NS)*part, left*float64(p.NS)/(named-idle))
		out = append(out, charge{rule: r, ns: ns, culprit: Culprit{PID: p.OtherPID, Comm: p.OtherComm}})
	}
	return out
}

// throttled is how long the kernel says that the process's group was held
// back by its quota, at most the whole second for each feeder.
func (j *job) throttled(s *slot) float64 {
	c := s.host[opThrottle]
	if c == nil {
		return 0
	}
	return min(float64(c.Hist.Sum()), float64(s.wall))
}

var opThrottle = event.MakeOp(event.Host, 13)

func tellContention(j *job, f *Finding) {
	if len(f.Culprits) == 0 {
		f.Summary = fmt.Sprintf("%s waited for a CPU: %s lost", f.Process.Comm, f.lost())
		return
	}
	c := f.Culprits[0]
	if c.Container != "" && c.Container != f.Process.Container {
		f.Kind = "noisy_neighbor"
	}
	names, pids := f.worst()
	f.Summary = fmt.Sprintf("%s ran where %s wanted to: %s lost", names, f.Process.Comm, f.lost())
	thief, it := "the thief", "it"
	if len(pids) > 1 {
		thief, it = "the thieves", "them"
	}
	f.Fixes = []Fix{
		{Text: "Let " + thief + " give way", Command: "renice -n 19 -p " + strings.Join(pids, " ")},
		{Text: "Or keep " + it + " off the CPUs of the job (list them with taskset -cp " + fmt.Sprint(f.Process.PID) + ")", Command: "for p in " + strings.Join(pids, " ") + "; do taskset -cp CPUS $p; done"},
	}
	if len(pids) == 1 {
		f.Fixes[1].Command = "taskset -cp CPUS " + pids[0]
	}
	if f.Kind == "noisy_neighbor" {
		f.Fixes = append(f.Fixes, Fix{Text: "Or give the job's container CPUs of its own (Kubernetes: static CPU manager policy, guaranteed pod)"})
	}
}

// worst names the culprits that took most of the lost time: those who took at
// least a third of what the first of them did, three at most.
func (f *Finding) worst() (names string, pids []string) {
	var all []string
	for i, c := range f.Culprits {
		if i == 3 || 3*c.NS < f.Culprits[0].NS {
			break
		}
		all = append(all, c.name())
		pids = append(pids, fmt.Sprint(c.PID))
	}
	if n := len(all); n > 1 {
		return strings.Join(all[:n-1], ", ") + " and " + all[n-1], pids
	}
	return all[0], pids
}

func tellOwn(j *job, f *Finding) {
	f.Summary = fmt.Sprintf("its own threads and processes compete for too few CPUs: %s lost", f.lost())
	f.Fixes = []Fix{{
		Text:    "Give it more CPUs, or fewer threads: OMP_NUM_THREADS, torch.set_num_threads, fewer data loader workers",
		Command: fmt.Sprintf("taskset -cp %d", f.Process.PID),
	}}
}

func tellThrottled(j *job, f *Finding) {
	f.Culprits = nil // nobody: its own limit
	f.Summary = fmt.Sprintf("%s used up its CPU quota: %s lost", f.Process.Comm, f.lost())
	f.Fixes = []Fix{{
		Text:    "Raise the CPU limit of its container or cgroup (cpu.max, cpu.cfs_quota_us); nr_throttled in cpu.stat should stand still afterwards",
		Command: fmt.Sprintf("cat /proc/%d/cgroup", f.Process.PID),
	}}
}

// sameJob reports whether another process belongs to the same job: the
// process itself, its parent or child, or another worker or rank of it.
func (w *Window) sameJob(p *stats.Process, pid uint32) bool {
	if pid == p.PID {
		return true
	}
	q := w.process(pid)
	if q == nil {
		return false // not traced, so it has nothing to do with the job
	}
	sibling := q.PPID == p.PPID && p.PPID > 1 && (q.Comm == p.Comm || w.process(p.PPID) != nil || (p.Rank.World > 1 && q.Rank.World == p.Rank.World))
	return pid == p.PPID || q.PPID == p.PID || sibling
}
