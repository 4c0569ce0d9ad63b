package pipeline

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// Whoever adds to a second is told who lives: not those that have ended, nor
// those that were gone before they could be looked up.
func TestEverySecondKnowsTheLiving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		second := make([]step, 20) // of 50 ms
		call := []event.Event{{PID: 7, Op: launch}, {PID: 8, Op: launch}, {PID: 9, Op: launch}}
		steps := append([]step{{events: call}}, second...)
		steps = append(steps, step{life: []event.Life{{Kind: event.Exit, PID: 7, Time: time.Now().UnixNano()}}})
		src := &script{steps: append(steps, second...)}
		ctx, cancel := context.WithCancel(t.Context())
		src.stop = cancel
		throttle := event.MakeOp(event.Host, 13)
		var seen [][]uint32
		var took []stats.Calls
		err := Run(ctx, Config{
			Source: src, Now: time.Now,
			Sinks: []Sink{sinkFunc(func(b *Batch) { took = append(took, b.Calls...) })},
			Describe: func(pid int) (event.Process, error) {
				if pid == 9 {
					return event.Process{}, errors.New("no such process")
				}
				return event.Process{PID: uint32(pid), SinceBoot: int64(pid)}, nil
			},
			Alive: func(event.Process) bool { return true },
			EverySecond: func(b *Batch, living []event.Process) error {
				var pids []uint32
				for _, p := range living {
					pids = append(pids, p.PID)
					b.Calls = append(b.Calls, stats.Calls{PID: p.PID, Op: throttle, Hist: &stats.Histogram{}})
				}
				seen = append(seen, pids)
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(seen) < 2 || len(seen[0]) != 2 || len(seen[1]) != 1 || seen[1][0] != 8 {
			t.Errorf("told of %v; want 7 and 8, then 8", seen)
		}
		if len(took) < 3 || took[0].Op != throttle {
			t.Errorf("sinks got %v", took)
		}
	})
}

func TestAsyncCarriesGPUs(t *testing.T) {
	var got []event.GPUSample
	a := NewAsync(sinkFunc(func(b *Batch) { got = append(got, b.GPU...) }), 10, func(err error) { t.Error(err) })
	mine := []event.GPUSample{{GPU: 3}}
	if err := a.Take(&Batch{GPU: mine}); err != nil {
		t.Fatal(err)
	}
	mine[0].GPU = 4 // the batch is used again
	a.Close()
	if len(got) != 1 || got[0].GPU != 3 {
		t.Errorf("got %v", got)
	}
}

// What the kernel counts is shown, but is no call: a process that was only
// throttled made none.
func TestWindowTellsHostCountsFromCalls(t *testing.T) {
	w := NewWindow(func() time.Time { return time.Unix(1001, 0) })
	throttled := counted(1, 6)
	throttled.Op = event.MakeOp(event.Host, 13)
	for range 2 {
		b := &Batch{Second: 1000, Calls: []stats.Calls{throttled}, Processes: []Process{{Process: event.Process{PID: 1, Start: 5}}}}
		if err := w.Take(b); err != nil {
			t.Fatal(err)
		}
	}
	v := w.View()
	if len(v.Host) != 1 || v.Host[0].Op != throttled.Op || v.Host[0].Count != 12 {
		t.Errorf("host %v", v.Host)
	}
	if v.Calls != 0 || len(v.Ops) != 0 || len(v.Processes) != 0 {
		t.Errorf("%d calls, %v, of %v", v.Calls, v.Ops, v.Processes)
	}
}
