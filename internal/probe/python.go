package probe

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	cpython "ingero/internal/python"
)

// SetPython makes stacks of a process have Python frames from now on. It may
// be called from any goroutine.
func (p *Probe) SetPython(pid int, w cpython.Walk) error {
	v := bpfPyProcess{
		Interpreters: w.Interpreters, Flags: w.Flags,
		InterpNext: w.InterpNext, InterpThreads: w.InterpThreads,
		ThreadNext: w.ThreadNext, ThreadId: w.ThreadId, ThreadFrame: w.ThreadFrame, CframeCurrent: w.CframeCurrent,
		FrameBytes: w.FrameBytes, FramePrevious: w.FramePrevious, FrameCode: w.FrameCode, FrameInstr: w.FrameInstr,
		FrameOwner: w.FrameOwner, OwnerC: w.OwnerC, FrameEntry: w.FrameEntry, EntryMask: w.EntryMask,
	}
	if err := p.objs.PyProcesses.Put(uint32(pid), &v); err != nil {
		return fmt.Errorf("take Python stacks of process %d: %w", pid, err)
	}
	return nil
}

// ForgetPython undoes SetPython.
func (p *Probe) ForgetPython(pid int) error {
	if err := p.objs.PyProcesses.Delete(uint32(pid)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("forget Python of process %d: %w", pid, err)
	}
	return nil
}
