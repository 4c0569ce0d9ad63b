package pipeline

import (
	"slices"
	"testing"
	"testing/synctest"

	"ingero/internal/event"
)

func raws(hashes ...uint64) *Batch {
	b := &Batch{}
	for _, h := range hashes {
		b.Stacks = append(b.Stacks, event.RawStack{ProcessID: event.ProcessID{PID: 7}, Hash: h, IPs: []uint64{h}})
	}
	return b
}

// hold is a resolver that waits for permission.
type hold struct {
	open     chan bool
	resolved []uint64
	forgot   []uint64
}

func (h *hold) config() StacksConfig {
	return StacksConfig{
		Resolve: func(s event.RawStack) []event.Frame {
			<-h.open
			h.resolved = append(h.resolved, s.Hash)
			return []event.Frame{{IP: s.Hash}}
		},
		Forget: func(hash uint64) error { h.forgot = append(h.forgot, hash); return nil },
		Keep:   true,
	}
}

// Each stack is resolved once, however often it is told, and who asks for one
// that waits gets it.
func TestStacksAreResolvedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hold{open: make(chan bool)}
		s := NewStacks(h.config())
		if err := s.Take(raws(1, 2, 1)); err != nil {
			t.Fatal(err)
		}
		if k := s.Known([]uint64{1, 2}); len(k) != 0 {
			t.Errorf("known before it was resolved: %v", k)
		}
		asked := make(chan []event.Frame)
		go func() { asked <- s.Frames(2) }()
		synctest.Wait()
		close(h.open)
		if f := <-asked; len(f) != 1 || f[0].IP != 2 {
			t.Errorf("got %v", f)
		}
		if err := s.Take(raws(2, 3)); err != nil {
			t.Fatal(err)
		}
		s.Close()
		s.Close()
		if !slices.Equal(h.resolved, []uint64{1, 2, 3}) || len(h.forgot) != 0 {
			t.Errorf("resolved %v, forgot %v", h.resolved, h.forgot)
		}
		if f := s.Fresh(); len(f) != 3 || len(s.Fresh()) != 0 {
			t.Errorf("%d fresh", len(f))
		}
		if f := s.Frames(99); f != nil {
			t.Errorf("a stack nobody told of: %v", f)
		}
		if f := s.Known([]uint64{3, 4}); len(f) != 1 || f[3][0].IP != 3 {
			t.Errorf("known: %v", f)
		}
	})
}

// More stacks than may wait are told again later, and counted.
func TestStacksTooMany(t *testing.T) {
	h := &hold{open: make(chan bool)}
	s := NewStacks(h.config())
	all := make([]uint64, stacksQueued+10)
	for i := range all {
		all[i] = uint64(i + 1)
	}
	if err := s.Take(raws(all...)); err != nil {
		t.Fatal(err)
	}
	if n := len(h.forgot); n < 9 || uint64(n) != s.Dropped() { // one may be with the resolver
		t.Errorf("%d told again, %d dropped", n, s.Dropped())
	}
	close(h.open)
	s.Close()
}

// What was not asked for in a long time is forgotten, and told again.
func TestStacksForget(t *testing.T) {
	h := &hold{open: make(chan bool)}
	close(h.open)
	s := NewStacks(h.config())
	next := uint64(0)
	fill := func() {
		for range stacksKept / 1024 {
			var some []uint64
			for range 1024 {
				next++
				some = append(some, next)
			}
			if err := s.Take(raws(some...)); err != nil {
				t.Fatal(err)
			}
			s.Frames(next)
			s.Frames(1) // somebody goes on asking for this one
		}
	}
	fill()
	fill()
	fill()
	s.Close()
	if len(s.young)+len(s.old) > 2*stacksKept || len(h.forgot) == 0 || slices.Contains(h.forgot, 1) {
		t.Errorf("%d + %d kept, %d forgotten", len(s.young), len(s.old), len(h.forgot))
	}
}

func TestNoStacks(t *testing.T) {
	var s *Stacks
	s.Close()
	if s.Frames(1) != nil || s.Fresh() != nil || s.Dropped() != 0 || len(s.Known([]uint64{1})) != 0 {
		t.Error("no stacks, but some")
	}
}
