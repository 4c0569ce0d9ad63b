package query

import (
	"path/filepath"
	"testing"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
	"ingero/internal/store"
)

// writeHour writes an hour of a job that makes 10,000 calls a second of 12
// kinds from two threads, and loses half of its time to a busy process for
// five minutes in the middle.
func writeHour(b testing.TB, path string) (from, to int64) {
	b.Helper()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := start
	w, err := store.Create(path, store.Options{Node: "n", Now: func() time.Time { return now }})
	if err != nil {
		b.Fatal(err)
	}
	born := start.UnixNano()
	w.Process(store.ProcessRow{Process: event.Process{PID: 1, Start: born, Comm: "python3", Rank: event.NoRank}})
	for s := range 3600 {
		now = start.Add(time.Duration(s) * time.Second)
		half := uint64(1)
		if s >= 1800 && s < 2100 {
			half = 2
		}
		writeBusySecond(w, now.Unix(), born, half)
		if s%30 == 0 {
			if err := w.Flush(); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return start.UnixNano(), now.Add(time.Second).UnixNano()
}

func writeBusySecond(w *store.Writer, second, born int64, half uint64) {
	var calls []stats.Calls
	var ledger []stats.Ledger
	for i, c := range event.Calls[:12] {
		x := stats.Calls{PID: 1, Start: born, Op: c.ID, Hist: &stats.Histogram{}}
		for k := range uint64(20) {
			x.Hist.AddBucket(stats.Bucket(1000+(uint64(second*7)+k*k*97+uint64(i)*13)%5000), 42/half)
		}
		x.Hist.AddSum(840/half*5000, 9000)
		calls = append(calls, x)
	}
	for tid := range uint32(2) {
		for _, c := range event.Calls[:7] {
			l := stats.Ledger{PID: 1, TID: 1 + tid, Start: born, Comm: "python3", Place: c.ID}
			l.NS[event.Running], l.NS[event.Runnable] = 100e6/half, 60e6*(half-1)
			l.Max[event.Running], l.Max[event.Runnable] = 4e6, 4e6
			ledger = append(ledger, l)
		}
		l := stats.Ledger{PID: 1, TID: 1 + tid, Start: born, Comm: "python3"}
		l.NS[event.Running], l.NS[event.Runnable] = 300e6/half, 80e6*(half-1)
		ledger = append(ledger, l)
	}
	w.Stats(second, calls)
	w.Books(second, ledger, []stats.Pair{
		{PID: 1, State: event.Runnable, OtherPID: 99, OtherComm: "hog", NS: 1000e6*(half-1) + 1e5, Count: 300},
		{PID: 1, State: event.Runnable, OtherPID: 0, OtherComm: "swapper/1", NS: 1e5, Count: 300},
	})
	w.Drained(second, 1e9)
}

// An hour is explained, exactly, with what took the time and when.
func TestExplainHour(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hour.db")
	from, to := writeHour(t, path)
	r, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	e, err := Explain(t.Context(), r, ExplainParams{Filter: store.Filter{From: from, To: to}})
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Chains) != 1 {
		t.Fatalf("%d findings, want one: %+v", len(e.Chains), e.Chains)
	}
	c := e.Chains[0]
	if c.Cause.Kind != "cpu_contention" || c.Cause.Culprits[0].PID != 99 || c.Started.Unix() != from/1e9+1800 || c.Ended.Unix() != from/1e9+2100 {
		t.Errorf("%+v", c)
	}
	if got, want := float64(c.Impact.Lost), 150e9; got < 0.95*want || got > 1.05*want {
		t.Errorf("lost %v, want %v", time.Duration(got), time.Duration(want))
	}
	if want := uint64(12 * 20 * (42*3300 + 21*300)); e.Coverage.Calls != want {
		t.Errorf("%d calls, want %d", e.Coverage.Calls, want)
	}
	sum := 0.0
	for _, cell := range e.Processes[0].Threads[0].Ledger {
		sum += cell.Share
	}
	if sum < 0.9999 || sum > 1.0001 {
		t.Errorf("the shares of the ledger add up to %v", sum)
	}
	// The same numbers as the exact totals of the query command.
	o, err := Ops(t.Context(), r, OpsParams{Filter: store.Filter{From: from, To: to}})
	if err != nil || o.Coverage.Calls != e.Coverage.Calls {
		t.Errorf("explain counts %d calls, query %d, %v", e.Coverage.Calls, o.Coverage.Calls, err)
	}
}

// BenchmarkExplainHour is what 'ingero explain' over an hour at 10,000 calls
// a second takes; it must stay below a second.
func BenchmarkExplainHour(b *testing.B) {
	path := filepath.Join(b.TempDir(), "hour.db")
	from, to := writeHour(b, path)
	r, err := store.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Explain(b.Context(), r, ExplainParams{Filter: store.Filter{From: from, To: to}}); err != nil {
			b.Fatal(err)
		}
	}
}
