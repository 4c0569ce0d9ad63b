package query

import (
	"slices"
	"testing"

	"ingero/internal/event"
	"ingero/internal/stats"
	"ingero/internal/store"
)

// The slowest events come in the order in which they began.
func TestSlowestEvents(t *testing.T) {
	a := asked(t, func(w *store.Writer) {
		for i, ms := range []int64{5, 1, 9, 1, 7} {
			w.Append([]event.Event{{Start: base.UnixNano() + int64(i)*1e6, Dur: ms * 1e6, PID: 7, TID: 7, Op: event.MakeOp(event.CUDA, 5), Rank: event.NoRank}})
		}
	})
	var got []int64
	for _, e := range answer[*EventsAnswer](t, a, "events", "since=1h", "limit=3", "offset=0", "slowest=true").Events {
		got = append(got, e.Duration/1e6)
	}
	if !slices.Equal(got, []int64{5, 9, 7}) {
		t.Error(got)
	}
}

// The history of an operation adds up to its total, and each step has the
// percentiles of its own calls.
func TestHistory(t *testing.T) {
	launch, sync := event.MakeOp(event.CUDA, 3), event.MakeOp(event.CUDA, 5)
	a := asked(t, func(w *store.Writer) {
		for s := range int64(20) {
			h, slow := new(stats.Histogram), new(stats.Histogram)
			for range 90 {
				h.Add(1000)
			}
			slow.Add(uint64(1e6 * (s/10 + 1)))
			w.Stats(base.Unix()+s, []stats.Calls{
				{PID: 7, Start: base.UnixNano(), Op: launch, Hist: h, Bytes: 5},
				{PID: 7, Start: base.UnixNano(), Op: sync, Hist: slow},
			})
		}
	})
	got := answer[*HistoryAnswer](t, a, "history", "since=1m", "points=6")
	if got.Step != 10 || len(got.Ops) != 2 || got.Ops[0].Op != "cudaStreamSync" || got.Ops[0].Class != "sync" {
		t.Fatalf("%+v", got)
	}
	waits, launches := got.Ops[0].Series, got.Ops[1].Series
	if len(waits) != 2 || waits[0].Max != 1e6 || waits[1].Max != 2e6 || waits[1].P50 > 2e6 || waits[1].Total != 20e6 {
		t.Errorf("%+v", waits)
	}
	if len(launches) != 2 || launches[0].Count+launches[1].Count != 20*90 || launches[0].Bytes != 50 {
		t.Errorf("%+v", launches)
	}
	if one := answer[*HistoryAnswer](t, a, "history", "since=1m", "op=cudaLaunchKernel").Ops; len(one) != 1 || len(one[0].Series) != 20 {
		t.Errorf("%+v", one)
	}
}
