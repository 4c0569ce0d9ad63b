package probe

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"ingero/internal/event"
)

// ReadCalls appends to events all call records that are waiting, up to limit,
// and blocks at most until deadline for the first one.
func (p *Probe) ReadCalls(events []event.Event, limit int, deadline time.Time) ([]event.Event, error) {
	p.records.SetDeadline(deadline)
	for len(events) < limit {
		err := p.records.ReadInto(&p.record)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return events, fmt.Errorf("read call records: %w", err)
		}
		e, err := p.decode(p.record.RawSample)
		if err != nil {
			return events, err
		}
		events = append(events, e)
		if p.record.Remaining == 0 {
			break
		}
	}
	return events, nil
}

// decode turns one raw record into an event.
func (p *Probe) decode(raw []byte) (event.Event, error) {
	if len(raw) < int(unsafe.Sizeof(bpfCallRecord{})) {
		return event.Event{}, fmt.Errorf("call record of %d bytes, expected %d", len(raw), unsafe.Sizeof(bpfCallRecord{}))
	}
	r := (*bpfCallRecord)(unsafe.Pointer(unsafe.SliceData(raw)))
	if int(r.Row) >= len(p.rows) {
		return event.Event{}, fmt.Errorf("call record of row %d; the table has %d", r.Row, len(p.rows))
	}
	e := event.Event{
		Start: p.clock.Unix(r.StartNs), Dur: int64(r.DurNs), PID: r.Pid, TID: r.Tid,
		Op: p.rows[r.Row], Depth: r.Depth, Dir: event.Direction(r.Dir), GPU: r.Gpu, Ret: r.Ret,
		Bytes: r.Bytes, Handle: r.Handle, Stack: r.Stack, Cgroup: r.Cgroup, Comm: p.comm(&r.Comm), Rank: event.NoRank,
		Runnable: int64(r.RunnableNs), Blocked: int64(r.BlockedNs),
	}
	if c := e.Op.Class(); !e.Op.IsCall() && c != event.Gap {
		e.Runnable, e.Blocked = -1, -1
	}
	return e, nil
}

// comm returns a thread's name; the few names there are share their memory.
func (p *Probe) comm(c *[16]int8) string {
	b := (*[16]byte)(unsafe.Pointer(c))
	if *b == p.lastComm {
		return p.lastName
	}
	name, ok := p.names[*b]
	if !ok {
		n := 0
		for n < len(b) && b[n] != 0 {
			n++
		}
		name = string(b[:n])
		if len(p.names) > 4096 {
			clear(p.names)
		}
		p.names[*b] = name
	}
	p.lastComm, p.lastName = *b, name
	return name
}

func bytesOf(c *[64]int8) []byte { return (*[64]byte)(unsafe.Pointer(c))[:] }

// lifeKinds translates the kernel side's enum process_kind.
var lifeKinds = map[bpfProcessKind]event.LifeKind{
	bpfProcessKindPROCESS_FOUND:       event.Found,
	bpfProcessKindPROCESS_EXEC:        event.Exec,
	bpfProcessKindPROCESS_EXIT:        event.Exit,
	bpfProcessKindPROCESS_FORK:        event.Fork,
	bpfProcessKindTHREAD_DIED_IN_CALL: event.DiedInCall,
	bpfProcessKindPROCESS_OOM:         event.OOMKill,
}

// ReadProcesses returns all process records that are waiting. It does not
// block.
func (p *Probe) ReadProcesses() ([]event.Life, error) {
	var all []event.Life
	p.life.SetDeadline(time.Unix(0, 1)) // in the past: take what is there
	var rec ringbuf.Record
	for {
		err := p.life.ReadInto(&rec)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return all, nil
		}
		if err != nil {
			return all, fmt.Errorf("read process records: %w", err)
		}
		if len(rec.RawSample) < int(unsafe.Sizeof(bpfProcessRecord{})) {
			return all, fmt.Errorf("process record of %d bytes", len(rec.RawSample))
		}
		r := (*bpfProcessRecord)(unsafe.Pointer(unsafe.SliceData(rec.RawSample)))
		e := event.Life{
			Kind: lifeKinds[bpfProcessKind(r.Kind)], Time: p.clock.Unix(r.TimeNs), PID: r.Pid, TID: r.Tid, Other: r.Other, UID: r.Uid,
			Status: r.Status, Start: p.clock.UnixBoot(r.StartBoottime), StartBoot: r.StartBoottime, Cgroup: r.Cgroup,
			Comm: p.comm(&r.Comm), OtherComm: p.comm(&r.OtherComm), Group: unix.ByteSliceToString(bytesOf(&r.MemoryGroup)),
		}
		if e.Kind == event.DiedInCall && int(r.Row) < len(p.rows) {
			e.Op, e.CallStart = p.rows[r.Row], p.clock.Unix(r.CallStartNs)
		}
		all = append(all, e)
	}
}
