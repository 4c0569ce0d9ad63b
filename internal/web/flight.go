package web

import (
	"context"
	"sync"
	"time"
)

// flights lets those who ask the same at the same time, or shortly after each
// other, share one answer: a dashboard that is open a hundred times costs what
// one costs.
type flights struct {
	fresh time.Duration // how long an answer is given again

	mu  sync.Mutex
	all map[string]*flight
}

// flight is one question that is being answered, or was just now.
type flight struct {
	done   chan struct{}
	answer []byte
	err    error

	waiting int // who wait for it, under the mutex of all
	cancel  context.CancelFunc
}

// do returns what f does, perhaps for somebody else. When nobody waits any
// longer, f's context ends.
func (s *flights) do(ctx context.Context, key string, f func(context.Context) ([]byte, error)) ([]byte, error) {
	s.mu.Lock()
	x := s.all[key]
	if x == nil {
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
		x = &flight{done: make(chan struct{}), cancel: cancel}
		s.all[key] = x
		go s.fly(own, key, x, f)
	}
	x.waiting++
	s.mu.Unlock()
	select {
	case <-x.done:
		return x.answer, x.err
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.waiting--; x.waiting == 0 {
		x.cancel()
		s.forget(key, x) // who comes now must not join it
	}
	return nil, ctx.Err()
}

func (s *flights) fly(ctx context.Context, key string, x *flight, f func(context.Context) ([]byte, error)) {
	defer x.cancel()
	x.answer, x.err = f(ctx)
	close(x.done)
	drop := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.forget(key, x)
	}
	if x.err != nil || s.fresh == 0 {
		drop()
		return
	}
	time.AfterFunc(s.fresh, drop)
}

func (s *flights) forget(key string, x *flight) {
	if s.all[key] == x {
		delete(s.all, key)
	}
}
