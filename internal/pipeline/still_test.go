package pipeline

import (
	"fmt"
	"testing"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// twoProcesses made 10 and 20 launches a second for 100 seconds, the second
// one from another program, and both were switched out now and then.
func twoProcesses(t testing.TB) (*Window, func(Batch)) {
	t.Helper()
	now := time.Unix(1000, 0)
	w := NewWindow(func() time.Time { return now })
	take := func(b Batch) {
		t.Helper()
		now = time.Unix(b.Second+1, 0)
		if err := w.Take(&b); err != nil {
			t.Fatal(err)
		}
	}
	take(Batch{Second: 1000, Processes: []Process{
		{Process: event.Process{PID: 7, Start: 1, Comm: "python3"}}, {Process: event.Process{PID: 8, Start: 1, Comm: "server"}},
	}})
	for second := int64(1000); second < 1100; second++ {
		b := Batch{Second: second}
		for pid, n := range map[uint32]uint64{7: 10, 8: 20} {
			c := counted(pid, n)
			c.PID = pid
			h := c
			h.Op = event.MakeOp(event.Host, 1)
			b.Calls = append(b.Calls, c, h)
		}
		take(b)
	}
	return w, take
}

// rows names the rows of a view and how often each was called, in all and
// lately.
func rows(v View) string {
	text := ""
	for _, o := range v.Ops {
		text += fmt.Sprintf("%s %d %s: %d %d\n", o.Op, o.PID, o.Comm, o.Hist.Count(), o.Recent.Count())
	}
	for _, h := range v.Host {
		text += fmt.Sprintf("%s %d %s: %d\n", h.Op, h.PID, h.Comm, h.Count)
	}
	return text
}

func TestStillCanBeLookedAtInManyWays(t *testing.T) {
	w, take := twoProcesses(t)
	s := w.Still()
	of := func(comm string) func(event.Op, event.Process) bool {
		return func(_ event.Op, p event.Process) bool { return p.Comm == comm }
	}
	check := func(what string, s *Still, look Look, want string) {
		t.Helper()
		if got := rows(s.View(look)); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", what, got, want)
		}
	}
	check("all", s, Look{}, "cudaLaunchKernel 0 : 3000 3000\nsched_switch 0 : 3000\n")
	check("ten seconds", s, Look{Seconds: 10}, "cudaLaunchKernel 0 : 3000 300\nsched_switch 0 : 3000\n")
	check("per process", s, Look{Seconds: 60, PerProcess: true},
		"cudaLaunchKernel 8 server: 2000 1200\ncudaLaunchKernel 7 python3: 1000 600\nsched_switch 7 python3: 1000\nsched_switch 8 server: 2000\n")
	check("one process", s, Look{Seconds: 10, Wanted: of("python3")}, "cudaLaunchKernel 0 : 1000 100\nsched_switch 0 : 1000\n")
	check("no calls", s, Look{Wanted: func(op event.Op, _ event.Process) bool { return !op.IsCall() }}, "sched_switch 0 : 3000\n")

	// It stands still while the window goes on, and what has ended is counted
	// together.
	take(Batch{Second: 1100, Calls: []stats.Calls{counted(7, 5)}, Processes: []Process{{Process: event.Process{PID: 7, Start: 1}, Ended: 1100e9}}})
	check("before", s, Look{Seconds: 10}, "cudaLaunchKernel 0 : 3000 300\nsched_switch 0 : 3000\n")
	s = w.Still()
	check("one has ended", s, Look{Seconds: 10, PerProcess: true},
		"cudaLaunchKernel 8 server: 2000 180\ncudaLaunchKernel 0 (ended): 1005 95\nsched_switch 0 (ended): 1000\nsched_switch 8 server: 2000\n")
	check("the ended", s, Look{Wanted: of(Ended)}, "cudaLaunchKernel 0 : 1005 1005\nsched_switch 0 : 1000\n")
	if v := s.View(Look{Wanted: of("nobody")}); v.Calls != 3005 || len(v.Ops) != 0 || v.Ended != 1 {
		t.Errorf("%d calls in %d rows, %d ended; want 3005 in none, 1", v.Calls, len(v.Ops), v.Ended)
	}

	// After a minute without calls there are no percentiles to show.
	take(Batch{Second: 1200})
	check("idle", w.Still(), Look{Seconds: 60}, "cudaLaunchKernel 0 : 3005 0\nsched_switch 0 : 3000\n")
}

// A process that ends takes its rows with it; a number that is used again
// keeps those of its new owner.
func TestWindowIsBounded(t *testing.T) {
	w, take := twoProcesses(t)
	for i := range uint32(1000) {
		pid := 100 + i
		p := Process{Process: event.Process{PID: pid, Start: int64(i + 1)}}
		take(Batch{Second: 1100, Processes: []Process{p}, Calls: []stats.Calls{counted(pid, 1)}})
		p.Ended = int64(i + 2)
		take(Batch{Second: 1100, Processes: []Process{p}})
	}
	if len(w.total) != 3 || len(w.procs) != 2 {
		t.Errorf("kept totals of %d processes, %d names; want 3, 2", len(w.total), len(w.procs))
	}
	again := Process{Process: event.Process{PID: 7, Start: 50}}
	take(Batch{Second: 1101, Processes: []Process{again, {Process: event.Process{PID: 7, Start: 1}, Ended: 49}}})
	if _, ok := w.procs[7]; !ok {
		t.Error("the new owner of the number was forgotten")
	}
	if v := w.View(); v.Calls != 4000 {
		t.Errorf("%d calls, want 4000", v.Calls)
	}
}

// 64 processes with 20 operations each: what a large machine does to us.
func BenchmarkStill(b *testing.B) {
	now := time.Unix(1000, 0)
	w := NewWindow(func() time.Time { return now })
	for second := int64(1000); second < 1060; second++ {
		batch := Batch{Second: second}
		for pid := uint32(1); pid <= 64; pid++ {
			batch.Processes = append(batch.Processes, Process{Process: event.Process{PID: pid, Start: 1, Comm: "python3"}})
			for op := range uint8(20) {
				h := &stats.Histogram{}
				for i := range uint64(40) {
					h.Add(1000 << (i % 16) * (i + 1))
				}
				batch.Calls = append(batch.Calls, stats.Calls{PID: pid, Op: event.MakeOp(event.CUDA, op+1), Hist: h})
			}
		}
		now = time.Unix(second+1, 0)
		if err := w.Take(&batch); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("take", func(b *testing.B) { // with the window locked
		for b.Loop() {
			w.Still()
		}
	})
	s := w.Still()
	b.Run("view", func(b *testing.B) {
		for b.Loop() {
			s.View(Look{Seconds: 60, PerProcess: true})
		}
	})
}
