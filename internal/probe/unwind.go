package probe

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"github.com/cilium/ebpf"

	"ingero/internal/unwind"
)

// Unwind is the kernel's side of an unwind.Manager: the tables that stacks
// are walked by.
type Unwind struct {
	maps    *bpfMaps
	spec    *ebpf.MapSpec // of a region
	mu      sync.Mutex
	regions map[uint32]*ebpf.Map
	scratch bpfUnwindProcess
}

// Unwind returns what an unwind.Manager writes to. Regions are freed with the
// Probe.
func (p *Probe) Unwind() *Unwind { return p.unwind }

func newUnwind(maps *bpfMaps, spec *ebpf.CollectionSpec) *Unwind {
	return &Unwind{maps: maps, spec: spec.Maps["unwind_regions"].InnerMap, regions: map[uint32]*ebpf.Map{}}
}

var _ unwind.Kernel = (*Unwind)(nil)

// WriteWords writes tables. A region is made when the first of its words is
// written: 512 KiB.
func (u *Unwind) WriteWords(at uint32, words []uint64) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(words) > 0 {
		m, err := u.region(at / unwind.RegionWords)
		if err != nil {
			return err
		}
		mem, err := m.Memory()
		if err != nil {
			return fmt.Errorf("map a region of unwind tables: %w", err)
		}
		slot := at % unwind.RegionWords
		n := min(len(words), int(unwind.RegionWords-slot))
		if _, err := mem.WriteAt(unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), n*8), int64(slot)*8); err != nil {
			return fmt.Errorf("write a region of unwind tables: %w", err)
		}
		at += uint32(n)
		words = words[n:]
	}
	return nil
}

func (u *Unwind) region(n uint32) (*ebpf.Map, error) {
	if m := u.regions[n]; m != nil {
		return m, nil
	}
	m, err := ebpf.NewMap(u.spec)
	if err != nil {
		return nil, fmt.Errorf("make a region for unwind tables: %w", err)
	}
	if err := u.maps.UnwindRegions.Put(n, m); err != nil {
		m.Close()
		return nil, fmt.Errorf("add a region for unwind tables: %w", err)
	}
	u.regions[n] = m
	return m, nil
}

// DropRegion frees a region.
func (u *Unwind) DropRegion(n uint32) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	m := u.regions[n]
	if m == nil {
		return nil
	}
	delete(u.regions, n)
	return errors.Join(u.maps.UnwindRegions.Delete(n), m.Close())
}

// SetMappings says what a process maps, at most unwind.MaxMappings of it.
func (u *Unwind) SetMappings(pid int, all []unwind.Mapping) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	to := &u.scratch
	n := min(len(all), len(to.Mappings))
	to.Count = uint32(n)
	for i, m := range all[:n] {
		to.Mappings[i].Start, to.Mappings[i].Size = m.Start, m.Size
		to.Mappings[i].Text, to.Mappings[i].Index = m.Text, m.Index
	}
	if err := u.maps.UnwindMappings.Put(uint32(pid), to); err != nil {
		return fmt.Errorf("tell the kernel what process %d maps: %w", pid, err)
	}
	return nil
}

// DropMappings forgets a process.
func (u *Unwind) DropMappings(pid int) error {
	err := u.maps.UnwindMappings.Delete(uint32(pid))
	err2 := u.maps.UnwindMisses.Delete(uint32(pid))
	for _, err := range []error{err, err2} {
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("forget what process %d maps: %w", pid, err)
		}
	}
	return nil
}

// Misses calls f for each process whose stacks met unknown code.
func (u *Unwind) Misses(f func(pid int, count uint64)) error {
	var pid uint32
	var count uint64
	all := u.maps.UnwindMisses.Iterate()
	for all.Next(&pid, &count) {
		f(int(pid), count)
	}
	if err := all.Err(); err != nil {
		return fmt.Errorf("read which stacks met unknown code: %w", err)
	}
	return nil
}

// Walks says how the walks of stacks ended.
type Walks struct {
	Complete    uint64 // at the outermost frame
	NoRule      uint64 // in code without a rule and without a frame pointer
	Unsupported uint64 // at a rule that is not supported
	Unreadable  uint64 // where there is no stack, or it is paged out
	TooDeep     uint64
}

// Walks counts since Load.
func (u *Unwind) Walks() (Walks, error) {
	var sum [bpfUnwindOutcomeUNWIND_OUTCOMES]uint64
	for i := range sum {
		var cpus []uint64
		if err := u.maps.UnwindOutcomes.Lookup(uint32(i), &cpus); err != nil {
			return Walks{}, fmt.Errorf("read how walks of stacks ended: %w", err)
		}
		for _, n := range cpus {
			sum[i] += n
		}
	}
	return Walks{
		sum[bpfUnwindOutcomeUNWIND_COMPLETE], sum[bpfUnwindOutcomeUNWIND_NO_RULE],
		sum[bpfUnwindOutcomeUNWIND_NOT_KNOWN], sum[bpfUnwindOutcomeUNWIND_UNREADABLE], sum[bpfUnwindOutcomeUNWIND_TOO_DEEP],
	}, nil
}

func (u *Unwind) close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	var errs []error
	for n, m := range u.regions {
		delete(u.regions, n)
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}
