package cli

import (
	"errors"
	"slices"
	"sync"

	"ingero/internal/event"
	"ingero/internal/pipeline"
	"ingero/internal/proc"
	"ingero/internal/python"
)

// pythons tells the kernel side which traced processes run Python, and names
// their frames. It is a sink: it hears of processes that come and go.
type pythons struct {
	t         *tracer
	addresses proc.Addresses // of native frames; used by one goroutine
	names     python.Processes

	mu     sync.Mutex
	looked map[int]bool
	ended  []int // still have names, for stacks that are on their way
}

const endedKept = 64

// look finds out whether a process runs Python; again, also if that is known.
func (p *pythons) look(pid int, again bool) {
	p.mu.Lock()
	known := p.looked[pid]
	if p.looked == nil {
		p.looked = map[int]bool{}
	}
	p.looked[pid] = true
	p.mu.Unlock()
	if known && !again {
		return
	}
	walk, version, err := p.names.Add(pid)
	switch {
	case err == nil:
		p.t.status.debugf("process %d runs CPython %v", pid, version)
		err = p.t.probe.SetPython(pid, walk)
	case errors.Is(err, python.ErrNone) || errors.Is(err, proc.ErrGone):
		err = p.t.probe.ForgetPython(pid)
	}
	if err != nil {
		p.t.gap("no Python lines: %v", err)
	}
}

// lookForPython looks at a process for the first time.
func (t *tracer) lookForPython(pid int) {
	if t.pythons != nil {
		t.pythons.look(pid, false)
	}
}

// Take follows the lives of processes.
func (p *pythons) Take(b *pipeline.Batch) error {
	for _, l := range b.Life {
		switch l.Kind {
		case event.Found:
			p.look(int(l.PID), false)
		case event.Exec:
			p.look(int(l.PID), true)
		case event.Fork:
			p.look(int(l.Other), true)
		case event.Exit:
			if err := p.end(int(l.PID)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *pythons) end(pid int) error {
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

// resolve names the frames of a stack.
func (p *pythons) resolve(s event.RawStack) []event.Frame {
	native := p.addresses.Resolve(s)
	if len(s.Python) == 0 {
		return native
	}
	raw := make([]python.RawFrame, len(s.Python))
	for i, f := range s.Python {
		raw[i] = python.RawFrame(f)
	}
	return python.Interleave(native, raw, p.names.Frames(int(s.PID), raw))
}
