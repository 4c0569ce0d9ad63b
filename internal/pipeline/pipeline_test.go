package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// script is a Source that plays steps, one for each turn of the loop.
type script struct {
	steps    []step
	at       int
	released []string
	stop     func()
	detached bool
}

type step struct {
	events []event.Event
	life   []event.Life
	calls  []stats.Calls // for the next Drain
	exit   []stats.Calls // for the next Release
}

func (s *script) ReadCalls(events []event.Event, _ int, deadline time.Time) ([]event.Event, error) {
	time.Sleep(time.Until(deadline))
	if s.at < len(s.steps) {
		events = append(events, s.steps[s.at].events...)
	}
	return events, nil
}

func (s *script) ReadProcesses() ([]event.Life, error) {
	if s.at++; s.at >= len(s.steps) {
		s.stop()
	}
	if s.at <= len(s.steps) {
		return s.steps[s.at-1].life, nil
	}
	return nil, nil
}

func (s *script) ReadStacks(stacks []event.RawStack) ([]event.RawStack, error) { return stacks, nil }

func (s *script) Drain(f func(stats.Calls)) {
	s.give(f, func(x *step) *[]stats.Calls { return &x.calls })
}

func (s *script) give(f func(stats.Calls), which func(*step) *[]stats.Calls) {
	for i := range min(s.at, len(s.steps)) {
		all := which(&s.steps[i])
		for _, c := range *all {
			f(c)
		}
		*all = nil
	}
}

func (s *script) Release(pid uint32, startBoot uint64, f func(stats.Calls)) error {
	s.released = append(s.released, fmt.Sprint(pid, "@", startBoot))
	s.give(f, func(x *step) *[]stats.Calls { return &x.exit })
	return nil
}

func (s *script) DrainLedger(f func(stats.Ledger)) error { return nil }
func (s *script) DrainPairs(f func(stats.Pair)) error    { return nil }

func (s *script) SetPolicy()    {}
func (s *script) Detach() error { s.detached = true; return nil }

// notes is a Sink that writes down what it gets.
type notes struct {
	mu    sync.Mutex
	lines []string
	fail  error
}

func (n *notes) Take(b *Batch) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range b.Processes {
		line := fmt.Sprintf("process %d %s rank %d", p.PID, p.Comm, p.Rank.Rank)
		if p.Ended != 0 {
			line += fmt.Sprintf(" ended with %d", p.Status)
		}
		n.lines = append(n.lines, line)
	}
	for _, e := range b.Events {
		n.lines = append(n.lines, fmt.Sprintf("event %d %v rank %d", e.PID, e.Op, e.Rank.Rank))
	}
	for _, c := range b.Calls {
		n.lines = append(n.lines, fmt.Sprintf("calls %d %v %d", c.PID, c.Op, c.Hist.Count()))
	}
	if b.Last {
		n.lines = append(n.lines, "last")
	}
	return n.fail
}

func play(t *testing.T, src *script, alive func(pid int) string, sinks ...Sink) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	src.stop = cancel
	return Run(ctx, Config{
		Source: src, Sinks: sinks, Now: time.Now,
		Describe: func(pid int) (event.Process, error) {
			if alive(pid) == "" {
				return event.Process{}, errors.New("no such process")
			}
			return event.Process{PID: uint32(pid), Comm: alive(pid), Rank: event.Rank{Rank: int32(pid)}}, nil
		},
		Alive: func(p event.Process) bool { return alive(int(p.PID)) != "" },
	})
}

func named(pid int) string {
	if pid == 7 {
		return "seven"
	}
	return ""
}

var launch = event.MakeOp(event.CUDA, 3)

func counted(pid uint32, n uint64) stats.Calls {
	h := &stats.Histogram{}
	h.AddBucket(300, n)
	return stats.Calls{PID: pid, Op: launch, Hist: h}
}

func TestLoop(t *testing.T) {
	for name, c := range map[string]struct {
		steps []step
		want  string
	}{
		"a process that is described once, and drained at the end": {
			[]step{{events: []event.Event{{PID: 7, Op: launch}}}, {calls: []stats.Calls{counted(7, 3)}}},
			"process 7 seven rank 7; event 7 cudaLaunchKernel rank 7; calls 7 cudaLaunchKernel 3; last",
		},
		"records that arrive after their process has ended keep its name": {
			[]step{
				{events: []event.Event{{PID: 7, Op: launch}}},
				{life: []event.Life{{Kind: event.Exit, PID: 7, StartBoot: 5, Time: 99, Status: 9, Comm: "seven"}}, exit: []stats.Calls{counted(7, 2)}},
				{events: []event.Event{{PID: 7, Op: launch}}},
			},
			"process 7 seven rank 7; event 7 cudaLaunchKernel rank 7; process 7 seven rank 7 ended with 9; " +
				"event 7 process_exit rank -1; calls 7 cudaLaunchKernel 2; event 7 cudaLaunchKernel rank 7; last",
		},
		"a process that was gone before we looked is named by the kernel": {
			[]step{{life: []event.Life{{Kind: event.Found, PID: 8, Comm: "short"}, {Kind: event.Exit, PID: 8, StartBoot: 1, Time: 5, Comm: "short"}}}},
			"process 8 short rank -1; process 8 short rank -1 ended with 0; event 8 process_exit rank -1; last",
		},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src, out := &script{steps: c.steps}, &notes{}
				if err := play(t, src, named, out); err != nil {
					t.Fatal(err)
				}
				if got := strings.Join(out.lines, "; "); got != c.want {
					t.Errorf("got  %s\nwant %s", got, c.want)
				}
				if !src.detached {
					t.Error("the source was not detached")
				}
			})
		})
	}
}

// Counts of a process are filed under one start, whoever said when that was.
func TestOneStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		second := int64(time.Second)
		from := func(pid uint32, start, n int64) stats.Calls {
			c := counted(pid, uint64(n))
			c.Start = start
			return c
		}
		src := &script{steps: make([]step, 60)}
		// First the child calls, then its parent is seen to fork it: it is not another.
		src.steps[0].calls = []stats.Calls{from(7, 100*second+5, 1)}
		src.steps[25].life = []event.Life{{Kind: event.Fork, PID: 8, Other: 7, Time: 100*second + 9}}
		src.steps[25].calls = []stats.Calls{from(7, 100*second+7, 2)}
		var starts []int64
		out, ended := &notes{}, func(p Process) { t.Errorf("process %d ended", p.PID) }
		ctx, cancel := context.WithCancel(t.Context())
		src.stop = cancel
		err := Run(ctx, Config{
			Source: src, Now: time.Now, Ended: ended, Alive: func(event.Process) bool { return true },
			Describe: func(pid int) (event.Process, error) { return event.Process{PID: uint32(pid)}, nil },
			Sinks: []Sink{out, sinkFunc(func(b *Batch) {
				for _, c := range b.Calls {
					starts = append(starts, c.Start)
				}
			})},
		})
		if err != nil || !slices.Equal(starts, []int64{100*second + 5, 100*second + 5}) {
			t.Errorf("starts %v, %v", starts, err)
		}
	})
}

type sinkFunc func(*Batch)

func (f sinkFunc) Take(b *Batch) error { f(b); return nil }

// A process whose exit was not reported is found out and given back.
func TestMissedExit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(3 * time.Second)
		alive := func(pid int) string {
			if time.Now().After(end) {
				return ""
			}
			return named(pid)
		}
		src, out := &script{steps: make([]step, 500)}, &notes{} // 25 s
		src.steps[0].life = []event.Life{{Kind: event.Found, PID: 7, StartBoot: 5, Comm: "seven"}}
		if err := play(t, src, alive, out); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(src.released, []string{"7@5"}) || !slices.Contains(out.lines, "process 7 seven rank 7 ended with 0") {
			t.Errorf("released %v; %v", src.released, out.lines)
		}
	})
}

func TestFailingSinkStopsTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, broken := &script{steps: make([]step, 10)}, errors.New("broken")
		if err := play(t, src, named, &notes{fail: broken}); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		if !src.detached {
			t.Error("the source was not detached")
		}
	})
}

// slow is a Sink that waits to be let on.
type slow struct {
	notes
	gate chan struct{}
}

func (s *slow) Take(b *Batch) error {
	<-s.gate
	return s.notes.Take(b)
}

func TestAsyncDropsEventsNotCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &slow{gate: make(chan struct{})}
		var dropped uint64
		a := NewAsync(sink, 3, func(err error) { t.Error(err) })
		for i := range 4 { // each of two events: the second does not fit any more
			b := &Batch{Events: []event.Event{{PID: 1, Op: launch}, {PID: 1, Op: launch}}, Calls: []stats.Calls{counted(1, uint64(i+1))}}
			if err := a.Take(b); err != nil {
				t.Fatal(err)
			}
		}
		a.mu.Lock()
		for _, b := range a.queue {
			dropped += b.Dropped[launch]
		}
		a.mu.Unlock()
		close(sink.gate)
		a.Close()
		events, calls := 0, 0
		for _, l := range sink.lines {
			if strings.HasPrefix(l, "event") {
				events++
			} else {
				calls++
			}
		}
		if events != 2 || calls != 4 || dropped != 6 {
			t.Errorf("%d events, %d counts, %d dropped; want 2, 4, 6", events, calls, dropped)
		}
	})
}

func TestAsyncReportsTheFirstError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full, said := errors.New("full"), 0
		sink := &notes{fail: full}
		a := NewAsync(sink, 10, func(err error) {
			if said++; !errors.Is(err, full) {
				t.Error(err)
			}
		})
		for range 3 {
			if err := a.Take(&Batch{Last: true}); err != nil {
				t.Fatal(err)
			}
		}
		a.Close()
		if said != 1 || len(sink.lines) != 1 {
			t.Errorf("said %d times, took %v", said, sink.lines)
		}
	})
}

func TestWindow(t *testing.T) {
	now := time.Unix(1000, 0)
	w := NewWindow(func() time.Time { return now })
	add := func(second int64, n uint64) {
		now = time.Unix(second+1, 0)
		if err := w.Take(&Batch{Second: second, Calls: []stats.Calls{counted(1, n)}}); err != nil {
			t.Fatal(err)
		}
	}
	add(1000, 5)
	add(1030, 7)
	add(1080, 11)
	if err := w.Take(&Batch{Processes: []Process{{Process: event.Process{PID: 1, Start: time.Unix(1071, 0).UnixNano()}}}}); err != nil {
		t.Fatal(err)
	}
	// 23 calls of 1 ms in the ten seconds that their thread lived; another
	// thread makes no calls.
	sleeper, caller := stats.Ledger{PID: 1, TID: 2}, stats.Ledger{PID: 1, TID: 1, Place: launch}
	sleeper.NS[event.Sleep], caller.NS[event.Running] = 60e9, 10e9
	if err := w.Take(&Batch{Ledger: []stats.Ledger{sleeper, caller}}); err != nil {
		t.Fatal(err)
	}
	if got := w.Overhead(time.Millisecond, 0); got != 0.0023 {
		t.Errorf("overhead %g, want 0.0023", got)
	}
	// What has ended is kept as totals only.
	end := Process{Process: event.Process{PID: 1, Start: time.Unix(1071, 0).UnixNano()}, Ended: time.Unix(1081, 0).UnixNano()}
	if err := w.Take(&Batch{Processes: []Process{end}}); err != nil {
		t.Fatal(err)
	}
	if got := w.Overhead(time.Millisecond, 0); got != 0.0023 || len(w.procs)+len(w.callers) > 0 {
		t.Errorf("overhead %g, want 0.0023; kept %v", got, w.procs)
	}
	v := w.Still().View(Look{Seconds: 60})
	if len(v.Processes) != 0 || v.Ended != 1 {
		t.Errorf("processes %v, %d ended; want none, 1", v.Processes, v.Ended)
	}
	if len(v.Ops) != 1 || v.Calls != 23 || v.Ops[0].Hist.Count() != 23 || v.Ops[0].Recent.Count() != 18 {
		t.Errorf("%d calls in all, %d recent; want 23 and 18", v.Calls, v.Ops[0].Recent.Count())
	}
}

func TestWindowSaysWhereTheTimeWent(t *testing.T) {
	now := time.Unix(2000, 0)
	w := NewWindow(func() time.Time { return now })
	ledger := func(tid uint32, place event.Op, state event.State, d time.Duration) stats.Ledger {
		l := stats.Ledger{PID: 1, TID: tid, Comm: fmt.Sprint("t", tid), Place: place}
		l.NS[state] = uint64(d)
		return l
	}
	for second := int64(2000); second < 2020; second++ {
		now = time.Unix(second+1, 0)
		state := event.Running
		if second >= 2015 {
			state = event.Runnable
		}
		if err := w.Take(&Batch{
			Second: second, Ledger: []stats.Ledger{ledger(1, launch, state, 600*time.Millisecond), ledger(1, 0, event.Sleep, 400*time.Millisecond), ledger(2, 0, event.Sleep, time.Second)},
			Pairs: []stats.Pair{{PID: 1, State: event.Runnable, OtherPID: 9, OtherComm: "hog", NS: 300, Count: 3}, {PID: 1, State: event.Runnable, NS: 100, Count: 1}},
		}); err != nil {
			t.Fatal(err)
		}
	}
	v := w.Still().View(Look{Seconds: 10})
	if len(v.Feeders) != 1 || v.Feeders[0].TID != 1 {
		t.Fatalf("feeders %+v, want only thread 1", v.Feeders)
	}
	sum, got := 0.0, map[string]float64{}
	for _, c := range v.Feeders[0].Cells {
		sum += c.Share
		got[fmt.Sprint(c.Place, " ", c.State)] += c.Share
	}
	if sum < 0.999 || sum > 1.001 || got["cudaLaunchKernel runnable"] < 0.29 || got["cudaLaunchKernel runnable"] > 0.31 {
		t.Errorf("shares %v add up to %g", got, sum)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	h := NewHistory()
	hist := &stats.Histogram{}
	hist.Add(5)
	idle := stats.Ledger{PID: 1, TID: 2}
	idle.NS[event.Lock] = uint64(time.Second)
	busy := stats.Ledger{PID: 1, TID: 1, Place: launch}
	busy.NS[event.Running] = uint64(time.Second)
	for second := int64(1); second <= 2000; second++ {
		b := &Batch{
			Second: second, Wall: 1e9, Ledger: []stats.Ledger{busy, idle}, Calls: []stats.Calls{{PID: 1, Op: launch, Hist: hist}},
			Pairs:  []stats.Pair{{PID: 1, State: event.Runnable, OtherPID: 9, NS: 300, Count: 3}},
			Events: []event.Event{{Start: second * 1e9, Dur: second % 100, PID: 1, Op: launch}, {Start: second * 1e9, Dur: 1, PID: 1, Op: launch}},
		}
		if err := h.Take(b); err != nil {
			t.Fatal(err)
		}
	}
	all := h.Processes()
	if len(all) != 1 || len(all[0].Seconds) != mostSeconds+1 {
		t.Fatalf("%d processes, %d seconds", len(all), len(all[0].Seconds))
	}
	s := all[0].Seconds[mostSeconds]
	if s.At != 2000 || s.Wall != 1e9 || len(s.Ledger) != 1 || len(s.Calls) != 1 || len(s.Pairs) != 1 {
		t.Errorf("the newest second is %+v", s)
	}
	if slow := h.Slowest(1, launch, 1900e9, 2000e9, 2); len(slow) != 2 || slow[0].Start != 1999e9 || slow[0].Dur != 99 {
		t.Errorf("slowest are %+v", slow)
	}
	if len(h.slow) > mostSeconds+1 {
		t.Errorf("%d slow events are kept", len(h.slow))
	}
	// A process that ended is forgotten once its seconds are.
	gone := Process{Process: event.Process{PID: 1, Start: 5}, Ended: 2000e9}
	if err := h.Take(&Batch{Processes: []Process{gone}}); err != nil {
		t.Fatal(err)
	}
	for second := int64(2001); second < 2700; second++ {
		other := busy
		other.PID = 3
		if err := h.Take(&Batch{Second: second, Ledger: []stats.Ledger{other}}); err != nil {
			t.Fatal(err)
		}
	}
	if all := h.Processes(); len(all) != 1 || all[0].PID != 3 {
		t.Errorf("%d processes are kept", len(all))
	}
}
