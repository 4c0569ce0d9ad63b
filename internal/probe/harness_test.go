package probe

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"ingero/internal/bpftest"
	"ingero/internal/event"
	"ingero/internal/proc"
	"ingero/internal/stats"
	"ingero/test/workload"
)

// sim unpacks the simulated CUDA to a directory of its own, so that probes
// of parallel tests do not meet.
func sim(t *testing.T) string {
	t.Helper()
	bpftest.NeedBPF(t)
	if err := workload.Supported(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	if err := workload.Unpack(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// session is a loaded probe that is read in the background.
type session struct {
	*Probe
	t      *testing.T
	mu     sync.Mutex
	calls  map[string]*stats.Calls // by exported symbol, all processes
	events []event.Event           // calls
	host   []stats.Calls           // operations of the host, by process
	seen   []event.Event           // and their records
	life   []event.Life
	stacks []event.RawStack
	stop   func()
	done   chan struct{}
}

func open(t *testing.T, cfg Config, files ...string) *session {
	t.Helper()
	if cfg.Calls == nil {
		cfg.Calls = event.Calls
	}
	p, err := Load(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &session{Probe: p, t: t, calls: map[string]*stats.Calls{}, done: make(chan struct{})}
	for _, f := range files {
		b, err := proc.OpenBinary(f)
		if err != nil {
			t.Fatal(err)
		}
		a, err := p.Attach(b)
		if err != nil || len(a.Failed) > 0 {
			t.Fatal(err, a.Failed)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = sync.OnceFunc(func() { cancel(); <-s.done })
	go s.read(ctx)
	t.Cleanup(func() {
		s.stop()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *session) read(ctx context.Context) {
	defer close(s.done)
	for ctx.Err() == nil {
		s.once(20 * time.Millisecond)
	}
}

func (s *session) once(wait time.Duration) int {
	s.mu.Lock() // a Probe belongs to one goroutine at a time
	defer s.mu.Unlock()
	events, err := s.ReadCalls(nil, 1<<16, time.Now().Add(wait))
	life, err2 := s.ReadProcesses()
	var err3 error
	if s.stacks, err3 = s.ReadStacks(s.stacks); err3 != nil {
		s.t.Error(err3)
	}
	if err != nil || err2 != nil {
		s.t.Error(err, err2)
	}
	for _, e := range events {
		if e.Op.IsCall() {
			s.events = append(s.events, e)
		} else {
			s.seen = append(s.seen, e)
		}
	}
	s.life = append(s.life, life...)
	for _, l := range life {
		if l.Kind == event.Exit {
			if err := s.Release(l.PID, l.StartBoot, s.count); err != nil {
				s.t.Error(err)
			}
		}
	}
	return len(events) + len(life)
}

func (s *session) count(c stats.Calls) {
	if !c.Op.IsCall() {
		h := c.Hist.Clone()
		c.Hist = &h
		s.host = append(s.host, c)
		return
	}
	name := ""
	for _, row := range s.Probe.calls {
		if row.ID == c.Op {
			name = row.Exports()[0]
		}
	}
	if s.calls[name] == nil {
		s.calls[name] = &stats.Calls{Op: c.Op}
	}
	s.calls[name].Add(&c)
}

// finish detaches, empties all buffers and takes the last counts.
func (s *session) finish() {
	s.t.Helper()
	s.stop()
	if err := s.Detach(); err != nil {
		s.t.Error(err)
	}
	for s.once(0) > 0 {
	}
	s.Drain(s.count)
	missed, err := s.Missed()
	if err != nil || len(missed) > 0 {
		s.t.Error("calls not counted:", missed, err)
	}
}

// agree checks every traced call against what the workload counted itself.
func (s *session) agree(truth workload.Truth) {
	s.t.Helper()
	for name, c := range s.calls {
		if got, want := c.Hist.Count(), truth.Calls[name]; got != want {
			s.t.Errorf("%s: traced %d calls, the workload made %d", name, got, want)
		}
		if got, want := c.Errors, truth.Errors[name]; got != want {
			s.t.Errorf("%s: traced %d errors, the workload had %d", name, got, want)
		}
		if got, want := c.Bytes, truth.Bytes[name]; got != want {
			s.t.Errorf("%s: traced %d bytes, the workload asked for %d", name, got, want)
		}
	}
	for _, row := range s.Probe.calls {
		if name := row.Exports()[0]; truth.Calls[name] > 0 && s.calls[name] == nil {
			s.t.Errorf("%s: not traced, the workload made %d calls", name, truth.Calls[name])
		}
	}
}

func run(t *testing.T, dir string, args ...string) workload.Truth {
	t.Helper()
	r, err := workload.Start(t.Context(), dir, args...)
	if err != nil {
		t.Fatal(err)
	}
	truth, err := r.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return truth
}

func libs(dir string) []string {
	return []string{filepath.Join(dir, "libcuda.so.1"), filepath.Join(dir, "libcudart.so.12")}
}
