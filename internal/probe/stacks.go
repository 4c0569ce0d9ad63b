package probe

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"ingero/internal/event"
)

// Stacks says which recorded calls have their stacks taken.
type Stacks uint8

// The values of Stacks.
const (
	StacksNone   Stacks = iota
	StacksOfRare        // of calls recorded for themselves: rare, slow, failed
	StacksOfAll         // of samples as well
)

// ReadStacks appends to stacks those that were not seen before. Read after
// ReadCalls, it has those of all calls read. It does not block.
func (p *Probe) ReadStacks(stacks []event.RawStack) ([]event.RawStack, error) {
	p.stacks.SetDeadline(time.Unix(0, 1)) // in the past: take what is there
	var rec ringbuf.Record
	for {
		err := p.stacks.ReadInto(&rec)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return stacks, nil
		}
		if err != nil {
			return stacks, fmt.Errorf("read stacks: %w", err)
		}
		s, err := p.decodeStack(rec.RawSample)
		if err != nil {
			return stacks, err
		}
		stacks = append(stacks, s)
	}
}

// decodeStack turns one raw record into a stack. Records end with the last
// frame of Python that is used.
func (p *Probe) decodeStack(raw []byte) (event.RawStack, error) {
	var r bpfStackRecord
	head := int(unsafe.Offsetof(r.Py))
	if len(raw) < head {
		return event.RawStack{}, fmt.Errorf("stack record of %d bytes, expected at least %d", len(raw), head)
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&r)), unsafe.Sizeof(r)), raw)
	if int(r.Natives) > len(r.Ips) || int(r.Pythons) > len(r.Py) || int(r.Row) >= len(p.rows) && r.Row != costRow {
		return event.RawStack{}, fmt.Errorf("stack record with %d addresses and %d frames of row %d", r.Natives, r.Pythons, r.Row)
	}
	s := event.RawStack{
		ProcessID: event.ProcessID{PID: r.Pid, StartBoot: r.StartBoottime}, Hash: r.Hash, TID: r.Tid, IPs: mended(&r),
	}
	if int(r.Row) < len(p.rows) {
		s.Op = p.rows[r.Row]
	}
	for _, f := range r.Py[:r.Pythons] {
		s.Python = append(s.Python, event.PythonFrame{Code: f.Code, Instr: f.Instr})
	}
	return s, nil
}

// mended returns the addresses of a stack with the real return addresses of
// traced calls in flight, and its caller once only.
func mended(r *bpfStackRecord) []uint64 {
	ips := slices.Clone(r.Ips[:r.Natives])
	outer := len(r.Returns)
	for outer > 0 && r.Returns[outer-1] == 0 {
		outer--
	}
	for i, ip := range ips {
		if ip == r.Trampoline && ip != 0 && outer > 0 {
			outer--
			ips[i] = r.Returns[outer]
		}
	}
	if r.Entered != 0 && len(ips) > 2 && ips[1] == ips[2] {
		ips = slices.Delete(ips, 1, 2)
	}
	return ips
}

// ForgetStack makes the kernel side tell a stack again when it is next seen.
// It may be called from any goroutine.
func (p *Probe) ForgetStack(hash uint64) error {
	if err := p.objs.ToldStacks.Delete(hash); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("forget a stack: %w", err)
	}
	return nil
}

// StacksLost is how often a stack could not be told.
func (p *Probe) StacksLost() (uint64, error) {
	var n uint64
	if err := p.objs.StacksLost.Get(&n); err != nil {
		return 0, fmt.Errorf("read how many stacks were lost: %w", err)
	}
	return n, nil
}
