package pipeline

import (
	"slices"
	"sync"

	"ingero/internal/event"
)

// Async lets a slow sink work in a goroutine of its own, so that a disk or a
// pipe never keeps the loop from emptying the ring. Counts and processes
// always get through; events are dropped, and counted, when more than limit
// of them wait.
type Async struct {
	sink   Sink
	limit  int
	failed func(error)

	mu      sync.Mutex
	more    *sync.Cond
	queue   []*Batch
	waiting int // events in queue
	spare   [][]event.Event
	dropped map[event.Op]uint64
	closed  bool
	done    chan struct{}
}

// NewAsync starts the goroutine. failed is called once with the sink's first
// error; from then on batches are thrown away.
func NewAsync(sink Sink, limit int, failed func(error)) *Async {
	a := &Async{sink: sink, limit: limit, failed: failed, dropped: map[event.Op]uint64{}, done: make(chan struct{})}
	a.more = sync.NewCond(&a.mu)
	go a.run()
	return a
}

// Take queues a copy of the batch.
func (a *Async) Take(b *Batch) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	c := *b
	c.Processes, c.Life, c.Calls = slices.Clone(b.Processes), slices.Clone(b.Life), slices.Clone(b.Calls)
	c.Ledger, c.Pairs = slices.Clone(b.Ledger), slices.Clone(b.Pairs)
	c.Snapshots, c.Steps, c.GPU = slices.Clone(b.Snapshots), slices.Clone(b.Steps), slices.Clone(b.GPU)
	c.Events, c.Stacks = nil, nil // stacks are those of Stacks
	if a.waiting+len(b.Events) > a.limit {
		for i := range b.Events {
			a.dropped[b.Events[i].Op]++
		}
	} else if len(b.Events) > 0 {
		c.Events = append(a.takeSpare(), b.Events...)
		a.waiting += len(b.Events)
	}
	if len(a.dropped) > 0 && (len(b.Calls) > 0 || b.Last) {
		c.Dropped = a.dropped
		a.dropped = map[event.Op]uint64{}
	}
	if c.empty() {
		return nil
	}
	a.queue = append(a.queue, &c)
	a.more.Signal()
	return nil
}

func (b *Batch) empty() bool {
	return !b.Last && len(b.Events)+len(b.Processes)+len(b.Life)+len(b.Calls)+len(b.Ledger)+len(b.Pairs)+len(b.Snapshots)+len(b.Steps)+len(b.GPU) == 0
}

func (a *Async) takeSpare() []event.Event {
	if n := len(a.spare); n > 0 {
		s := a.spare[n-1]
		a.spare = a.spare[:n-1]
		return s[:0]
	}
	return nil
}

func (a *Async) next() *Batch {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.queue) == 0 && !a.closed {
		a.more.Wait()
	}
	if len(a.queue) == 0 {
		return nil
	}
	b := a.queue[0]
	a.queue = a.queue[1:]
	return b
}

func (a *Async) run() {
	defer close(a.done)
	broken := false
	for b := a.next(); b != nil; b = a.next() {
		if !broken {
			if err := a.sink.Take(b); err != nil {
				broken = true
				a.failed(err)
			}
		}
		a.mu.Lock()
		a.waiting -= len(b.Events)
		if cap(b.Events) > 0 && len(a.spare) < 4 {
			a.spare = append(a.spare, b.Events)
		}
		a.mu.Unlock()
	}
}

// Close waits until everything queued has been taken.
func (a *Async) Close() {
	a.mu.Lock()
	a.closed = true
	a.more.Signal()
	a.mu.Unlock()
	<-a.done
}
