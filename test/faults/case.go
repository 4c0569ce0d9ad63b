package main

import (
	"fmt"
	"os"
	"runtime"
	"time"
)

// Case is one fault, or one healthy look-alike. Cases are data: what a case
// does to the machine is in its Inject, built from the injectors of
// inject_*.go.
type Case struct {
	Name, Text string

	Job    string   // options of the workload, beside those of every job
	Python bool     // the job is train.py
	CPU    string   // CPUs of the job, as taskset wants them; empty is all
	Nice   int      // of the job
	Groups []string // cgroup controllers in which the job has a group of its own

	Before inject // what the job needs before it starts, such as a peer
	Inject inject // the fault; of a healthy case, what must not count as one

	// What is right to say. A healthy case has no Kinds.
	Kinds   []string // of cause, any of them
	Culprit string   // the comm of the process to name first; "self" is the job
	Allow   []string // kinds that may be said beside, or in a healthy case

	Healthy, Fault, After time.Duration // the timeline; 0 is 6 s, 6 s, 3 s
	FromStart             bool          // the fault is there before the job
	Late                  bool          // the agent comes when the job is running
	Ends                  bool          // the job dies of the fault
	NoLoss                bool          // the loss cannot be told, or is none

	Needs []func() string // reasons why it cannot be injected here
	CI    bool            // part of the short test
}

// An inject starts something and returns what ends it.
type inject func(s *scene) (undo func() error, err error)

func (c *Case) isFault() bool { return len(c.Kinds) > 0 }

func (c *Case) defaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.Healthy, 6*time.Second)
	set(&c.Fault, 6*time.Second)
	set(&c.After, 3*time.Second)
	if c.FromStart {
		c.Healthy = 0
	}
}

// uncovered says why the case cannot run on this machine.
func (c *Case) uncovered() string {
	for _, need := range c.Needs {
		if why := need(); why != "" {
			return why
		}
	}
	for _, g := range c.Groups {
		if why := needGroup(g); why != "" {
			return why
		}
	}
	return ""
}

func needGroup(controller string) string {
	if _, err := os.Stat("/sys/fs/cgroup/" + controller + "/tasks"); err != nil {
		return fmt.Sprintf("needs the %s controller of cgroup v1 at /sys/fs/cgroup/%s", controller, controller)
	}
	return ""
}

func twoCPUs() string {
	if runtime.NumCPU() < 2 {
		return "needs two CPUs"
	}
	return ""
}

// cases returns every case with its timeline.
func cases() []Case {
	var all []Case
	for _, table := range [][]Case{cpuCases, memoryCases, diskCases, waitCases, deviceCases, healthyCases, calmCases} {
		for _, c := range table {
			c.defaults()
			all = append(all, c)
		}
	}
	return all
}

// Not injected, on any machine this was developed on.
var notCovered = []struct{ what, why string }{
	{"packet loss by tc netem", "the kernel has no CONFIG_NET_SCH_NETEM; packets are dropped by an eBPF program on the peer's cgroup instead"},
	{"a disk with latency by device-mapper (dm-delay)", "the kernel has no device-mapper; blkio.throttle and a rival reader are used instead"},
	{"gpu_throttled", "clocks and temperatures come from nvidia-smi, and the simulated device has none"},
	{"straggler", "needs several nodes"},
	{"swapping", "swap is the whole machine's, not the job's"},
}
