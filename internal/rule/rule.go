// Package rule turns the time ledger into verdicts: what took a process's
// time, who did it, how much. Rules are pure: seconds of data in, findings
// out; no clock, no database.
//
// Every second of a job is charged to causes (account.go). What a cause takes
// when all is well is learnt per phase of the job (phase.go) and not counted.
// Runs of seconds in which a cause took time become findings (incident.go).
package rule

import (
	"cmp"
	"slices"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// Window is what the rules look at: all traced processes over the same time.
// Seconds before From teach what is normal; findings are about the rest.
type Window struct {
	Processes []stats.Process
	GPU       []event.GPUSample
	From, To  int64 // unix s, From <= t < To; To 0 has no end

	// Place tells the cgroup and the container that a process which is not
	// traced runs in, empty where that is not known; nil: nothing is known.
	Place func(pid uint32) (cgroup, container string)

	byPID map[uint32]*stats.Process
	jobs  []*job
	ranks []*job // those of other nodes as well
}

// Kinds are all kinds of findings; each has a case of its own in testdata.
var Kinds = []string{
	"cpu_contention", "cpu_throttled", "memory_reclaim", "page_fault", "block_io", "network_wait", "lock_wait", "gpu_bound",
	"gpu_contention", "memcpy_bound", "alloc_churn", "graph_recapture", "graph_pool", "cold_start", "oom_kill",
	"tcp_retransmit", "gpu_throttled", "process_hang", "noisy_neighbor", "straggler", "unexplained",
}

// rule is one cause of lost time.
type rule struct {
	kind string
	// charge divides the time of a second; nil for causes that only a
	// comparison with the norm can show.
	charge func(*job, *slot) []charge
	// never: a good second has none of it.
	never bool
	// constant is the share of the busy time from which it is reported though
	// the job was never seen without it; 0: never.
	constant float64
	// habit: a job may be made like that. Where it was never seen without, that
	// is a remark, not an incident.
	habit    bool
	onDevice bool // it is the device's doing, not the host's
	tell     func(*job, *Finding)
}

// The rules, in the order of docs and tests.
const (
	ruleContention = iota
	ruleOwn
	ruleThrottled
	ruleReclaim
	ruleFault
	ruleDisk
	ruleNetwork
	ruleInput
	ruleRetransmit
	ruleLock
	ruleAlloc
	ruleCapture
	ruleStart
	ruleDevice
	ruleCopy
	ruleHang
	ruleUnexplained
	ruleCount
)

var rules [ruleCount]rule

func init() { // not an initializer: the functions refer to the table
	rules[ruleContention] = rule{kind: "cpu_contention", charge: chargeCPU, never: true, tell: tellContention}
	rules[ruleOwn] = rule{kind: "cpu_contention", constant: 0.20, habit: true, tell: tellOwn}
	rules[ruleThrottled] = rule{kind: "cpu_throttled", never: true, tell: tellThrottled}
	rules[ruleReclaim] = rule{kind: "memory_reclaim", charge: chargeReclaim, never: true, tell: tellReclaim}
	rules[ruleFault] = rule{kind: "page_fault", charge: chargeFault, constant: 0.10, habit: true, tell: tellFault}
	rules[ruleDisk] = rule{kind: "block_io", charge: chargeDisk, constant: 0.20, habit: true, tell: tellDisk}
	rules[ruleNetwork] = rule{kind: "network_wait", constant: 0.30, habit: true, tell: tellNetwork}
	rules[ruleInput] = rule{kind: "network_wait", constant: 0.30, tell: tellInput}
	rules[ruleRetransmit] = rule{kind: "tcp_retransmit", constant: 0.05, tell: tellRetransmit}
	rules[ruleLock] = rule{kind: "lock_wait", charge: chargeWaits, constant: 0.20, habit: true, tell: tellLock}
	rules[ruleAlloc] = rule{kind: "alloc_churn", charge: chargeAlloc, constant: 0.05, tell: tellAlloc}
	rules[ruleCapture] = rule{kind: "graph_recapture", charge: chargeCapture, constant: 0.05, tell: tellCapture}
	rules[ruleStart] = rule{kind: "cold_start", charge: chargeStart, never: true, tell: tellStart}
	rules[ruleDevice] = rule{kind: "gpu_bound", onDevice: true, tell: tellDevice}
	rules[ruleCopy] = rule{kind: "memcpy_bound", charge: chargeCopy, constant: 0.35, habit: true, onDevice: true, tell: tellCopy}
	rules[ruleHang] = rule{kind: "process_hang", charge: chargeStopped, never: true, tell: tellHang}
	rules[ruleUnexplained] = rule{kind: "unexplained", tell: tellUnexplained}
}

// Find applies all rules. The most harmful finding is first; equal input
// gives equal output. Processes of several nodes are told apart.
func Find(w Window) []Finding {
	nodes := w.split()
	var jobs []*job
	for _, n := range nodes {
		for i := range n.Processes {
			if j := newJob(&n.Processes[i], n); j != nil {
				j.account()
				j.findHangs()
				n.jobs = append(n.jobs, j)
			}
		}
		jobs = append(jobs, n.jobs...)
	}
	var all []Finding
	for _, n := range nodes {
		n.ranks = jobs
		all = append(all, n.find()...)
	}
	all = slices.DeleteFunc(withoutRemainders(all), func(f Finding) bool {
		return f.End.Unix() <= w.From || (w.To != 0 && f.Start.Unix() >= w.To)
	})
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(b.Severity.rank(), a.Severity.rank()), cmp.Compare(b.LostNS, a.LostNS), a.Start.Compare(b.Start),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Process.PID, b.Process.PID))
	})
	return all
}

// split makes a window for each node: numbers of processes mean something on
// one node only.
func (w *Window) split() []*Window {
	byNode := map[string]*Window{}
	for _, p := range w.Processes {
		n := byNode[p.Node]
		if n == nil {
			n = &Window{GPU: w.GPU, From: w.From, To: w.To, Place: w.Place, byPID: map[uint32]*stats.Process{}}
			byNode[p.Node] = n
		}
		n.Processes = append(n.Processes, p)
	}
	var all []*Window
	for _, node := range sortedKeys(byNode) {
		n := byNode[node]
		for i := range n.Processes {
			p := &n.Processes[i]
			if old := n.byPID[p.PID]; old == nil || old.Start < p.Start {
				n.byPID[p.PID] = p
			}
		}
		all = append(all, n)
	}
	return all
}

// find returns the findings of one node.
func (w *Window) find() []Finding {
	var all []Finding
	for _, j := range w.jobs {
		for _, x := range j.incidents() {
			if f, ok := j.finding(x); ok {
				all = append(all, f)
			}
		}
	}
	for i := range w.Processes {
		all = append(all, findOOM(w, &w.Processes[i])...)
		all = append(all, findCold(&w.Processes[i])...)
	}
	return all
}

// withoutRemainders drops what is unexplained where a larger cause was found
// for the same time: its chain says how much of the loss it explains. So are
// longer waits for the device beside a cause that took several times as much:
// whoever is thrown off the CPU in such a wait does not see its end.
func withoutRemainders(all []Finding) []Finding {
	known := slices.Clone(all)
	return slices.DeleteFunc(all, func(f Finding) bool {
		var least uint64
		switch f.Kind {
		case "unexplained":
			least = f.LostNS
		case "gpu_bound":
			least = 4 * f.LostNS
		default:
			return false
		}
		return slices.ContainsFunc(known, func(o Finding) bool {
			return o.Kind != f.Kind && o.Process.PID == f.Process.PID && o.LostNS >= least && o.Start.Before(f.End) && f.Start.Before(o.End)
		})
	})
}

// last is the end of the data, unix s.
func (w *Window) last() int64 {
	var at int64
	for i := range w.Processes {
		if n := len(w.Processes[i].Seconds); n > 0 {
			at = max(at, w.Processes[i].Seconds[n-1].At+1)
		}
	}
	return at
}

// process returns a traced process; nil if it is not traced.
func (w *Window) process(pid uint32) *stats.Process { return w.byPID[pid] }

// place is where any process runs; empty: not known.
func (w *Window) place(pid uint32) (cgroup, container string) {
	if p := w.process(pid); p != nil {
		return "", p.Container
	}
	if w.Place == nil {
		return "", ""
	}
	return w.Place(pid)
}
