package script

import (
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
	"ingero/internal/store"
)

// makeIncident writes a database of one job that goes well for 20 s from
// 2026-01-01 00:00:00, then shares its CPU with a busy process for 10 s, and
// goes well for 10 s more. It made 10,000 launches and 1,000 waits a second, later
// half of them.
func makeIncident(path string) error {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := start
	w, err := store.Create(path, store.Options{Node: "node-1", Now: func() time.Time { return now },
		Session: store.Session{Version: "test", Rank: event.NoRank}})
	if err != nil {
		return err
	}
	born := start.Add(-time.Hour).UnixNano()
	w.Process(store.ProcessRow{Process: event.Process{PID: 4821, Start: born, Comm: "python3", Rank: event.NoRank}})
	for s := range 40 {
		at := start.Add(time.Duration(s) * time.Second)
		half := uint64(1)
		if s >= 20 && s < 30 {
			half = 2
		}
		writeSecond(w, at, born, half)
		w.Snapshot(event.Snapshot{Time: at.UnixNano(), CPU: 47, Mem: 12, MemAvail: 11000, Load: float64(half)})
		now = at.Add(time.Second)
		if err := w.Flush(); err != nil {
			return err
		}
	}
	w.Chain(store.Chain{ID: "node-1:cpu_contention:4821:1767225620", Kind: "cpu_contention", Severity: "HIGH", PID: 4821,
		Started: start.Add(20 * time.Second).UnixNano(), Ended: start.Add(30 * time.Second).UnixNano(), Summary: "logrotate ran",
		RootCause: "logrotate (PID 8821) ran where python3 wanted to", Op: "cudaStreamSync", LostNS: 5e9, Share: 0.5})
	return w.Close()
}

func writeSecond(w *store.Writer, at time.Time, born int64, half uint64) {
	const pid = 4821
	launch, wait := event.MakeOp(event.CUDA, 3), event.MakeOp(event.CUDA, 5)
	calls := func(op event.Op, n, each uint64) stats.Calls {
		c := stats.Calls{PID: pid, Start: born, Op: op, Hist: &stats.Histogram{}}
		c.Hist.AddBucket(stats.Bucket(each), n)
		c.Hist.AddSum(n*each, each)
		return c
	}
	w.Stats(at.Unix(), []stats.Calls{calls(launch, 10000/half, 500), calls(wait, 1000/half, 800_000*half)})
	w.Append([]event.Event{{Start: at.Add(200 * time.Millisecond).UnixNano(), Dur: int64(800_000 + 8_000_000*(half-1)), PID: pid, TID: pid,
		Runnable: int64(8_000_000 * (half - 1)), Op: wait, Comm: "python3", Rank: event.NoRank}})
	ledger := func(place event.Op, running, runnable uint64) stats.Ledger {
		l := stats.Ledger{PID: pid, TID: pid, Start: born, Comm: "python3", Place: place}
		l.NS[event.Running], l.NS[event.Runnable] = running*1e6, runnable*1e6
		l.Max[event.Running], l.Max[event.Runnable] = 8e6, 8e6*(half-1)
		l.Count[event.Running], l.Count[event.Runnable] = 100, 100*(half-1)
		return l
	}
	w.Books(at.Unix(), []stats.Ledger{
		ledger(launch, 5/half, 0), ledger(wait, 800/half, 400*(half-1)), ledger(0, 195/half, 100*(half-1)),
	}, []stats.Pair{{PID: pid, State: event.Runnable, OtherPID: 8821, OtherComm: "logrotate", NS: 500e6*(half-1) + 1e5, Count: 100}})
	w.Drained(at.Unix(), 1e9)
}
