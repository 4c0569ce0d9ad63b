package probe

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"

	"ingero/internal/event"
	"ingero/internal/proc"
)

// probed is a function that does nothing (probed_*.s). It is probed to learn
// what a probe costs on this machine. It has no frame and no safe point, so
// the Go runtime never looks at its return address while a return probe has
// replaced it.
func probed()

var probedAt uintptr // its first instruction

// costRow is the row that the probes of the measurement use. It is not in
// the table, so nothing of it is ever reported.
const costRow = event.MaxCalls - 1

// Cost is what probes add to a call, and what taking its stack adds to one
// that is recorded.
type Cost struct{ Call, Stack time.Duration }

// MeasureCost calls a function of our own with and without the probes and
// returns what they add to a call. It takes a few milliseconds and must come
// before anything is traced.
func (p *Probe) MeasureCost() (Cost, error) {
	done, cost := make(chan error), Cost{}
	go func() {
		// The kernel keeps state of this thread: never unlocked, it ends here.
		runtime.LockOSThread()
		var err error
		cost, err = p.measureCost()
		done <- err
	}()
	if err := <-done; err != nil {
		return Cost{}, fmt.Errorf("measure the cost of a probe: %w", err)
	}
	return cost, nil
}

func (p *Probe) measureCost() (c Cost, err error) {
	at, err := fileOffset(probedAt)
	if err != nil {
		return c, err
	}
	ex, err := link.OpenExecutable("/proc/self/exe")
	if err != nil {
		return c, err
	}
	bare := perCall()
	// Removed with all others at the end: removing takes longer than measuring.
	if err := p.attachOne(proc.FileID{}, ex, proc.Site{Row: costRow, Symbol: "probed", Offset: at}); err != nil {
		return c, err
	}
	// Its calls only: what the host does for us is nobody's business.
	if err := p.objs.Targets.Put(uint32(os.Getpid()), uint8(2)); err != nil {
		return c, err
	}
	if err := p.objs.Taking.Set(uint32(0)); err != nil {
		return c, err
	}
	watched := perCall()
	if err := p.objs.Taking.Set(uint32(1)); err != nil {
		return c, err
	}
	c.Call, c.Stack = max(watched-bare, 0), max(perCall()-watched, 0)
	return c, p.forget(uint32(os.Getpid()))
}

// perCall is the time of one call: the best of a few series, since whatever
// disturbs one only makes it longer.
func perCall() time.Duration {
	const calls, series = 200, 10
	times := make([]time.Duration, series)
	for i := range times {
		began := time.Now()
		for range calls {
			probed()
		}
		times[i] = time.Since(began) / calls
	}
	slices.Sort(times)
	return times[series/4]
}

// forget removes every trace of the measurement.
func (p *Probe) forget(pid uint32) error {
	errs := []error{p.objs.Targets.Delete(pid)}
	for i := event.MaxCalls; i < len(p.cells); i++ {
		if c := &p.cells[i]; c.Tgid == pid {
			if err := p.objs.CellIndex.Delete(bpfCellKey{Tgid: pid, Row: c.Row}); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				errs = append(errs, err)
			}
			p.buckets[i] = bpfBucketRow{}
			*c = bpfCell{}
			errs = append(errs, p.objs.FreeCells.Put(nil, uint32(i)))
		}
	}
	for _, ring := range []*ringbuf.Reader{p.records, p.stacks} {
		ring.SetDeadline(time.Unix(0, 1))
		var err error
		for err == nil {
			err = ring.ReadInto(&p.record)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// fileOffset turns an address of this program into an offset in its file.
func fileOffset(addr uintptr) (uint64, error) {
	for m, err := range (proc.FS{}).Mappings(os.Getpid()) {
		if err != nil {
			return 0, err
		}
		if uint64(addr) >= m.Start && uint64(addr) < m.End {
			return uint64(addr) - m.Start + m.Offset, nil
		}
	}
	return 0, fmt.Errorf("address %#x is not mapped", addr)
}
