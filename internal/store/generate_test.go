package store

import (
	"math"
	"math/rand/v2"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// generator makes events like those of a training job with four processes.
type generator struct {
	r     *rand.Rand
	at    int64
	gap   float64 // mean time between events, ns
	calls []event.Call
}

// testStart is 2026-01-01 00:00:00 UTC, a whole minute.
const testStart = 1767225600e9

func newGenerator(seed uint64) *generator {
	g := &generator{r: rand.New(rand.NewPCG(seed, 1)), at: testStart, gap: 10_000}
	for _, name := range []string{"cudaLaunchKernel", "cuLaunchKernel", "cudaMemcpyAsync", "cudaStreamSync", "cudaMalloc", "cudaFree"} {
		for _, c := range event.Calls {
			if c.Name == name {
				g.calls = append(g.calls, c)
			}
		}
	}
	return g
}

func (g *generator) next(e *event.Event) {
	g.at += int64(g.gap * (0.1 + 0.9*g.r.ExpFloat64()))
	p := uint32(g.r.IntN(4))
	call := g.calls[min(g.r.IntN(12), len(g.calls)*2-1)/2]
	if g.r.IntN(2) == 0 {
		call = g.calls[0]
	}
	*e = event.Event{
		Start: g.at, Dur: int64(math.Exp(g.r.NormFloat64()) * 5000),
		PID: 4000 + p, TID: 4000 + p + uint32(g.r.IntN(2))*100, Op: call.ID,
		GPU: int16(p), Comm: []string{"python3", "pt_main_thread"}[g.r.IntN(2)],
		Handle: 0x7f0000000000 + uint64(g.r.IntN(64))*4096, Cgroup: 4711,
		Rank: event.Rank{Rank: int32(p), Local: int32(p), World: 4},
	}
	if call.Class.HasBytes() {
		e.Bytes, e.Dir = 1<<g.r.IntN(28), event.HostToDevice
	}
}

// testStats makes the statistics of one second: ops calls of procs
// processes, 1000 calls each.
func testStats(r *rand.Rand, procs, ops int) []stats.Calls {
	all := make([]stats.Calls, 0, procs*ops)
	for p := range procs {
		for o := range ops {
			s := stats.Calls{PID: 4000 + uint32(p), Start: testStart - 1e9, Op: event.Calls[o].ID,
				Nested: 10, Errors: 1, Bytes: 1 << 20, Recorded: 30, Lost: 2, Hist: new(stats.Histogram)}
			for range 1000 {
				s.Hist.Add(uint64(math.Exp(r.NormFloat64()) * 5000))
			}
			all = append(all, s)
		}
	}
	return all
}
