package rule

import (
	"math"
	"math/rand/v2"
	"testing"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// Whatever is in a database, findings are numbers within their bounds.
func TestRandomWindows(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := randomWindow(r)
		for _, f := range Find(w) {
			for name, v := range map[string]float64{"share": f.Share, "explained": f.Explained, "confidence": f.Confidence} {
				if math.IsNaN(v) || v < 0 || v > 1 {
					t.Errorf("seed %d: %s of %s is %v", seed, name, f.Kind, v)
				}
			}
			if math.IsNaN(f.Rate) || math.IsInf(f.Rate, 0) || (f.Before != nil && (math.IsNaN(*f.Before) || math.IsInf(*f.Before, 0))) {
				t.Errorf("seed %d: rate of %s is %v, before %v", seed, f.Kind, f.Rate, f.Before)
			}
			if !f.Start.Before(f.End) || f.Severity == "" || f.Summary == "" {
				t.Errorf("seed %d: %+v", seed, f)
			}
			for _, c := range f.Culprits {
				if math.IsNaN(c.Share) || c.Share < 0 || c.Share > 1 {
					t.Errorf("seed %d: share of culprit of %s is %v", seed, f.Kind, c.Share)
				}
			}
		}
		if t.Failed() {
			return
		}
	}
}

func randomWindow(r *rand.Rand) Window {
	w := Window{From: int64(r.IntN(3)), To: int64(r.IntN(40))}
	ops := event.Ops()
	huge := func() uint64 {
		switch r.IntN(5) {
		case 0:
			return 0
		case 1:
			return r.Uint64N(1 << 50) // the most that the store keeps in a row
		}
		return r.Uint64N(1e9)
	}
	for p := range 1 + r.IntN(3) {
		q := stats.Process{Process: event.Process{PID: uint32(1 + p), PPID: uint32(r.IntN(4)), Comm: "p", Start: int64(r.IntN(5)) * 1e9}}
		q.Rank.World = int32(r.IntN(3))
		for at := range int64(r.IntN(30)) {
			if r.IntN(6) == 0 {
				continue
			}
			s := stats.Second{At: at, Span: int64(r.IntN(2) * 60 * r.IntN(2)), Wall: int64(r.IntN(2)) * 1e9}
			for range r.IntN(6) {
				c := stats.Calls{PID: q.PID, Op: ops[r.IntN(len(ops))].ID, Hist: &stats.Histogram{}, Bytes: huge(), Nested: uint64(r.IntN(3))}
				for range 1 + r.IntN(4) {
					c.Hist.Add(huge())
				}
				s.Calls = append(s.Calls, c)
			}
			for range r.IntN(5) {
				l := stats.Ledger{PID: q.PID, TID: uint32(r.IntN(4)), Place: []event.Op{0, event.Calls[r.IntN(len(event.Calls))].ID}[r.IntN(2)]}
				for range 3 {
					state := r.IntN(int(event.States))
					l.NS[state], l.Count[state], l.Max[state] = huge(), r.Uint64N(1000), huge()
				}
				s.Ledger = append(s.Ledger, l)
			}
			for range r.IntN(4) {
				s.Pairs = append(s.Pairs, stats.Pair{
					PID: q.PID, TID: uint32(r.IntN(4)), State: event.State(r.IntN(int(event.States))), OtherPID: uint32(r.IntN(5)),
					OtherTID: uint32(r.IntN(4)), OtherComm: "o", NS: huge(), Count: uint64(r.IntN(100)),
				})
			}
			q.Seconds = append(q.Seconds, s)
		}
		w.Processes = append(w.Processes, q)
	}
	return w
}
