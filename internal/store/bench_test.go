package store

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"ingero/internal/event"
)

// benchEvents is how many events the large database holds; -short makes it
// a tenth.
const benchEvents = 10_000_000

var large struct {
	path      string
	from, to  int64
	statsFrom int64

	bytesPerEvent float64 // of the whole file, without statistics
}

// largeDatabase makes a database of ten million events in an hour, and
// an hour of statistics of 4 processes × 30 operations.
func largeDatabase(b *testing.B) *Reader {
	b.Helper()
	if large.path == "" {
		large.path = filepath.Join(b.TempDir(), "large.db")
		w, err := Create(large.path, Options{Node: "node-1"})
		must(b, err)
		n := benchEvents
		if testing.Short() {
			n /= 10
		}
		g := newGenerator(1)
		g.gap = 3600e9 / benchEvents
		large.from = g.at
		batch := make([]event.Event, chunkEvents)
		for done := 0; done < n; done += len(batch) {
			for i := range batch {
				g.next(&batch[i])
			}
			w.Append(batch)
			if done%(64*chunkEvents) == 0 {
				must(b, w.Flush())
			}
		}
		must(b, w.Flush())
		large.to = g.at
		_, size := diskSize(large.path)
		large.bytesPerEvent = float64(size) / float64(n)
		large.statsFrom = testStart + 86400e9
		stats := testStats(rand.New(rand.NewPCG(1, 1)), 4, 30)
		for s := range int64(3600) {
			w.Stats(large.statsFrom/1e9+s, stats)
			must(b, w.Flush())
		}
		must(b, w.Close())
	}
	r, err := Open(large.path)
	must(b, err)
	return r
}

func BenchmarkAppend(b *testing.B) {
	w, _ := create(b, Options{})
	events := testEvents(chunkEvents, 1)
	b.ResetTimer()
	for b.Loop() {
		w.Append(events)
		if len(w.sealed) >= 64 {
			must(b, w.Flush())
		}
	}
	must(b, w.Flush())
	b.ReportMetric(float64(b.N)*chunkEvents/b.Elapsed().Seconds()/1e6, "Mevents/s")
}

func BenchmarkStatsFlush(b *testing.B) {
	w, _ := create(b, Options{})
	stats := testStats(rand.New(rand.NewPCG(1, 1)), 4, 30)
	second := int64(testStart / 1e9)
	b.ResetTimer()
	for b.Loop() {
		second++
		w.Stats(second, stats)
		must(b, w.Flush())
	}
}

// queries are the questions that must be quick on ten million events.
var queries = []struct {
	name  string
	limit time.Duration
	ask   func(ctx context.Context, r *Reader) error
}{
	{"hour-of-statistics", 500 * time.Millisecond, func(ctx context.Context, r *Reader) error {
		_, err := r.Totals(ctx, Filter{From: large.statsFrom, To: large.statsFrom + 3600e9}, true)
		return err
	}},
	{"hour-odd-edges", 500 * time.Millisecond, func(ctx context.Context, r *Reader) error {
		_, err := r.Totals(ctx, Filter{From: large.statsFrom + 1e9, To: large.statsFrom + 3599e9}, false)
		return err
	}},
	{"newest-20", 50 * time.Millisecond, func(ctx context.Context, r *Reader) error {
		_, err := r.Events(ctx, Filter{}, 20)
		return err
	}},
	{"count", 10 * time.Second, sqlBench("SELECT count(*) FROM events")},
	{"group-by", 10 * time.Second, sqlBench("SELECT source, op, count(*), avg(duration), max(duration) FROM events GROUP BY source, op")},
	{"group-by-node", 10 * time.Second, sqlBench("SELECT node, source, count(*) AS cnt, avg(duration)/1000 AS avg_us FROM events GROUP BY node, source")},
	{"one-pid", 10 * time.Second, sqlBench("SELECT count(*), avg(duration) FROM events WHERE pid = 4001 AND source = 1 AND op = 5")},
	{"newest-in-sql", 60 * time.Second, sqlBench("SELECT * FROM events ORDER BY timestamp DESC LIMIT 20")},
	{"one-second", 50 * time.Millisecond, func(ctx context.Context, r *Reader) error {
		at := (large.from + large.to) / 2
		_, err := r.Events(ctx, Filter{From: at, To: at + 1e9}, 20)
		return err
	}},
	{"one-second-in-sql", 50 * time.Millisecond, func(ctx context.Context, r *Reader) error {
		at := (large.from + large.to) / 2
		_, err := r.SQL(ctx, "SELECT op, count(*), avg(duration) FROM events WHERE timestamp BETWEEN "+strconv.Itoa(int(at))+" AND "+strconv.Itoa(int(at+1e9))+" GROUP BY op", Limits{})
		return err
	}},
}

func sqlBench(text string) func(context.Context, *Reader) error {
	return func(ctx context.Context, r *Reader) error {
		_, err := r.SQL(ctx, text, Limits{})
		return err
	}
}

// BenchmarkQuery fails where an answer takes longer than promised.
func BenchmarkQuery(b *testing.B) {
	r := largeDatabase(b)
	for _, q := range queries {
		b.Run(q.name, func(b *testing.B) {
			for b.Loop() {
				must(b, q.ask(context.Background(), r))
			}
			if each := b.Elapsed() / time.Duration(b.N); each > q.limit {
				b.Errorf("%v, the limit is %v", each, q.limit)
			}
			b.ReportMetric(large.bytesPerEvent, "bytes/event")
		})
	}
}
