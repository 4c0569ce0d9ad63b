package surface

import (
	"path/filepath"
	"testing"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
	"ingero/internal/store"
)

// record writes a database of everything that can be asked about: 40 s of a
// job that goes well, but for 10 s in which it shares its CPU.
func record(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.db")
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := start
	w, err := store.Create(path, store.Options{Node: "node-1", Now: func() time.Time { return now }, Session: store.Session{Version: "test", Rank: event.NoRank}})
	if err != nil {
		t.Fatal(err)
	}
	born := start.Add(-time.Hour).UnixNano()
	w.Process(store.ProcessRow{Process: event.Process{PID: 4821, Start: born, Comm: "python3", Rank: event.Rank{Rank: 1, Local: 1, World: 4}}})
	w.Place(store.Place{PID: 8821, Comm: "logrotate", Cgroup: "/system.slice/logrotate"})
	for h := range uint64(6) {
		frames := []event.Frame{{IP: 1, Symbol: "cudaStreamSynchronize+0x4", File: "libcudart.so.12"}, {IP: h, Symbol: "_ZN2at6nativeL4syncEv+0x1", File: "libtorch.so"}}
		for i := range 12 {
			frames = append(frames, event.Frame{PyFile: "/home/user/train.py", PyFunc: "step", PyLine: 10 + i})
		}
		w.Stack(event.Stack{Hash: h + 1, PID: 4821, TID: 4821, Op: event.MakeOp(event.CUDA, 5), IPs: []uint64{1, h}, Frames: frames})
	}
	for s := range 40 {
		at := start.Add(time.Duration(s) * time.Second)
		half := uint64(1)
		if s >= 20 && s < 30 {
			half = 2
		}
		second(w, at, born, half, uint64(s))
		now = at.Add(time.Second)
	}
	for i, id := range []string{"a", "b", "c"} {
		w.Chain(store.Chain{ID: "node-1:cpu_contention:4821:" + id, Kind: "cpu_contention", Severity: "HIGH", PID: 4821,
			Started: start.Add(time.Duration(20+i) * time.Second).UnixNano(), Ended: start.Add(30 * time.Second).UnixNano(), Summary: "logrotate ran",
			RootCause: "logrotate (PID 8821) ran where python3 wanted to", Op: []string{"cudaStreamSync", "cudaMemcpy", "cudaMemcpy"}[i], LostNS: uint64(5-i) * 1e9, Share: 0.5})
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func second(w *store.Writer, at time.Time, born int64, half, n uint64) {
	const pid = 4821
	launch, wait := event.MakeOp(event.CUDA, 3), event.MakeOp(event.CUDA, 5)
	calls := func(op event.Op, count, each uint64) stats.Calls {
		c := stats.Calls{PID: pid, Start: born, Op: op, Hist: &stats.Histogram{}, Recorded: 1}
		c.Hist.AddBucket(stats.Bucket(each), count)
		c.Hist.AddSum(count*each, each)
		return c
	}
	all := []stats.Calls{calls(launch, 10000/half, 500), calls(wait, 1000/half, 800_000*half)}
	w.Append([]event.Event{{Start: at.Add(200 * time.Millisecond).UnixNano(), Dur: int64(800_000 + 8_000_000*(half-1)), PID: pid, TID: pid, Stack: n%6 + 1,
		Runnable: int64(8_000_000 * (half - 1)), Op: wait, Comm: "python3", Rank: event.NoRank}})
	for i, stage := range []uint8{1, 2, 3, 4} { // capture, its end, instantiation, launch
		op := event.MakeOp(event.Graph, stage)
		w.Append([]event.Event{{Start: at.Add(time.Duration(300+i) * time.Millisecond).UnixNano(), Dur: 100_000, PID: pid, TID: pid, Op: op, Handle: 0xa0 + n, Comm: "python3", Rank: event.NoRank}})
		all = append(all, calls(op, 1, 100_000))
	}
	w.Stats(at.Unix(), all)
	ledger := func(place event.Op, running, runnable uint64) stats.Ledger {
		l := stats.Ledger{PID: pid, TID: pid, Start: born, Comm: "python3", Place: place}
		l.NS[event.Running], l.NS[event.Runnable] = running*1e6, runnable*1e6
		l.Count[event.Running], l.Count[event.Runnable] = 100, 100*(half-1)
		return l
	}
	w.Books(at.Unix(), []stats.Ledger{
		ledger(launch, 5/half, 0), ledger(wait, 800/half, 400*(half-1)), ledger(0, 195/half, 100*(half-1)),
	}, []stats.Pair{{PID: pid, State: event.Runnable, OtherPID: 8821, OtherComm: "logrotate", NS: 500e6*(half-1) + 1e5, Count: 100},
		{PID: pid, TID: pid, State: event.Lock, OtherPID: pid, OtherTID: 4822, OtherComm: "python3", NS: 1e6, Count: 1}})
	w.Drained(at.Unix(), 1e9)
	w.Snapshot(event.Snapshot{Time: at.UnixNano(), CPU: 47, Mem: 12, MemAvail: 11000, Load: float64(half), PSICPU: -1, PSIMem: 1, PSIIO: -1})
	w.GPU(event.GPUSample{Time: at.UnixNano(), Util: 90, MemUsed: -1})
}
