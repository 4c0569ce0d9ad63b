package probe

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/cilium/ebpf/link"

	"ingero/internal/stats"
)

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
	if int(e.Place) < len(p.rows) {
		l.Place = p.rows[e.Place]
	}
	var any uint64
	for s := range l.NS {
		ns, n := atomic.LoadUint64(&e.Ns[s]), atomic.LoadUint64(&e.Count[s])
		l.NS[s], l.Count[s] = ns-was.Ns[s], n-was.Count[s]
		l.Max[s] = atomic.SwapUint64(&e.MaxNs[s], 0)
		was.Ns[s], was.Count[s] = ns, n
		any += l.NS[s] + l.Count[s]
	}
	if any > 0 && l.PID != ourselves {
		f(l)
	}
}

// ourselves: the measurement of the cost leaves books of our own threads.
var ourselves = uint32(os.Getpid())
