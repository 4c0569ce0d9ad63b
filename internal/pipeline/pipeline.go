// Package pipeline carries what the probes saw to whoever wants it: one loop
// reads, adds what is known of the process, and hands batches to the sinks.
// It is the only place where these goroutines are wired together.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// Source is where events come from: the probes, or a recording.
type Source interface {
	// ReadCalls appends waiting events up to limit, and waits until deadline.
	ReadCalls(events []event.Event, limit int, deadline time.Time) ([]event.Event, error)
	// ReadStacks appends the stacks that no call read so far had.
	ReadStacks(stacks []event.RawStack) ([]event.RawStack, error)
	// ReadProcesses returns what happened to traced processes since last time.
	ReadProcesses() ([]event.Life, error)
	// Drain reports the exact counts since the last time.
	Drain(f func(stats.Calls))
	// DrainLedger reports where all threads spent their time since then.
	DrainLedger(f func(stats.Ledger)) error
	// DrainPairs reports who cost whom time since then.
	DrainPairs(f func(stats.Pair)) error
	// Release drains a process that has ended and forgets it. startBoot is
	// when it began, 0 if that is not known.
	Release(pid uint32, startBoot uint64, f func(stats.Calls)) error
	// SetPolicy adapts what is recorded; called after Drain.
	SetPolicy()
	// Detach stops the flow; what is in the buffers can still be read.
	Detach() error
}

// Batch is what happened since the last batch. Sinks must not keep it.
type Batch struct {
	Events    []event.Event
	Stacks    []event.RawStack // of these events, if they are new
	Processes []Process        // new, changed or ended
	Life      []event.Life
	Second    int64          // unix; the second that Calls belong to
	Wall      int64          // ns from the drain before to this one, which Ledger is of
	Calls     []stats.Calls  // complete counts, once a second
	Ledger    []stats.Ledger // where the time went, once a second
	Pairs     []stats.Pair   // and who took it
	Snapshots []event.Snapshot
	GPU       []event.GPUSample
	Steps     []ClockStep
	Dropped   map[event.Op]uint64 // events an Async sink had no room for
	Last      bool                // no more will come
}

// ClockStep is a jump of the wall clock while we traced.
type ClockStep struct {
	At    int64 // unix ns, after the jump
	Delta int64 // ns; positive is forward
}

// Process is a traced process and what became of it.
type Process struct {
	event.Process
	Ended  int64 // unix ns, 0 while it lives
	Status int32 // as from wait(2)
}

// Sink takes batches, in order. It must return soon: while it works, nobody
// empties the ring.
type Sink interface {
	Take(*Batch) error
}

// Config wires one run.
type Config struct {
	Source Source
	Sinks  []Sink
	// Known are processes to look up at once, before they can end; then Ready
	// is called.
	Known []int
	Ready func()
	// Describe looks a process up; it may fail for one that has just ended.
	Describe func(pid int) (event.Process, error)
	// Alive reports whether the process that started then still lives.
	Alive func(event.Process) bool
	// Found is called when a process turns out to be one to trace.
	Found func(pid int)
	// Ended is called when the last thread of a traced process has ended.
	Ended func(Process)
	// EverySecond may add to the batch, which counts the second that has
	// passed, what it knows of the processes that live; nil if there is
	// nothing to add.
	EverySecond func(b *Batch, living []event.Process) error
	Now         func() time.Time
}

const (
	pollEvery  = 50 * time.Millisecond
	batchLimit = 1 << 15 // events
	aliveEvery = 10      // seconds between looks for processes whose end we missed
)

type loop struct {
	Config
	batch Batch
	procs map[uint32]*known
	last  *known    // of the event before: most events come in runs
	at    int64     // the second that was drained last
	drawn time.Time // when
}

type known struct {
	Process
	startBoot uint64
	described bool
}

// Run carries batches until ctx ends, then empties the buffers and returns.
func Run(ctx context.Context, cfg Config) error {
	l := &loop{Config: cfg, procs: map[uint32]*known{}, at: cfg.Now().Unix()}
	for _, pid := range cfg.Known {
		l.know(uint32(pid), 0, event.Life{})
	}
	if err := l.hand(); err != nil {
		return errors.Join(err, l.finish())
	}
	if cfg.Ready != nil {
		cfg.Ready()
	}
	for ctx.Err() == nil {
		if err := l.step(cfg.Now().Add(pollEvery)); err != nil {
			return errors.Join(err, l.finish())
		}
	}
	return l.finish()
}

// step makes one batch.
func (l *loop) step(deadline time.Time) error {
	var err error
	l.batch = Batch{Events: l.batch.Events[:0], Stacks: l.batch.Stacks[:0], Processes: l.batch.Processes[:0], Calls: l.batch.Calls[:0],
		Ledger: l.batch.Ledger[:0], Pairs: l.batch.Pairs[:0], Second: l.at,
	}
	if l.batch.Events, err = l.Source.ReadCalls(l.batch.Events, batchLimit, deadline); err != nil {
		return err
	}
	// After the calls, so that none comes without its stack.
	if l.batch.Stacks, err = l.Source.ReadStacks(l.batch.Stacks); err != nil {
		return err
	}
	if l.batch.Life, err = l.Source.ReadProcesses(); err != nil {
		return err
	}
	for _, life := range l.batch.Life {
		if err := l.live(life); err != nil {
			return err
		}
	}
	if now := l.Now().Unix(); now != l.at {
		if err := l.drain(now); err != nil {
			return err
		}
		l.Source.SetPolicy()
		if l.EverySecond != nil {
			if err := l.EverySecond(&l.batch, l.living()); err != nil {
				return err
			}
		}
		if now%aliveEvery == 0 {
			l.sweep()
		}
	}
	l.enrich()
	return l.hand()
}

// living returns the processes that have not ended, in no order.
func (l *loop) living() []event.Process {
	all := make([]event.Process, 0, len(l.procs))
	for _, p := range l.procs {
		if p.Ended == 0 && p.described {
			all = append(all, p.Process.Process)
		}
	}
	return all
}

func (l *loop) hand() error {
	for _, s := range l.Sinks {
		if err := s.Take(&l.batch); err != nil {
			return err
		}
	}
	return nil
}

// drain takes the counts of the second that has passed.
func (l *loop) drain(now int64) error {
	l.batch.Second = l.at
	l.at = now
	l.Source.Drain(l.count)
	drawn := l.Now() // a wall clock: what is compared with it is compared within a second
	if !l.drawn.IsZero() {
		l.batch.Wall = int64(drawn.Sub(l.drawn))
	}
	l.drawn = drawn
	return errors.Join(
		l.Source.DrainLedger(func(x stats.Ledger) {
			if l.procs[x.PID] == nil { // a worker that makes no calls itself
				l.know(x.PID, 0, event.Life{})
			}
			l.batch.Ledger = append(l.batch.Ledger, x)
		}),
		l.Source.DrainPairs(func(x stats.Pair) { l.batch.Pairs = append(l.batch.Pairs, x) }),
	)
}

func (l *loop) count(c stats.Calls) {
	if c.PID != 0 {
		// One process, one start: what we know may come from /proc, which is
		// not as fine as the kernel.
		if p := l.know(c.PID, c.Start, event.Life{}); c.Start > p.Start-int64(time.Second) {
			c.Start = p.Start
		}
	}
	h := c.Hist.Clone() // the source uses its own again
	c.Hist = &h
	l.batch.Calls = append(l.batch.Calls, c)
}

// live follows one step in the life of a process.
func (l *loop) live(life event.Life) error {
	p := l.know(life.PID, life.Start, life)
	p.startBoot = life.StartBoot
	switch life.Kind {
	case event.Found:
		if l.Found != nil {
			l.Found(int(life.PID))
		}
	case event.Fork:
		// The number is used again, unless the child was quicker than this news of it.
		if old := l.procs[life.Other]; old != nil && old.Start < life.Time-int64(time.Second) {
			l.end(old, life.Time, 0)
			delete(l.procs, life.Other)
			l.last = nil
		}
		return nil
	case event.Exec:
		p.described = false
		l.describe(p, life)
	case event.Exit:
		if err := l.Source.Release(life.PID, life.StartBoot, l.count); err != nil {
			return err
		}
		l.end(p, life.Time, life.Status)
	}
	return nil
}

// end notes that a process is gone. It stays known until the next sweep: its
// last records may still be in the ring.
func (l *loop) end(p *known, at int64, status int32) {
	if p.Ended != 0 {
		return
	}
	p.Ended, p.Status = at, status
	l.batch.Processes = append(l.batch.Processes, p.Process)
	if l.Ended != nil {
		l.Ended(p.Process)
	}
}

// know returns the process, and looks it up the first time. What the kernel
// said of it helps when it is gone already.
func (l *loop) know(pid uint32, start int64, life event.Life) *known {
	p := l.procs[pid]
	if p == nil || (p.Ended != 0 && start > p.Ended) { // the number is used again
		p = &known{Process: Process{Process: event.Process{PID: pid, Start: start, Rank: event.NoRank}}}
		l.procs[pid] = p
		l.describe(p, life)
		l.last = nil
	} else if p.Start == 0 { // it was gone when we looked; now we hear of it
		p.Start = start
		p.hear(life)
	}
	return p
}

func (l *loop) describe(p *known, life event.Life) {
	if d, err := l.Describe(int(p.PID)); err == nil {
		start := p.Start
		p.Process.Process = d
		if start != 0 {
			p.Start = start // the kernel's clock is finer than /proc's
		}
		p.described = true
	} else if !p.hear(life) && (p.Comm != "" || p.Start == 0) {
		return // nothing new, or nothing at all
	}
	l.batch.Processes = append(l.batch.Processes, p.Process)
}

// hear takes over what the kernel said of a process.
func (p *known) hear(life event.Life) bool {
	if life.Comm == "" {
		return false
	}
	p.Comm, p.UID, p.Cgroup = life.Comm, life.UID, life.Cgroup
	return true
}

// enrich adds what only the process knows.
func (l *loop) enrich() {
	for i := range l.batch.Events {
		e := &l.batch.Events[i]
		if l.last == nil || l.last.PID != e.PID {
			l.last = l.know(e.PID, 0, event.Life{})
		}
		e.Rank = l.last.Rank
	}
	for _, life := range l.batch.Life {
		if e, ok := life.Event(); ok {
			l.batch.Events = append(l.batch.Events, e)
		}
	}
}

// sweep ends processes whose exit was not reported.
func (l *loop) sweep() {
	l.last = nil
	for _, p := range l.procs {
		if p.Ended != 0 {
			delete(l.procs, p.PID)
			continue
		}
		if p.described && !l.Alive(p.Process.Process) {
			if err := l.Source.Release(p.PID, p.startBoot, l.count); err != nil {
				continue
			}
			l.end(p, l.Now().UnixNano(), 0)
		}
	}
}

// finish stops the flow and carries what is left.
func (l *loop) finish() error {
	errs := []error{l.Source.Detach()}
	for {
		// Whatever is in the ring is there now: do not wait.
		if err := l.step(l.Now().Add(-time.Second)); err != nil {
			errs = append(errs, err)
			break
		}
		if len(l.batch.Events) == 0 && len(l.batch.Life) == 0 {
			break
		}
	}
	l.batch = Batch{Last: true}
	errs = append(errs, l.drain(l.Now().Unix()), l.hand())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	return nil
}
