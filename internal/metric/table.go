package metric

import (
	"cmp"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// row is one metric: what it is, and the function that makes its points. No
// points: it is left out.
type row struct {
	Metric
	points func(*view) []Point
}

// Table lists all metrics there are, without points, in the order of a
// Snapshot.
func Table() []Metric {
	all := make([]Metric, len(table))
	for i, r := range table {
		all[i] = r.Metric
	}
	return all
}

// Names are those of the semantic conventions of OpenTelemetry where they
// have one.
var table = []row{
	{Metric{Name: "gpu.cuda.operation.duration", Unit: "s", Kind: Histogram, Help: "How long traced calls took."}, (*view).durations},
	{Metric{Name: "gpu.cuda.operation.count", Unit: "{call}", Kind: Sum, Int: true, Help: "Traced calls that returned; complete at any rate."},
		func(v *view) []Point {
			return v.ofCalls(nil, func(c *stats.Calls) float64 { return float64(c.Hist.Count()) })
		}},
	{Metric{Name: "gpu.cuda.operation.nested", Unit: "{call}", Kind: Sum, Int: true, Help: "Of the traced calls, those made inside another one."},
		func(v *view) []Point {
			return v.ofCalls(nil, func(c *stats.Calls) float64 { return float64(c.Nested) })
		}},
	{Metric{Name: "gpu.cuda.operation.errors", Unit: "{call}", Kind: Sum, Int: true, Help: "Of the traced calls, those that returned anything but success."},
		func(v *view) []Point {
			return v.ofCalls(nil, func(c *stats.Calls) float64 { return float64(c.Errors) })
		}},
	{Metric{Name: "gpu.cuda.operation.bytes", Unit: "By", Kind: Sum, Int: true, Help: "Bytes that traced calls asked for, or copied."},
		func(v *view) []Point { return v.ofCalls(hasBytes, bytesOf) }},

	{Metric{Name: "ingero.thread.time", Unit: "s", Kind: Sum, Help: "Time of all threads by the class of the outermost traced call they are in, and their state. feeder: threads that make traced calls."},
		func(v *view) []Point { return times(v.spent) }},
	{Metric{Name: "ingero.thief.time", Unit: "s", Kind: Sum, Help: "Time in which the process wanted a CPU that the thief ran on."},
		func(v *view) []Point { return times(v.thieves) }},
	{Metric{Name: "ingero.host.operation.count", Unit: "{event}", Kind: Sum, Int: true, Help: "What the kernel did for traced processes."},
		func(v *view) []Point {
			return v.ofHost(nil, func(c *stats.Calls) float64 { return float64(c.Hist.Count()) })
		}},
	{Metric{Name: "ingero.host.operation.time", Unit: "s", Kind: Sum, Help: "How long what the kernel did for traced processes took, as far as it takes time."},
		func(v *view) []Point {
			return v.ofHost(takesTime, func(c *stats.Calls) float64 { return float64(c.Hist.Sum()) / 1e9 })
		}},
	{Metric{Name: "ingero.host.operation.bytes", Unit: "By", Kind: Sum, Int: true, Help: "Bytes of what the kernel did for traced processes."},
		func(v *view) []Point { return v.ofHost(hasBytes, bytesOf) }},

	{Metric{Name: "ingero.anomaly.count", Unit: "{finding}", Kind: Sum, Int: true, Help: "Findings: causes of lost time. One that gets worse is counted again with its new severity."},
		(*view).foundCount},
	{Metric{Name: "ingero.anomaly.active", Unit: "{finding}", Kind: UpDown, Int: true, Help: "Findings that go on."},
		func(v *view) []Point { return v.perFinding(func(*Finding) float64 { return 1 }) }},
	{Metric{Name: "ingero.anomaly.lost", Unit: "s", Kind: Gauge, Help: "Time that findings which go on have cost the process until now."},
		func(v *view) []Point { return v.perFinding(func(f *Finding) float64 { return f.Lost.Seconds() }) }},

	{Metric{Name: "ingero.process.info", Kind: Gauge, Int: true, Help: "1 for each process with time series of its own."}, (*view).processInfo},
	{Metric{Name: "ingero.process.live", Unit: "{process}", Kind: UpDown, Int: true, Help: "Traced processes that live."},
		func(v *view) []Point { return one(float64(v.living)) }},
	{Metric{Name: "ingero.process.ended", Unit: "{process}", Kind: Sum, Int: true, Help: "Traced processes that ended."},
		func(v *view) []Point { return one(float64(v.gone)) }},

	{Metric{Name: "system.cpu.utilization", Unit: "1", Kind: Gauge, Help: "Busy share of all cores together, of the last second."},
		func(v *view) []Point { return v.ofSystem(v.system.CPU / 100) }},
	{Metric{Name: "system.cpu.load_average.1m", Unit: "{thread}", Kind: Gauge, Help: "One-minute load average."},
		func(v *view) []Point { return v.ofSystem(v.system.Load) }},
	{Metric{Name: "system.memory.utilization", Unit: "1", Kind: Gauge, Help: "Share of memory that is not available without swapping."},
		func(v *view) []Point { return v.ofSystem(v.system.Mem / 100) }},
	{Metric{Name: "system.linux.memory.available", Unit: "By", Kind: UpDown, Int: true, Help: "Memory that is available without swapping."},
		func(v *view) []Point { return v.ofSystem(float64(v.system.MemAvail << 20)) }},
	{Metric{Name: "system.paging.usage", Unit: "By", Kind: UpDown, Int: true, Help: "Swap in use."},
		func(v *view) []Point { return v.ofSystem(float64(v.system.Swap << 20)) }},
	{Metric{Name: "ingero.host.pressure", Unit: "1", Kind: Gauge, Help: "Share of the last second in which some task waited for the resource (PSI)."}, (*view).pressure},

	{Metric{Name: "hw.gpu.utilization", Unit: "1", Kind: Gauge, Help: "Share of the time in which a kernel ran on the GPU, as nvidia-smi has it."},
		func(v *view) []Point { return v.perGPU(func(g *event.GPUSample) float64 { return g.Util / 100 }) }},
	{Metric{Name: "hw.gpu.memory.usage", Unit: "By", Kind: UpDown, Int: true, Help: "Memory of the GPU in use."},
		func(v *view) []Point {
			return v.perGPU(func(g *event.GPUSample) float64 { return g.MemUsed * (1 << 20) })
		}},
	{Metric{Name: "hw.gpu.memory.limit", Unit: "By", Kind: UpDown, Int: true, Help: "Memory of the GPU."},
		func(v *view) []Point {
			return v.perGPU(func(g *event.GPUSample) float64 { return g.MemTotal * (1 << 20) })
		}},
	{Metric{Name: "hw.gpu.speed", Unit: "Hz", Kind: Gauge, Help: "Clocks of the GPU."}, (*view).clocks},
	{Metric{Name: "hw.gpu.speed.limit", Unit: "Hz", Kind: Gauge, Help: "Highest clock of the GPU's processors."},
		func(v *view) []Point {
			return v.perGPU(func(g *event.GPUSample) float64 { return g.SMMax * 1e6 }, Attr{"clock", "sm"})
		}},
	{Metric{Name: "hw.power", Unit: "W", Kind: Gauge, Help: "Power that the GPU draws."},
		func(v *view) []Point { return v.perGPU(func(g *event.GPUSample) float64 { return g.Power }) }},
	{Metric{Name: "hw.temperature", Unit: "Cel", Kind: Gauge, Help: "Temperature of the GPU."},
		func(v *view) []Point { return v.perGPU(func(g *event.GPUSample) float64 { return g.Temp }) }},
	{Metric{Name: "ingero.gpu.throttled", Unit: "{reason}", Kind: Gauge, Int: true, Help: "1 for each reason why the clocks of the GPU are held down."}, (*view).throttled},

	{Metric{Name: "ingero.event.recorded", Unit: "{event}", Kind: Sum, Int: true, Help: "Calls and host operations that were recorded as events as well."},
		func(v *view) []Point { return v.perEvent(func(n eventCount) uint64 { return n.recorded }) }},
	{Metric{Name: "ingero.event.lost", Unit: "{event}", Kind: Sum, Int: true, Help: "Events that were to be recorded and were not: the kernel's ring or the queue of the database was full. Counts and durations do not suffer."},
		(*view).lost},
	{Metric{Name: "ingero.probe.attached", Unit: "{probe}", Kind: UpDown, Int: true, Help: "Probes in place."},
		func(v *view) []Point {
			return each("target", named("call", float64(v.self.CallProbes)), named("host", float64(v.self.HostProbes)))
		}},
	{Metric{Name: "ingero.coverage.gaps", Unit: "{gap}", Kind: UpDown, Int: true, Help: "Things that could not be traced; the trace says which."},
		func(v *view) []Point { return one(float64(v.self.Gaps)) }},
	{Metric{Name: "ingero.overhead", Unit: "1", Kind: Gauge, Help: "Share of the time of the threads that make calls that probes took."},
		func(v *view) []Point { return one(v.self.Overhead) }},
	{Metric{Name: "ingero.overhead.call", Unit: "s", Kind: Gauge, Help: "What probes add to a call on this machine; stack: what taking its stack adds to one that is recorded."},
		func(v *view) []Point {
			return each("part", named("probe", seconds(v.self.Call)), named("stack", seconds(v.self.Stack)))
		}},
	{Metric{Name: "ingero.database.size", Unit: "By", Kind: UpDown, Int: true, Help: "Size of the files of the database."},
		func(v *view) []Point { return one(float64(v.self.Database)) }},
	{Metric{Name: "process.cpu.time", Unit: "s", Kind: Sum, Help: "CPU time of ingero itself."},
		func(v *view) []Point {
			return each("cpu.mode", named("system", seconds(v.self.System)), named("user", seconds(v.self.User)))
		}},
	{Metric{Name: "process.memory.usage", Unit: "By", Kind: UpDown, Int: true, Help: "Resident memory of ingero itself."},
		func(v *view) []Point { return one(float64(v.self.Memory)) }},
	{Metric{Name: "process.disk.io", Unit: "By", Kind: Sum, Int: true, Help: "Bytes that ingero itself read and wrote."},
		func(v *view) []Point {
			return each("disk.io.direction", named("read", float64(v.self.Read)), named("write", float64(v.self.Written)))
		}},
	{Metric{Name: "ingero.build.info", Kind: Gauge, Int: true, Help: "1, with what this ingero was built from."},
		func(v *view) []Point {
			return []Point{{Attrs: []Attr{{"commit", clean(v.opts.Commit)}, {"go", runtime.Version()}, {"version", clean(v.opts.Version)}}, Value: 1}}
		}},
}

func seconds(d time.Duration) float64 { return d.Seconds() }

func hasBytes(op event.Op) bool { return op.Class().HasBytes() }

func bytesOf(c *stats.Calls) float64 { return float64(c.Bytes) }

// takesTime: what is only counted has no duration.
func takesTime(op event.Op) bool {
	switch op.Class() {
	case event.Block, event.Network, event.Gap:
		return true
	}
	return op == majorFault || op == directReclaim || op == throttle
}

var (
	majorFault    = event.MakeOp(event.Host, 8)
	directReclaim = event.MakeOp(event.Host, 9)
	throttle      = event.MakeOp(event.Host, 13)
)

func (v *view) pressure() []Point {
	if v.system.Time == 0 {
		return nil
	}
	return each("resource", named("cpu", v.system.PSICPU/100), named("io", v.system.PSIIO/100), named("memory", v.system.PSIMem/100))
}

func (v *view) foundCount() []Point {
	var all []Point
	for _, k := range slices.SortedFunc(maps.Keys(v.found), func(a, b findingKey) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.severity, b.severity))
	}) {
		all = append(all, Point{Attrs: []Attr{{"kind", k.kind}, {"severity", k.severity}}, Value: float64(v.found[k])})
	}
	return all
}

func (v *view) processInfo() []Point {
	var all []Point
	for _, p := range v.processes {
		more := []Attr{{"process.parent_pid", number(p.PPID)}, {"process.user.id", number(p.UID)}}
		if p.Cgroup != 0 {
			more = append(more, Attr{"cgroup.id", number(p.Cgroup)})
		}
		if p.Rank.Local >= 0 {
			more = append(more, Attr{"local_rank", number(p.Rank.Local)})
		}
		if p.Rank.World >= 0 {
			more = append(more, Attr{"world_size", number(p.Rank.World)})
		}
		all = append(all, Point{Attrs: with(p.labels, more...), Value: 1})
	}
	return all
}

func number[T int32 | uint32 | uint64](n T) string {
	if n < 0 {
		return strconv.FormatInt(int64(n), 10)
	}
	return strconv.FormatUint(uint64(n), 10)
}

func (v *view) clocks() []Point {
	return slices.Concat(
		v.perGPU(func(g *event.GPUSample) float64 { return g.MemClock * 1e6 }, Attr{"clock", "memory"}),
		v.perGPU(func(g *event.GPUSample) float64 { return g.SMClock * 1e6 }, Attr{"clock", "sm"}),
	)
}

func (v *view) throttled() []Point {
	var all []Point
	for i := range v.gpus {
		for reason := range strings.SplitSeq(v.gpus[i].Throttle, ",") {
			if reason != "" {
				all = append(all, Point{Attrs: []Attr{{"hw.id", strconv.Itoa(v.gpus[i].GPU)}, {"hw.type", "gpu"}, {"reason", clean(reason)}}, Value: 1})
			}
		}
	}
	return all
}

func (v *view) lost() []Point {
	return slices.Concat(
		v.perEvent(func(n eventCount) uint64 { return n.ring }, Attr{"cause", "ring"}),
		v.perEvent(func(n eventCount) uint64 { return n.queue }, Attr{"cause", "queue"}),
	)
}
