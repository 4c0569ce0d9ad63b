package store

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// testBooks makes the ledger of one second of a process with two feeders and
// an idle pool, 30 rows, and three pairs.
func testBooks(r *rand.Rand, pid uint32, start int64) ([]stats.Ledger, []stats.Pair) {
	var ledger []stats.Ledger
	places := []event.Op{0, event.Calls[0].ID, event.Calls[1].ID, event.Calls[2].ID, event.Calls[3].ID}
	for t := range 2 {
		for _, place := range places {
			l := stats.Ledger{PID: pid, TID: pid + uint32(t), Start: start, Comm: "python3", Place: place}
			for _, s := range []event.State{event.Running, event.Runnable, event.GPUWait} {
				l.NS[s], l.Count[s], l.Max[s] = uint64(50e6+r.IntN(10e6)), uint64(1+r.IntN(1000)), uint64(r.IntN(1e6))
			}
			ledger = append(ledger, l)
		}
	}
	pairs := []stats.Pair{
		{PID: pid, State: event.Runnable, OtherPID: 77, OtherComm: "thief", NS: 1e6, Count: 10},
		{PID: pid, TID: pid, State: event.Lock, OtherPID: pid, OtherTID: pid + 1, OtherComm: "python3", NS: 2e6, Count: 20},
		{PID: pid, TID: pid + 1, State: event.Lock, OtherPID: pid, OtherTID: pid, OtherComm: "python3", NS: 3e6, Count: 30},
	}
	return ledger, pairs
}

// hourOfBooks makes an hour of one process: 12 operations and 30 rows of
// the ledger a second.
func hourOfBooks(b *testing.B) (r *Reader, f Filter) {
	path := filepath.Join(b.TempDir(), "hour.db")
	w, err := Create(path, Options{Node: "node-1"})
	must(b, err)
	rnd := rand.New(rand.NewPCG(1, 1))
	const first = int64(testStart / 1e9)
	for s := range int64(3600) {
		w.Stats(first+s, testStats(rnd, 1, 12))
		ledger, pairs := testBooks(rnd, 4000, testStart-1e9)
		w.Books(first+s, ledger, pairs)
		if s%10 == 0 {
			must(b, w.Flush())
		}
	}
	must(b, w.Close())
	return open(b, path), Filter{From: testStart, To: testStart + 3600e9}
}

// BenchmarkBooks fails where an answer takes longer than promised.
func BenchmarkBooks(b *testing.B) {
	r, f := hourOfBooks(b)
	for _, x := range []struct {
		name  string
		limit time.Duration
		o     BookOptions
	}{
		{"hour", 400 * time.Millisecond, BookOptions{}},
		{"hour-sums", 400 * time.Millisecond, BookOptions{Sums: true}},
		{"hour-minutes", 50 * time.Millisecond, BookOptions{Minutes: true}},
		{"hour-no-calls", 300 * time.Millisecond, BookOptions{NoCalls: true}},
		{"hour-no-ledger", 300 * time.Millisecond, BookOptions{NoLedger: true}},
	} {
		b.Run(x.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				all, err := r.BooksWith(context.Background(), f, x.o)
				must(b, err)
				if len(all) != 1 {
					b.Fatalf("%d processes", len(all))
				}
			}
			if each := b.Elapsed() / time.Duration(b.N); each > x.limit {
				b.Errorf("%v, the limit is %v", each, x.limit)
			}
		})
	}
}

// BenchmarkBooksPool is a second of 200 idle threads and 20 that work.
func BenchmarkBooksPool(b *testing.B) {
	w, path := create(b, Options{})
	w.Process(ProcessRow{Process: event.Process{PID: 100, Start: testStart - 9e9, Rank: event.NoRank}})
	var ledger []stats.Ledger
	for tid := range uint32(220) {
		if tid < 20 {
			ledger = append(ledger, busyThread(100, 100+tid, testStart-9e9, event.Calls[0].ID), busyThread(100, 100+tid, testStart-9e9, 0))
		} else {
			ledger = append(ledger, idleThread(100, 100+tid, testStart-9e9))
		}
	}
	second := testSecond
	for b.Loop() {
		second++
		w.Books(second, ledger, nil)
		must(b, w.Flush())
	}
	must(b, w.Close())
	db, _ := diskSize(path)
	b.ReportMetric(float64(db)/float64(second-testSecond), "bytes/s")
}

// BenchmarkBooksFlush is what a second of the ledger costs the writer.
func BenchmarkBooksFlush(b *testing.B) {
	w, _ := create(b, Options{})
	ledger, pairs := testBooks(rand.New(rand.NewPCG(1, 1)), 4000, testStart-1e9)
	second := int64(testStart / 1e9)
	for b.Loop() {
		second++
		w.Books(second, ledger, pairs)
		must(b, w.Flush())
	}
}
