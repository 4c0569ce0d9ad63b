package python

import (
	"os"
	"sync"

	"ingero/internal/event"
)

// Process is a process that runs CPython, and what was read of its code.
// It is not safe for concurrent use.
type Process struct {
	Version  Version
	mem      memory
	file     *os.File // of mem
	runtime  uint64   // _PyRuntime
	codeType uint64   // PyCode_Type; 0 is not known
	typeAt   uint64   // of ob_type in an object
	layout   layout
	walk     Walk
	codes    map[uint64]*code
	held     int
}

// Walk returns what the kernel must know of the process.
func (p *Process) Walk() Walk { return p.walk }

// Frames names frames. Once the process has ended only code that was read
// before has names; others are called "?".
func (p *Process) Frames(raw []RawFrame) []event.Frame {
	frames := make([]event.Frame, len(raw))
	for i, r := range raw {
		frames[i] = p.frame(r)
	}
	return frames
}

// Close forgets the process.
func (p *Process) Close() error { return p.file.Close() }

// Processes are those that run CPython, by PID. It is safe for concurrent
// use.
type Processes struct {
	mu  sync.Mutex
	all map[int]*Process
}

// Add looks for CPython in a process and returns what the kernel must know
// of it. The error wraps ErrNone if it runs none; any other is a gap to
// show. A process that runs another program now, or has just been forked, is
// added again.
func (ps *Processes) Add(pid int) (Walk, Version, error) {
	p, err := Find(pid)
	if err != nil {
		return Walk{}, Version{}, err
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if old := ps.all[pid]; old != nil {
		old.Close()
	}
	if ps.all == nil {
		ps.all = map[int]*Process{}
	}
	ps.all[pid] = p
	return p.Walk(), p.Version, nil
}

// Frames names the frames of a process, which may have ended: see
// Process.Frames.
func (ps *Processes) Frames(pid int, raw []RawFrame) []event.Frame {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.all[pid]; p != nil {
		return p.Frames(raw)
	}
	frames := make([]event.Frame, len(raw))
	for i := range frames {
		frames[i].PyFunc = "?"
	}
	return frames
}

// Remove forgets a process.
func (ps *Processes) Remove(pid int) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.all[pid]; p != nil {
		p.Close()
		delete(ps.all, pid)
	}
}
