package probe

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// switchTellsState reports whether the sched_switch tracepoint says in what
// state the thread leaves (Linux 5.18); before that its own field must do.
func switchTellsState() bool {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return false
	}
	var t *btf.Typedef
	if err := spec.TypeByName("btf_trace_sched_switch", &t); err != nil {
		return false
	}
	p, ok := btf.UnderlyingType(t.Type).(*btf.Pointer)
	if !ok {
		return false
	}
	proto, ok := p.Target.(*btf.FuncProto)
	return ok && len(proto.Params) == 5 // context, preempt, prev, next, prev_state
}

// lookAtThreads makes the kernel walk over all threads: those of traced
// processes get their books, and all books are brought up to now.
func (p *Probe) lookAtThreads() error {
	if p.walk == nil {
		l, err := link.AttachIter(link.IterOptions{Program: p.objs.LookAtThreads})
		if err != nil {
			return fmt.Errorf("look at all threads: %w", err)
		}
		p.walk = l
	}
	r, err := p.walk.Open()
	if err != nil {
		return fmt.Errorf("look at all threads: %w", err)
	}
	_, err = io.Copy(io.Discard, r)
	return errors.Join(err, r.Close())
}

// DrainLedger calls f for every thread and place that time was spent at since
// the last time. Together they are all the time these threads lived.
func (p *Probe) DrainLedger(f func(stats.Ledger)) error {
	if err := p.lookAtThreads(); err != nil {
		return err
	}
	ended := map[thread]bool{}
	for i := range p.ledger {
		e := &p.ledger[i]
		if atomic.LoadUint32(&e.Tgid) == 0 {
			continue
		}
		if e.Ended != 0 {
			ended[thread{e.Tid, e.StartBoottime}] = true
		}
		p.drainEntry(uint32(i), f)
	}
	if len(ended) == 0 {
		return nil
	}
	var errs []error
	for i := range p.ledger {
		e := &p.ledger[i]
		if e.Tgid == 0 || !ended[thread{e.Tid, e.StartBoottime}] {
			continue
		}
		p.drainEntry(uint32(i), f)
		delete(p.settled, uint32(i))
		*e = bpfLedgerEntry{}
		errs = append(errs, p.objs.FreeEntries.Put(nil, uint32(i)))
	}
	return errors.Join(errs...)
}

type thread struct {
	tid   uint32
	start uint64
}

func (p *Probe) drainEntry(i uint32, f func(stats.Ledger)) {
	e := &p.ledger[i]
	was := p.settled[i]
	if was == nil {
		was = &bpfLedgerEntry{}
		p.settled[i] = was
	}
	l := stats.Ledger{PID: e.Tgid, TID: e.Tid, Start: p.clock.UnixBoot(e.StartBoottime), Comm: p.comm(&e.Comm)}
	if int(e.Place) < len(p.calls) {
		l.Place = p.calls[e.Place].ID
	}
	var any uint64
	for s := range l.NS {
		ns, n := atomic.LoadUint64(&e.Ns[s]), atomic.LoadUint64(&e.Count[s])
		l.NS[s], l.Count[s] = ns-was.Ns[s], n-was.Count[s]
		l.Max[s] = atomic.SwapUint64(&e.MaxNs[s], 0)
		was.Ns[s], was.Count[s] = ns, n
		any += l.NS[s] + l.Count[s]
	}
	if any > 0 {
		f(l)
	}
}

// DrainPairs calls f for every thief and waker since the last time.
func (p *Probe) DrainPairs(f func(stats.Pair)) error {
	var thief bpfPairKey
	var waker bpfWakerKey
	var pair bpfPair
	seen := map[any]bool{}
	delta := func(key any) (ns, n uint64) {
		was := p.pairs[key]
		p.pairs[key] = [2]uint64{pair.Ns, pair.Count}
		seen[key] = true
		if pair.Ns < was[0] {
			was = [2]uint64{} // the kernel forgot it meanwhile and began anew
		}
		return pair.Ns - was[0], pair.Count - was[1]
	}
	all := p.objs.Thieves.Iterate()
	for all.Next(&thief, &pair) {
		if ns, n := delta(thief); n > 0 {
			f(stats.Pair{PID: thief.Victim, State: event.Runnable, OtherPID: thief.Other, OtherComm: p.comm(&pair.Comm), NS: ns, Count: n})
		}
	}
	err := all.Err()
	all = p.objs.Wakers.Iterate()
	for all.Next(&waker, &pair) {
		if ns, n := delta(waker); n > 0 {
			f(stats.Pair{
				PID: waker.Tgid, TID: waker.Tid, State: event.State(waker.State), OtherPID: waker.OtherTgid, OtherTID: waker.OtherTid,
				OtherComm: p.comm(&pair.Comm), NS: ns, Count: n,
			})
		}
	}
	for key := range p.pairs {
		if !seen[key] {
			delete(p.pairs, key)
		}
	}
	if err = errors.Join(err, all.Err()); errors.Is(err, ebpf.ErrIterationAborted) {
		return nil // it changed under our hands: the rest comes next second
	}
	return err
}
