package store

import (
	"path/filepath"
	"testing"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// The span of a short recording begins with its first second, although the
// minutes that seconds are added up in begin earlier.
func TestSpanBeginsWithSeconds(t *testing.T) {
	first := time.Date(2026, 1, 1, 12, 34, 39, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "span.db")
	w, err := Create(path, Options{Node: "n", Now: func() time.Time { return first }})
	if err != nil {
		t.Fatal(err)
	}
	w.Process(ProcessRow{Process: event.Process{PID: 7, Start: first.UnixNano(), Comm: "job", Rank: event.NoRank}})
	for s := range int64(30) { // into the next minute, and the ledger with it
		h := new(stats.Histogram)
		h.Add(1000)
		w.Stats(first.Unix()+s, []stats.Calls{{PID: 7, Start: first.UnixNano(), Op: event.MakeOp(event.CUDA, 5), Hist: h}})
		l := stats.Ledger{PID: 7, TID: 7, Start: first.UnixNano()}
		l.NS[event.Running] = 1e9
		w.Books(first.Unix()+s, []stats.Ledger{l}, nil)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	oldest, newest, err := r.Span(t.Context())
	if err != nil || oldest != first.UnixNano() || newest < first.Add(29*time.Second).UnixNano() {
		t.Errorf("%v to %v, %v", time.Unix(0, oldest).UTC(), time.Unix(0, newest).UTC(), err)
	}
}
