package cli

import (
	"errors"
	"io/fs"
	"slices"
	"sync"

	"ingero/internal/event"
	"ingero/internal/pipeline"
	"ingero/internal/proc"
	"ingero/internal/python"
	"ingero/internal/unwind"
)

// pythons tells the kernel side how to walk the stacks of traced processes and
// which of them run Python, and names Python frames. It is a sink: it hears of
// processes that come and go.
type pythons struct {
	t     *tracer
	names python.Processes
	walks *unwind.Manager // finds the callers of code without frame pointers

	mu     sync.Mutex
	looked map[int]bool // true: runs Python
	ended  []int        // still have names, for stacks that are on their way
}

const endedKept = 64

// look finds out whether a process runs Python. That is asked again when it
// is known to run another program, and when it calls CUDA while we think that
// it does not: at its start its libraries are not there yet.
func (p *pythons) look(pid int, why event.LifeKind) {
	if why == event.Exec {
		p.walks.Exited(pid) // it has not loaded its libraries yet; its first stack says when it has
	} else {
		p.walks.Process(pid)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	runs, known := p.looked[pid]
	if known && (why == 0 || why == event.Found && runs) {
		return
	}
	if p.looked == nil {
		p.looked = map[int]bool{}
	}
	walk, version, err := p.names.Add(pid)
	p.looked[pid] = err == nil
	switch {
	case err == nil:
		p.t.status.debugf("process %d runs CPython %v", pid, version)
		err = p.t.probe.SetPython(pid, walk)
	case errors.Is(err, python.ErrNone) || errors.Is(err, proc.ErrGone) || errors.Is(err, fs.ErrNotExist):
		err = p.t.probe.ForgetPython(pid)
	}
	if err != nil {
		p.t.gap("no Python lines: %v", err)
	}
}

// lookAtStacks finds out how to walk the stacks of a process.
func (t *tracer) lookAtStacks(pid int) {
	if t.pythons != nil {
		t.pythons.look(pid, 0)
	}
}

// Take follows the lives of processes.
func (p *pythons) Take(b *pipeline.Batch) error {
	for _, l := range b.Life {
		switch l.Kind {
		case event.Found, event.Exec:
			p.look(int(l.PID), l.Kind)
		case event.Fork:
			p.look(int(l.Other), l.Kind)
		case event.Exit:
			if err := p.end(int(l.PID)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *pythons) end(pid int) error {
	p.walks.Exited(pid)
	p.mu.Lock()
	delete(p.looked, pid)
	p.ended = append(p.ended, pid)
	if len(p.ended) > endedKept {
		old := p.ended[0]
		p.ended = p.ended[1:]
		if !p.looked[old] && !slices.Contains(p.ended, old) {
			p.names.Remove(old)
		}
	}
	p.mu.Unlock()
	return p.t.probe.ForgetPython(pid)
}

// read names the Python frames of a stack, while they can be read.
func (p *pythons) read(s *event.RawStack) {
	if len(s.Python) > 0 {
		s.Lines = p.names.Frames(int(s.PID), rawFrames(s))
	}
}

// among puts the Python frames of a stack among its native ones.
func (p *pythons) among(native []event.Frame, s event.RawStack) []event.Frame {
	if len(s.Python) == 0 {
		return native
	}
	return python.Interleave(native, rawFrames(&s), s.Lines)
}

func rawFrames(s *event.RawStack) []python.RawFrame {
	raw := make([]python.RawFrame, len(s.Python))
	for i, f := range s.Python {
		raw[i] = python.RawFrame(f)
	}
	return raw
}
