package metric

import (
	"testing"
	"time"

	"ingero/internal/event"
	"ingero/internal/pipeline"
	"ingero/internal/stats"
)

// full is a collector with as many processes as have series of their own, 20
// operations each, and the batch of a second of them.
func full(tb testing.TB) (*Collector, *pipeline.Batch) {
	c := NewCollector(Options{Now: time.Now})
	b := &pipeline.Batch{Second: 1}
	for pid := uint32(1); pid <= MaxProcesses; pid++ {
		b.Processes = append(b.Processes, process(pid, "python3"))
		for k := range 20 {
			h := &stats.Histogram{}
			for i := range uint64(60) {
				h.Add(1000 << (i % 10) * (i + 1))
			}
			b.Calls = append(b.Calls, stats.Calls{PID: pid, Op: event.Calls[k].ID, Hist: h})
			b.Ledger = append(b.Ledger, stats.Ledger{PID: pid, TID: pid, Place: event.Calls[k].ID, NS: [event.States]uint64{1e8, 1e7}})
		}
	}
	if err := c.Take(b); err != nil {
		tb.Fatal(err)
	}
	return c, b
}

// One operation of this is one second at the given number of rows.
func BenchmarkTake(b *testing.B) {
	for name, rows := range map[string]int{"1000-rows": 1000, "4000-rows": 4000} {
		b.Run(name, func(b *testing.B) {
			c, batch := full(b)
			second := *batch
			second.Processes, second.Calls, second.Ledger = nil, batch.Calls[:rows], batch.Ledger[:rows]
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Take(&second); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSnapshot(b *testing.B) {
	c, _ := full(b)
	b.ReportAllocs()
	for b.Loop() {
		c.Snapshot()
	}
}

// What a snapshot keeps the pipeline from.
func BenchmarkSnapshotLocked(b *testing.B) {
	c, _ := full(b)
	for b.Loop() {
		v := &view{now: time.Now()}
		c.mu.Lock()
		c.copyTo(v)
		c.mu.Unlock()
	}
}
