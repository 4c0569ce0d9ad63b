package pipeline

import (
	"sync"

	"ingero/internal/event"
)

// Stacks gives the addresses of call stacks names, in goroutines of its own,
// and remembers them for whoever prints or stores events. It is a Sink, which
// must come before those that ask it.
type Stacks struct {
	read    func(*event.RawStack)
	resolve func(event.RawStack) []event.Frame
	forget  func(hash uint64) error
	meet    func(event.RawStack)
	met     map[event.ProcessID]bool
	told    func(*event.Stack)

	mu      sync.Mutex
	changed *sync.Cond
	queue   []event.RawStack
	waiting map[uint64]bool     // in queue, or being resolved
	ready   chan event.RawStack // have been read
	// Two generations: what was not asked for since the one before began is
	// forgotten with it.
	young, old map[uint64]*event.Stack
	fresh      []*event.Stack // not yet taken
	keep       bool           // fresh
	dropped    uint64
	closed     bool
	done       chan struct{}
}

// StacksConfig says how Stacks works.
type StacksConfig struct {
	// Read adds to a stack what has to be read from the process, which may soon
	// be gone. It does not wait for Resolve of others. May be nil.
	Read func(*event.RawStack)
	// Resolve returns the frames of a stack, innermost first.
	Resolve func(event.RawStack) []event.Frame
	// Meet is called at once with the first stack of a process, which may soon
	// be gone: what its addresses mean must be looked up now. May be nil.
	Meet func(event.RawStack)
	// Forget makes the source tell a stack again.
	Forget func(hash uint64) error
	// Told is called for every stack that has got its names; may be nil.
	Told func(*event.Stack)
	// Keep them until Fresh takes them.
	Keep bool
}

const (
	stacksQueued = 1 << 14 // raw stacks that may wait
	stacksKept   = 1 << 13 // of a generation; a stack takes some KB
)

// NewStacks starts the goroutines.
func NewStacks(cfg StacksConfig) *Stacks {
	s := &Stacks{
		read: cfg.Read, resolve: cfg.Resolve, forget: cfg.Forget, meet: cfg.Meet, met: map[event.ProcessID]bool{}, told: cfg.Told, keep: cfg.Keep, done: make(chan struct{}),
		ready:   make(chan event.RawStack, stacksQueued),
		waiting: map[uint64]bool{}, young: map[uint64]*event.Stack{}, old: map[uint64]*event.Stack{},
	}
	s.changed = sync.NewCond(&s.mu)
	go s.readAll()
	go s.resolveAll()
	return s
}

// Take queues the stacks of a batch that are new.
func (s *Stacks) Take(b *Batch) error {
	if len(b.Stacks) == 0 {
		return nil
	}
	var late []uint64
	s.meetAll(b.Stacks)
	s.mu.Lock()
	for _, raw := range b.Stacks {
		switch {
		case s.waiting[raw.Hash] || s.find(raw.Hash) != nil:
		case s.closed || len(s.queue) >= stacksQueued:
			s.dropped++
			late = append(late, raw.Hash)
		default:
			s.queue = append(s.queue, raw)
			s.waiting[raw.Hash] = true
		}
	}
	s.changed.Broadcast()
	s.mu.Unlock()
	return s.again(late)
}

func (s *Stacks) meetAll(all []event.RawStack) {
	if s.meet == nil {
		return
	}
	for i := range all {
		id := all[i].ProcessID
		if s.met[id] {
			continue
		}
		if len(s.met) >= 1<<12 {
			clear(s.met) // to meet one again does no harm
		}
		s.met[id] = true
		s.meet(all[i])
	}
}

// again lets stacks that are not known be told again.
func (s *Stacks) again(hashes []uint64) error {
	for _, h := range hashes {
		if err := s.forget(h); err != nil {
			return err
		}
	}
	return nil
}

// find looks a stack up and keeps it from being forgotten.
func (s *Stacks) find(hash uint64) *event.Stack {
	if x := s.young[hash]; x != nil {
		return x
	}
	x := s.old[hash]
	if x != nil {
		delete(s.old, hash)
		s.young[hash] = x
	}
	return x
}

func (s *Stacks) readAll() {
	defer close(s.ready)
	for {
		s.mu.Lock()
		for len(s.queue) == 0 && !s.closed {
			s.changed.Wait()
		}
		if len(s.queue) == 0 {
			s.mu.Unlock()
			return
		}
		raw := s.queue[0]
		s.queue = s.queue[1:]
		s.mu.Unlock()
		if s.read != nil {
			s.read(&raw)
		}
		s.ready <- raw
	}
}

func (s *Stacks) resolveAll() {
	defer close(s.done)
	for raw := range s.ready {
		x := &event.Stack{Hash: raw.Hash, PID: raw.PID, TID: raw.TID, Op: raw.Op, IPs: raw.IPs, Frames: s.resolve(raw)}
		if s.told != nil {
			s.told(x)
		}
		// Nobody to return an error to: an unknown stack is told again or not.
		s.again(s.add(x))
	}
}

// add keeps a stack, and returns those to be forgotten.
func (s *Stacks) add(x *event.Stack) (gone []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.young) >= stacksKept {
		for h := range s.old {
			gone = append(gone, h)
		}
		s.young, s.old = map[uint64]*event.Stack{}, s.young
	}
	s.young[x.Hash] = x
	delete(s.waiting, x.Hash)
	if s.keep {
		s.fresh = append(s.fresh, x)
	}
	s.changed.Broadcast()
	return gone
}

// Frames returns the frames of a stack, and waits for those that are being
// resolved; nil for none. Whatever comes after this sink may ask.
func (s *Stacks) Frames(hash uint64) []event.Frame {
	if s == nil || hash == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if x := s.find(hash); x != nil {
			return x.Frames
		}
		if !s.waiting[hash] {
			return nil
		}
		s.changed.Wait()
	}
}

// Known returns the frames of those stacks that are resolved already; it does
// not wait.
func (s *Stacks) Known(hashes []uint64) map[uint64][]event.Frame {
	all := map[uint64][]event.Frame{}
	if s == nil {
		return all
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range hashes {
		if x := s.find(h); x != nil {
			all[h] = x.Frames
		}
	}
	return all
}

// Fresh returns the stacks that have got names since the last time.
func (s *Stacks) Fresh() []*event.Stack {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.fresh
	s.fresh = nil
	return all
}

// Dropped is how many stacks there was no room for.
func (s *Stacks) Dropped() uint64 {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

// Close waits until everything queued has names.
func (s *Stacks) Close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.closed = true
	s.changed.Broadcast()
	s.mu.Unlock()
	<-s.done
}
