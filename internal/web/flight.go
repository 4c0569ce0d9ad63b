package web

import (
	"context"
	"sync"
	"time"
)

// flights lets those who ask the same at the same time, or shortly after each
// other, share one answer: a dashboard that is open a hundred times costs what
// one costs.
//
// An answer is given again while it is fresh: longer if it took long to make,
// so that no question takes more than a tenth of a CPU from the jobs that are
// watched. After that the first who asks waits for a new one; others who ask
// meanwhile get the old one, if it is not stale, and do not wait.
type flights struct {
	fresh, stale time.Duration
	now          func() time.Time

	mu  sync.Mutex
	all map[string]*flight
}

// longestFresh bounds how old an answer may be, however long it took.
const longestFresh = 10 * time.Second

func newFlights(fresh, stale time.Duration, now func() time.Time) *flights {
	return &flights{fresh: fresh, stale: stale, now: now, all: map[string]*flight{}}
}

// flight is what is known of one question, under the mutex.
type flight struct {
	last  []byte // the newest answer
	made  time.Time
	fresh time.Duration // how long it is

	next *landing // the answer on its way; nil: none
}

type landing struct {
	done    chan struct{}
	answer  []byte
	err     error
	waiting int
	cancel  context.CancelFunc
}

// do returns what f does, perhaps for somebody else. When nobody waits any
// longer, f's context ends.
func (s *flights) do(ctx context.Context, key string, f func(context.Context) ([]byte, error)) ([]byte, error) {
	s.mu.Lock()
	x := s.all[key]
	if x == nil {
		x = &flight{}
		s.all[key] = x
	}
	age := s.now().Sub(x.made)
	if x.last != nil && (age < x.fresh || x.next != nil && age < x.fresh+s.stale) {
		defer s.mu.Unlock()
		return x.last, nil
	}
	if x.next == nil {
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
		x.next = &landing{done: make(chan struct{}), cancel: cancel}
		go s.fly(own, key, x, x.next, f)
	}
	n := x.next
	n.waiting++
	s.mu.Unlock()
	select {
	case <-n.done:
		return n.answer, n.err
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.waiting--; n.waiting == 0 && x.next == n {
		n.cancel()
		x.next = nil // who comes now must not join it
	}
	return nil, ctx.Err()
}

func (s *flights) fly(ctx context.Context, key string, x *flight, n *landing, f func(context.Context) ([]byte, error)) {
	defer n.cancel()
	began := s.now()
	n.answer, n.err = f(ctx)
	took := s.now().Sub(began)
	s.mu.Lock()
	defer s.mu.Unlock()
	close(n.done)
	if x.next == n {
		x.next = nil
	}
	if n.err == nil {
		x.last, x.made, x.fresh = n.answer, s.now(), min(max(s.fresh, 9*took), max(s.fresh, longestFresh))
	}
	time.AfterFunc(x.fresh+s.stale, func() { s.forget(key, x) })
}

// forget drops what nobody asked for lately.
func (s *flights) forget(key string, x *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.next == nil && s.now().Sub(x.made) >= x.fresh+s.stale && s.all[key] == x {
		delete(s.all, key)
	}
}
