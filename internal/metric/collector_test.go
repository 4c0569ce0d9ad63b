package metric

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"ingero/internal/event"
	"ingero/internal/pipeline"
	"ingero/internal/stats"
)

var (
	launch = event.MakeOp(event.CUDA, 3)
	memcpy = event.MakeOp(event.CUDA, 4)
	read   = event.MakeOp(event.IO, 1)
)

// bench is a collector and its clock.
type bench struct {
	*testing.T
	*Collector
	at time.Time
}

func newBench(t *testing.T) *bench {
	b := &bench{T: t, at: time.Unix(1_800_000_000, 0)}
	b.Collector = NewCollector(Options{
		Node: "n7", Version: "v1", Kinds: []string{"cpu_contention"}, Now: func() time.Time { return b.at },
		Self: func() Self { return Self{CallProbes: 99, Database: -1, Memory: 1 << 20} },
	})
	return b
}

func (b *bench) take(x pipeline.Batch) {
	b.Helper()
	if err := b.Take(&x); err != nil {
		b.Fatal(err)
	}
}

func calls(pid uint32, op event.Op, ns ...uint64) stats.Calls {
	h := &stats.Histogram{}
	for _, v := range ns {
		h.Add(v)
	}
	return stats.Calls{PID: pid, Op: op, Hist: h, Bytes: 10 * uint64(len(ns))}
}

func process(pid uint32, comm string) pipeline.Process {
	return pipeline.Process{Process: event.Process{PID: pid, Comm: comm, Start: int64(pid) * 1e9, Rank: event.NoRank}}
}

func ended(pid uint32, at time.Time) pipeline.Process {
	p := process(pid, "job")
	p.Ended = at.UnixNano()
	return p
}

// points returns the values of a metric by attributes, as key=value,….
func (b *bench) points(name string) map[string]float64 {
	b.Helper()
	all := map[string]float64{}
	for _, m := range b.Snapshot().Metrics {
		if m.Name != name {
			continue
		}
		for _, p := range m.Points {
			if !slices.IsSortedFunc(p.Attrs, func(a, b Attr) int { return strings.Compare(a.Key, b.Key) }) {
				b.Errorf("%s: attributes %v are not in order", name, p.Attrs)
			}
			value := p.Value
			if p.Hist != nil {
				value = float64(p.Hist.Count())
			}
			key := text(p.Attrs)
			if _, twice := all[key]; twice {
				b.Errorf("%s{%s} twice", name, key)
			}
			all[key] = value
		}
	}
	return all
}

func text(attrs []Attr) string {
	var s []string
	for _, a := range attrs {
		s = append(s, a.Key+"="+a.Value)
	}
	return strings.Join(s, ",")
}

func sum(points map[string]float64) (total float64) {
	for _, v := range points {
		total += v
	}
	return total
}

func TestSumsAreExact(t *testing.T) {
	b := newBench(t)
	b.take(pipeline.Batch{
		Processes: []pipeline.Process{process(7, "job")},
		Calls:     []stats.Calls{calls(7, launch, 1000, 2000), calls(7, memcpy, 5000), calls(7, read, 100), calls(0, launch, 1)},
		Ledger: []stats.Ledger{
			{PID: 7, TID: 7, NS: [event.States]uint64{event.Running: 1e9, event.Runnable: 5e8}},
			{PID: 7, TID: 7, Place: launch, NS: [event.States]uint64{event.Lock: 25e7}},
			{PID: 7, TID: 8, NS: [event.States]uint64{event.Sleep: 2e9}},
		},
		Pairs: []stats.Pair{
			{PID: 7, State: event.Runnable, OtherPID: 9, OtherComm: "hog", NS: 4e8},
			{PID: 7, State: event.Runnable, OtherPID: 10, OtherComm: "small", NS: 1e6},
			{PID: 7, State: event.Runnable, OtherPID: 0, OtherComm: "swapper/0", NS: 3e7},
			{PID: 7, State: event.Runnable, OtherPID: 7, OtherComm: "job", NS: 2e7},
			{PID: 7, TID: 7, State: event.Lock, OtherPID: 11, OtherComm: "a waker, no thief", NS: 9e9},
		},
	})
	first := b.Snapshot()
	b.take(pipeline.Batch{Calls: []stats.Calls{calls(7, launch, 3000)}})
	for name, want := range map[string]map[string]float64{
		"gpu.cuda.operation.count": {
			"class=launch,operation=cudaLaunchKernel,process.command=job,process.pid=7,source=cuda": 3,
			"class=launch,operation=cudaLaunchKernel,process.command=(other),source=cuda":           1,
			"class=copy,operation=cudaMemcpy,process.command=job,process.pid=7,source=cuda":         1,
		},
		"gpu.cuda.operation.bytes": {"class=copy,operation=cudaMemcpy,process.command=job,process.pid=7,source=cuda": 10},
		"ingero.host.operation.time": {
			"class=block,operation=block_read,process.command=job,process.pid=7,source=io": 1e-7,
		},
		"ingero.thread.time": {
			"feeder=true,place=between calls,process.command=job,process.pid=7,state=running":  1,
			"feeder=true,place=between calls,process.command=job,process.pid=7,state=runnable": 0.5,
			"feeder=true,place=launch,process.command=job,process.pid=7,state=lock":            0.25,
			"feeder=false,place=between calls,process.command=job,process.pid=7,state=sleep":   2,
		},
		"ingero.thief.time": {
			"process.command=job,process.pid=7,thief=hog":        0.4,
			"process.command=job,process.pid=7,thief=(other)":    0.001,
			"process.command=job,process.pid=7,thief=(itself)":   0.02,
			"process.command=job,process.pid=7,thief=(idle CPU)": 0.03,
		},
		"ingero.process.live":        {"": 1},
		"process.memory.usage":       {"": 1 << 20},
		"ingero.database.size":       {},
		"system.cpu.load_average.1m": {}, // not measured yet
	} {
		if diff := cmp.Diff(want, b.points(name)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if h := first.Metrics[0].Points[1].Hist; h.Count() != 2 || h.Sum() != 3000 {
		t.Errorf("a snapshot changed later: %d calls, %d ns", h.Count(), h.Sum())
	}
}

// The gauges are right though batches have only what is worth recording.
func TestSystemIsFresh(t *testing.T) {
	b := newBench(t)
	b.System(event.Snapshot{Time: b.at.UnixNano(), CPU: 50, Mem: 25, MemAvail: 3, PSICPU: 10, PSIMem: -1, PSIIO: 0})
	b.take(pipeline.Batch{GPU: []event.GPUSample{{Time: b.at.UnixNano(), GPU: 1, Util: 30, MemUsed: -1, Throttle: "a,b"}}})
	for name, want := range map[string]map[string]float64{
		"system.cpu.utilization":        {"": 0.5},
		"system.linux.memory.available": {"": 3 << 20},
		"ingero.host.pressure":          {"resource=cpu": 0.1, "resource=io": 0},
		"hw.gpu.utilization":            {"hw.id=1,hw.type=gpu": 0.3},
		"hw.gpu.memory.usage":           {},
		"ingero.gpu.throttled":          {"hw.id=1,hw.type=gpu,reason=a": 1, "hw.id=1,hw.type=gpu,reason=b": 1},
	} {
		if diff := cmp.Diff(want, b.points(name)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	b.at = b.at.Add(freshness)
	for _, name := range []string{"system.cpu.utilization", "hw.gpu.utilization"} {
		if p := b.points(name); len(p) != 0 {
			t.Errorf("%s: %v is still told half a minute later", name, p)
		}
	}
}

// Whatever comes and goes, sums over all processes never go down, and grow by
// what is new; and no time series but those of living processes ever grows by
// what another one had.
func TestNothingIsLostWhenProcessesEnd(t *testing.T) {
	b := newBench(t)
	r := rand.New(rand.NewPCG(1, 2))
	var alive []uint32
	var made, before float64
	next := uint32(1)
	series := map[string]float64{}
	for range 500 {
		batch := pipeline.Batch{}
		for range r.IntN(4) {
			batch.Processes = append(batch.Processes, process(next, fmt.Sprintf("job%d", next%3)))
			alive = append(alive, next)
			next++
		}
		grew := 0.0
		for _, pid := range alive {
			if r.IntN(3) == 0 {
				batch.Calls = append(batch.Calls, calls(pid, launch, 1000, 2000))
				batch.Ledger = append(batch.Ledger, stats.Ledger{PID: pid, TID: pid, Place: launch, NS: [event.States]uint64{event.Running: 1e9}})
				batch.Pairs = append(batch.Pairs, stats.Pair{PID: pid, State: event.Runnable, OtherPID: 1, OtherComm: fmt.Sprint("thief", r.IntN(1000)), NS: 1e9})
				grew += 2
			}
		}
		for len(alive) > 0 && (r.IntN(3) == 0 || len(alive) > 250) {
			k := r.IntN(len(alive))
			batch.Processes = append(batch.Processes, ended(alive[k], b.at))
			alive = slices.Delete(alive, k, k+1)
		}
		b.take(batch)
		made += grew
		now := b.points("gpu.cuda.operation.count")
		if sum(now) != made {
			t.Fatalf("sum %v, want %v", sum(now), made)
		}
		rate := 0.0 // as PromQL sees it: a series that is new did not grow
		for k, v := range now {
			if old, known := series[k]; known {
				if v < old {
					t.Fatalf("%s went down from %v to %v", k, old, v)
				}
				rate += v - old
			} else if !strings.Contains(k, Ended) {
				rate += v
			}
		}
		if rate != grew {
			t.Fatalf("series grew by %v, want %v", rate, grew)
		}
		if n := len(now); n > MaxProcesses+2 {
			t.Fatalf("%d series", n)
		}
		series, before = now, made
		b.at = b.at.Add(time.Second)
	}
	stolen := b.points("ingero.thief.time")
	if got := sum(stolen); got != made/2 {
		t.Errorf("thieves took %v, want %v", got, made/2)
	}
	if n := len(stolen); n > (MaxProcesses+2)*(MaxThieves+1) {
		t.Errorf("%d series of thieves", n)
	}
	if got := sum(b.points("ingero.thread.time")); got != made/2 {
		t.Errorf("threads lived %v, want %v", got, made/2)
	}
	if len(b.books.own) == 0 || b.books.folded == 0 || len(b.books.other.calls) == 0 || before == 0 {
		t.Error("this test tested nothing")
	}
}

func TestNumberUsedAgain(t *testing.T) {
	b := newBench(t)
	b.take(pipeline.Batch{Processes: []pipeline.Process{process(7, "old")}, Calls: []stats.Calls{calls(7, launch, 1, 2, 3)}})
	b.take(pipeline.Batch{Processes: []pipeline.Process{ended(7, b.at)}})
	again := process(7, "new")
	again.Start += 100e9
	b.take(pipeline.Batch{Processes: []pipeline.Process{again}, Calls: []stats.Calls{calls(7, launch, 4)}})
	want := map[string]float64{
		"class=launch,operation=cudaLaunchKernel,process.command=new,process.pid=7,source=cuda":   1,
		"class=launch,operation=cudaLaunchKernel,process.command=(ended),processes=1,source=cuda": 3,
	}
	if diff := cmp.Diff(want, b.points("gpu.cuda.operation.count")); diff != "" {
		t.Error(diff)
	}
}

// A process cannot pretend to be one of our names, nor break or flood what
// names are written into.
func TestHostileNames(t *testing.T) {
	b := newBench(t)
	for i, name := range []string{"</script>\x1b[2J", "\xff\xfe\"}\n# HELP x", strings.Repeat("ü", 500), Other, Ended, ""} {
		pid := uint32(i + 1)
		p := process(pid, name)
		p.Container = name
		b.take(pipeline.Batch{
			Processes: []pipeline.Process{p}, Calls: []stats.Calls{calls(pid, launch, 1)},
			Pairs: []stats.Pair{{PID: pid, State: event.Runnable, OtherPID: 99, OtherComm: name, NS: 1e9}},
		})
		b.Finding(Finding{ID: name, Kind: "cpu_contention", Severity: "HIGH", Comm: name, Summary: name, Culprit: name, Fix: name})
	}
	check := func(where string, s string, limit int) {
		if !utf8.ValidString(s) || len(s) > limit || strings.ContainsAny(s, "\n\x1b\x00") {
			t.Errorf("%s: %q", where, s)
		}
	}
	for _, m := range b.Snapshot().Metrics {
		for _, p := range m.Points {
			for _, a := range p.Attrs {
				check(m.Name+" "+a.Key, a.Value, maxLabel)
			}
		}
	}
	logs, _, _ := b.Logs(0)
	for _, l := range logs {
		check("log", l.Body, 12*maxLabel)
		for _, a := range l.Attrs {
			check(a.Key, a.Value, 8*maxLabel)
		}
	}
	if p := b.points("ingero.thief.time"); p["container.id=(other),process.command=(other),process.pid=4,thief='(other)'"] != 1 {
		t.Errorf("a thief hides behind a name of ours: %v", p)
	}
}

func TestLost(t *testing.T) {
	b := newBench(t)
	c := calls(7, launch, 1)
	c.Recorded, c.Lost = 5, 3
	b.take(pipeline.Batch{Calls: []stats.Calls{c}, Dropped: map[event.Op]uint64{launch: 2}})
	b.Drop(map[event.Op]uint64{launch: 4, read: 1})
	want := map[string]float64{
		"cause=ring,operation=cudaLaunchKernel,source=cuda":  3,
		"cause=queue,operation=cudaLaunchKernel,source=cuda": 6,
		"cause=ring,operation=block_read,source=io":          0,
		"cause=queue,operation=block_read,source=io":         1,
	}
	if diff := cmp.Diff(want, b.points("ingero.event.lost")); diff != "" {
		t.Error(diff)
	}
	if n := sum(b.points("ingero.event.recorded")); n != 5 {
		t.Errorf("%v recorded", n)
	}
}

func TestTableIsSound(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range Table() {
		if seen[m.Name] || m.Help == "" || !strings.HasSuffix(m.Help, ".") {
			t.Errorf("%+v: named twice, or without a sentence that explains it", m)
		}
		seen[m.Name] = true
	}
}
