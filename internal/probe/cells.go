package probe

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// Missed says how many calls of a row were not counted at all.
type Missed struct {
	Op       event.Op
	TooDeep  uint64
	NoThread uint64
}

// tally is the state of a cell at the last Drain.
type tally struct {
	cell   bpfCell
	counts []uint32
	delta  stats.Histogram
	recent stats.Histogram // of the last half minute or so: what is normal
	start  int64
}

// mapMemory makes cells, buckets and the ledger readable without system calls.
func (p *Probe) mapMemory() error {
	var err error
	if p.cells, err = mapArray[bpfCell](p, p.objs.Cells); err != nil {
		return err
	}
	if p.buckets, err = mapArray[bpfBucketRow](p, p.objs.Buckets); err != nil {
		return err
	}
	if p.ledger, err = mapArray[bpfLedgerEntry](p, p.objs.Ledger); err != nil {
		return err
	}
	for row := range event.MaxCalls { // shared cells, in the place of their row
		p.cells[row].Row = uint32(row)
	}
	return nil
}

func mapArray[T any](p *Probe, m *ebpf.Map) ([]T, error) {
	stride := int(unsafe.Sizeof(*new(T)))
	if int(m.ValueSize()) != stride {
		return nil, fmt.Errorf("map %v: value of %d bytes, expected %d", m, m.ValueSize(), stride)
	}
	n := int(m.MaxEntries())
	page := unix.Getpagesize()
	size := (n*((stride+7)&^7) + page - 1) / page * page
	b, err := unix.Mmap(m.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %v into memory: %w", m, err)
	}
	p.unmap = append(p.unmap, func() error { return unix.Munmap(b) })
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n), nil
}

// Drain calls f for every {process, call} and {process, operation of the host}
// that was active since the last Drain. The sum of all of them is exact: nothing is sampled or lost. Hist is
// valid until the next Drain.
func (p *Probe) Drain(f func(stats.Calls)) {
	for i := range p.cells {
		c := &p.cells[i]
		if i >= event.MaxCalls && atomic.LoadUint32(&c.Tgid) == 0 {
			continue
		}
		if int(c.Row) >= len(p.rows) {
			continue
		}
		p.drain(uint32(i), f)
	}
}

func (p *Probe) drain(i uint32, f func(stats.Calls)) {
	c := &p.cells[i]
	sum, counts := atomic.LoadUint64(&c.SumNs), &p.buckets[i].Count
	instant := atomic.LoadUint32(&counts[0]) // operations that take no time
	t := p.taken[i]
	if t == nil {
		if sum == 0 && instant == 0 {
			return
		}
		t = &tally{counts: make([]uint32, stats.Buckets)}
		if c.Tgid != 0 {
			t.start = p.clock.UnixBoot(c.StartBoottime)
		}
		p.taken[i] = t
	}
	if sum == t.cell.SumNs && instant == t.counts[0] && atomic.LoadUint64(&c.Lost) == t.cell.Lost {
		return // all others take more than 0 ns
	}
	t.delta.Reset()
	top := 0
	for b := range t.counts {
		// 32 bits wrap after hours; the difference of a second does not.
		if n := atomic.LoadUint32(&counts[b]); n != t.counts[b] {
			t.delta.AddBucket(b, uint64(n-t.counts[b]))
			t.counts[b] = n
			top = b
		}
	}
	now := bpfCell{
		SumNs: atomic.LoadUint64(&c.SumNs), MaxNs: atomic.SwapUint64(&c.MaxNs, 0), Bytes: atomic.LoadUint64(&c.Bytes),
		Nested: atomic.LoadUint64(&c.Nested), Errors: atomic.LoadUint64(&c.Errors),
		Recorded: atomic.LoadUint64(&c.Recorded), Lost: atomic.LoadUint64(&c.Lost),
	}
	if top > 0 && float64(now.MaxNs) < stats.Upper(top-1) {
		now.MaxNs = stats.Middle(top) // another CPU overwrote it
	}
	was := t.cell
	t.cell = now
	t.delta.AddSum(now.SumNs-was.SumNs, now.MaxNs)
	t.recent.Merge(&t.delta)
	f(stats.Calls{
		PID: c.Tgid, Start: t.start, Op: p.rows[c.Row], Hist: &t.delta,
		Nested: now.Nested - was.Nested, Errors: now.Errors - was.Errors, Bytes: now.Bytes - was.Bytes,
		Recorded: now.Recorded - was.Recorded, Lost: now.Lost - was.Lost,
	})
}

// Release drains the cells of a process that has ended and gives them back.
func (p *Probe) Release(pid uint32, startBoot uint64, f func(stats.Calls)) error {
	var errs []error
	for i := event.MaxCalls; i < len(p.cells); i++ {
		c := &p.cells[i]
		if c.Tgid != pid || (startBoot != 0 && c.StartBoottime != startBoot) {
			continue
		}
		p.drain(uint32(i), f)
		delete(p.taken, uint32(i))
		p.buckets[i] = bpfBucketRow{}
		*c = bpfCell{}
		if err := p.objs.FreeCells.Put(nil, uint32(i)); err != nil {
			errs = append(errs, fmt.Errorf("give back cell %d: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

// Missed returns the calls that no cell counted; normally none.
func (p *Probe) Missed() ([]Missed, error) {
	var all []Missed
	for row, c := range p.calls {
		var m bpfMissed
		if err := p.objs.MissedCalls.Lookup(uint32(row), &m); err != nil {
			return nil, fmt.Errorf("read missed calls: %w", err)
		}
		if m.TooDeep+m.NoThread > 0 {
			all = append(all, Missed{c.ID, m.TooDeep, m.NoThread})
		}
	}
	return all, nil
}

// samplesPerSecond is how many ordinary calls of each {process, call} are
// recorded, besides the slow ones.
const samplesPerSecond = 100

// SetPolicy looks at what is normal for every {process, call} and tells the
// kernel which of the next calls are worth a record: those slower than nearly
// all of the recent ones, and about samplesPerSecond of the others. Call it
// once a second, after Drain.
func (p *Probe) SetPolicy() {
	for i, t := range p.taken {
		c := &p.cells[i]
		n := t.delta.Count()
		slow := max(t.recent.Quantile(0.99), 2*t.recent.Quantile(0.5))
		atomic.StoreUint64(&c.SlowNs, slow)
		atomic.StoreUint32(&c.Stride, uint32(min(max(n/samplesPerSecond, 1), math.MaxUint32)))
		if t.recent.Count() > 30*max(n, samplesPerSecond) {
			t.recent = t.delta.Clone()
		}
		t.delta.Reset()
	}
}
