package rule

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// The device is judged by how much longer it keeps the feeders waiting for
// the same work (compare in account.go). Why it does so is told from who else
// used it, and from what the driver says of its clock.

func tellDevice(j *job, f *Finding) {
	samples := j.samples()
	reasons, slower := throttle(samples, f)
	if reasons != "" && slower >= mostOf*j.stretch(f) {
		f.Kind = "gpu_throttled"
		f.Summary = fmt.Sprintf("the GPU holds its clock down (%s): %s waited %s longer for the same work", reasons, f.Process.Comm, f.lost())
		f.Fixes = []Fix{{Text: "Look after its cooling and its power limit", Command: "nvidia-smi -q -d PERFORMANCE,TEMPERATURE,POWER"}}
		return
	}
	if late := j.straggler(f); late != nil {
		f.Kind = "straggler"
		f.Culprits = []Culprit{{PID: late.PID, Comm: late.Comm, NS: f.LostNS, Share: 1}}
		f.Summary = fmt.Sprintf("%s waited for %s, another process of the same job that was late: %s lost", f.Process.Comm, f.Culprits[0].name(), f.lost())
		f.Fixes = []Fix{{Text: "Look at the finding of that process: it holds all others up"}}
		return
	}
	if others := append(j.sharers(f), j.strangers(samples, f)...); len(others) > 0 {
		f.Kind = "gpu_contention"
		f.Culprits = others
		f.Summary = fmt.Sprintf("%s uses the GPU as well: %s waited %s longer for the same work", others[0].name(), f.Process.Comm, f.lost())
		f.Fixes = []Fix{
			{Text: "Give each process a GPU of its own (CUDA_VISIBLE_DEVICES), or share it by MPS or MIG instead of time slices", Command: "nvidia-smi --query-compute-apps=pid,name,used_memory --format=csv"},
			{Text: "Or let the other one wait", Command: fmt.Sprintf("kill -STOP %d", others[0].PID)},
		}
		return
	}
	f.Summary = fmt.Sprintf("the GPU takes longer for the same work: %s waited %s more for it", f.Process.Comm, f.lost())
	f.Fixes = []Fix{{
		Text:    "See whether its clock fell (power, temperature), whether somebody else uses it, or whether the work itself grew (batch size, sequence length)",
		Command: "nvidia-smi -q -d PERFORMANCE,CLOCK,TEMPERATURE; nvidia-smi pmon -c 5",
	}}
}

// mostOf is the part of a slowdown that a cause must explain to be named.
const mostOf = 0.5

// samples returns what the driver said of the devices that the job uses, or
// of all where it did not say who uses which.
func (j *job) samples() []event.GPUSample {
	mine := map[int]bool{}
	for _, g := range j.window.GPU {
		if usedBy(g, j.PID) {
			mine[g.GPU] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(j.window.GPU), func(g event.GPUSample) bool { return len(mine) > 0 && !mine[g.GPU] })
}

func usedBy(g event.GPUSample, pid uint32) bool {
	return slices.ContainsFunc(g.Procs, func(p event.GPUProc) bool { return p.PID == pid })
}

// throttle returns the reasons for which the clock was held down during a
// finding and not before it, and by how much that slows work down: 0.25 is a
// quarter longer. Where the clock is not known it may be by anything.
func throttle(samples []event.GPUSample, f *Finding) (reasons string, slower float64) {
	during, before := map[string]int{}, map[string]bool{}
	good := seconds(f.good)
	var now, usual []float64
	for _, g := range samples {
		at := g.Time / 1e9
		switch {
		case at >= f.Start.Unix() && at < f.End.Unix():
			now = append(now, g.SMClock)
			for _, r := range reasonsOf(g) {
				during[r]++
			}
		case at < f.Start.Unix():
			for _, r := range reasonsOf(g) {
				before[r] = true
			}
		}
		if good[at] {
			usual = append(usual, g.SMClock)
		}
	}
	var out []string
	for _, r := range sortedKeys(during) {
		if !before[r] && 2*during[r] >= len(now) {
			out = append(out, r)
		}
	}
	slower = math.Inf(1)
	if a, b := median(now), median(usual); a > 0 && b > 0 {
		slower = max(b/a-1, 0)
	}
	return strings.Join(out, ", "), slower
}

func median(of []float64) float64 {
	if len(of) == 0 {
		return 0
	}
	slices.Sort(of)
	return of[len(of)/2]
}

// stretch is by how much longer than usual the job waited for a unit of work.
func (j *job) stretch(f *Finding) float64 {
	var now, normal float64
	for _, s := range f.slots {
		n := s.norm()
		if n == nil {
			continue
		}
		for _, p := range []event.Class{event.Sync, event.Launch} {
			now += j.deviceTime(s, p)
			normal += n.waits[p] * float64(s.units)
		}
	}
	return max(now/max(normal, 1)-1, 0)
}

// strangers are processes that nobody traces, on a device of the job during
// a finding and in few of the good seconds: whoever comes to work takes memory
// first. What they do there is not known.
func (j *job) strangers(samples []event.GPUSample, f *Finding) []Culprit {
	during, usual := map[uint32]string{}, map[uint32]int{}
	good, n := seconds(f.good), 0
	for _, g := range samples {
		at := g.Time / 1e9
		if good[at] {
			n++
		}
		for _, p := range g.Procs {
			if good[at] {
				usual[p.PID]++
			}
			if at >= f.Start.Unix() && at < f.End.Unix() && j.window.process(p.PID) == nil {
				during[p.PID] = path.Base(p.Name)
			}
		}
	}
	var out []Culprit
	for pid, name := range during {
		if 2*usual[pid] < max(n, 1) {
			c := Culprit{PID: pid, Comm: name, NS: f.LostNS}
			c.Cgroup, c.Container = j.window.place(pid)
			out = append(out, c)
		}
	}
	return byHarm(out)
}

func reasonsOf(g event.GPUSample) []string {
	if g.Throttle == "" {
		return nil
	}
	return strings.Split(g.Throttle, ",")
}

// sharers are the other processes that kept a device busy during a finding
// much more than in the good seconds.
func (j *job) sharers(f *Finding) []Culprit {
	during, normal := seconds(f.slots), seconds(f.good)
	var out []Culprit
	for _, o := range j.window.jobs {
		if o.PID == j.PID || (o.Rank.World > 1 && o.Rank.World == j.Rank.World) {
			continue // ranks wait for each other by design
		}
		now, was := o.activity(during), o.activity(normal)
		if now < 0.05 || now < 3*was {
			continue
		}
		out = append(out, Culprit{PID: o.PID, Comm: o.Comm, NS: uint64(now * float64(f.LostNS))})
	}
	return byHarm(out)
}

// activity is the share of the given seconds that the busiest place of a
// process was inside calls that use the device.
func (j *job) activity(at map[int64]bool) float64 {
	if len(at) == 0 {
		return 0
	}
	var ns float64
	for _, s := range j.slots {
		if at[s.At] && s.wall > 0 {
			in := s.place(event.Sync) + s.place(event.Launch) + s.place(event.Copy)
			ns += float64(in) / float64(s.wall) * float64(s.dur)
		}
	}
	return ns / (float64(len(at)) * 1e9)
}

// straggler returns the process of the same distributed job that lost time on
// the host while this one waited for the device.
func (j *job) straggler(f *Finding) *stats.Process {
	for _, o := range j.window.ranks {
		if o.Rank.World <= 1 || o.Rank.World != j.Rank.World || o.Rank.Rank == j.Rank.Rank {
			continue
		}
		for _, x := range o.incidents() {
			if r := rules[x.rule]; r.onDevice || r.kind == "cold_start" {
				continue
			}
			lost, overlap := 0.0, seconds(f.slots)
			for _, s := range x.slots {
				if overlap[s.At] {
					lost += s.lost[x.rule].ns / float64(max(s.wall, 1)) * float64(s.dur)
				}
			}
			if lost >= 0.3*float64(f.LostNS) {
				return o.Process
			}
		}
	}
	return nil
}

// chargeCopy is the time in copies of a job that does hardly anything else.
// For others, compare tells what copies took more than usual.
func chargeCopy(_ *job, s *slot) []charge {
	return []charge{{rule: ruleCopy, ns: own(s, event.Copy)}}
}

func tellCopy(j *job, f *Finding) {
	f.Symptom = j.worstOp(f, event.Copy)
	var bytes, before, ns, nsBefore float64
	sum := func(of []*slot) (bytes, ns float64) {
		for _, s := range of {
			for op, c := range s.calls {
				if op.Class() == event.Copy && c.Nested < c.Hist.Count() {
					bytes += float64(c.Bytes)
				}
			}
			ns += float64(s.place(event.Copy))
		}
		return bytes, ns
	}
	bytes, ns = sum(f.slots)
	before, nsBefore = sum(f.good)
	f.Summary = fmt.Sprintf("copies between host and device held %s up: %s lost", f.Process.Comm, f.lost())
	if bytes > 0 && ns > 0 && before > 0 && nsBefore > 0 {
		f.Summary += fmt.Sprintf(" (%.1f GB/s in copies, normally %.1f)", bytes/ns, before/nsBefore)
	}
	f.Fixes = []Fix{
		{Text: "Copy from pinned memory, without waiting, and beside the computation: DataLoader(pin_memory=True), tensor.to(device, non_blocking=True); larger copies instead of many small ones"},
		{Text: "See whether the PCIe link runs at full width and speed", Command: "nvidia-smi --query-gpu=pcie.link.gen.current,pcie.link.gen.max,pcie.link.width.current,pcie.link.width.max --format=csv"},
	}
}
