// Package probe is the only one that talks to the kernel: it loads and
// attaches the programs of bpf/, reads what they write, and counts what was
// lost on the way.
package probe

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"

	"ingero/internal/event"
	"ingero/internal/proc"
	"ingero/internal/stats"
)

// Emit says which calls are recorded one by one. Counts and histograms do
// not depend on it: they are always complete.
type Emit = bpfEmit

// The values of Emit.
const (
	EmitNone   Emit = bpfEmitEMIT_NONE
	EmitPolicy Emit = bpfEmitEMIT_POLICY // what DESIGN.md calls stories: rare, slow, samples
	EmitAll    Emit = bpfEmitEMIT_ALL
)

// Config says what to trace.
type Config struct {
	Calls []event.Call // normally event.Calls
	Emit  Emit
	// UID traces every process of this user, Everyone those of all users.
	// Otherwise only processes given to Target, and their children.
	UID      *uint32
	Everyone bool
	Stacks   Stacks
	// StackBytes is the size of the ring of stacks, a power of two.
	StackBytes int
	// RingBytes is the size of the ring of call records, a power of two.
	RingBytes int
	// Single attaches one uprobe at a time, as kernels before 6.6 need.
	Single bool
	// What of the host is not to be looked at: block devices, TCP, sockets.
	NoIO, NoTCP, NoNet bool
}

// Probe is the loaded kernel side. One goroutine reads it; Attach, DetachFile,
// Target, Traced and Sites may be called from another.
type Probe struct {
	calls     []event.Call
	rows      []event.Op // by row: the calls, then operations of the host
	objs      objects
	kernel    *ebpf.Collection
	clock     *Clock
	records   *ringbuf.Reader
	stacks    *ringbuf.Reader
	life      *ringbuf.Reader
	cells     []bpfCell
	buckets   []bpfBucketRow
	unmap     []func() error
	mu        sync.Mutex
	links     map[proc.FileID][]link.Link // those of no file are under the zero id
	single    bool
	taken     map[uint32]*tally
	ledger    []bpfLedgerEntry
	settled   map[uint32]*bpfLedgerEntry
	pairs     map[any][2]uint64
	walk      *link.Iter
	unwind    *Unwind
	sites     int
	hostSites int
	hostGaps  []string
	sitesOf   map[proc.FileID]int
	record    ringbuf.Record
	names     map[[16]byte]string
	lastComm  [16]byte
	lastName  string
}

// objects are what we use by name. The programs of tracepoints are not among
// them: which there are depends on the kernel.
type objects struct {
	bpfMaps
	bpfVariables
	CallEnter     *ebpf.Program `ebpf:"call_enter"`
	CallExit      *ebpf.Program `ebpf:"call_exit"`
	LookAtThreads *ebpf.Program `ebpf:"look_at_threads"`
}

// Load puts the programs into the kernel and attaches those that follow
// processes. Library calls are not traced until Attach.
func Load(cfg Config) (*Probe, error) {
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		return nil, fmt.Errorf("the kernel does not describe its types (BTF): %w; "+
			"tracing needs Linux 5.15 or newer, built with CONFIG_DEBUG_INFO_BTF=y: see 'ingero check'", err)
	}
	clock, err := NewClock()
	if err != nil {
		return nil, err
	}
	p := &Probe{
		calls: cfg.Calls, clock: clock, single: cfg.Single || !haveUprobeMulti(),
		links: map[proc.FileID][]link.Link{}, sitesOf: map[proc.FileID]int{}, taken: map[uint32]*tally{}, names: map[[16]byte]string{},
		settled: map[uint32]*bpfLedgerEntry{}, pairs: map[any][2]uint64{},
	}
	for _, c := range cfg.Calls {
		p.rows = append(p.rows, c.ID)
	}
	if err := p.load(cfg); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (p *Probe) load(cfg Config) error {
	spec, err := loadBpf()
	if err != nil {
		return fmt.Errorf("read the embedded programs: %w", err)
	}
	types := btf.NewCache()
	kernel, err := types.Kernel()
	if err != nil {
		return fmt.Errorf("read the kernel's types: %w", err)
	}
	if err := p.hostRows(spec, kernelTypes{kernel}, cfg); err != nil {
		return err
	}
	if err := configure(spec, kernelTypes{kernel}, cfg); err != nil {
		return err
	}
	if !p.single {
		spec.Programs["call_enter"].AttachType = ebpf.AttachTraceUprobeMulti
		spec.Programs["call_exit"].AttachType = ebpf.AttachTraceUprobeMulti
	}
	if p.kernel, err = ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Cache: types}); err != nil {
		return fmt.Errorf("load the programs into the kernel: %w", explain(err))
	}
	if err := p.kernel.Assign(&p.objs); err != nil {
		return fmt.Errorf("find the loaded programs: %w", err)
	}
	p.unwind = newUnwind(&p.objs.bpfMaps, spec)
	if err := p.mapMemory(); err != nil {
		return err
	}
	if p.records, err = ringbuf.NewReader(p.objs.CallRecords); err != nil {
		return fmt.Errorf("open the ring of call records: %w", err)
	}
	if p.stacks, err = ringbuf.NewReader(p.objs.StackRecords); err != nil {
		return fmt.Errorf("open the ring of stacks: %w", err)
	}
	if p.life, err = ringbuf.NewReader(p.objs.ProcessRecords); err != nil {
		return fmt.Errorf("open the ring of process records: %w", err)
	}
	return p.attachHost(spec)
}

// configure writes the table and the options into read-only data.
func configure(spec *ebpf.CollectionSpec, kernel kernelTypes, cfg Config) error {
	var rows [event.MaxCalls]bpfCallSpec
	for i, c := range cfg.Calls {
		a := c.Args
		rows[i] = bpfCallSpec{
			Bytes: a.Bytes, Mul: a.Mul, Shift: a.Shift, Type: a.Type, Handle: a.Handle, Out: a.Out, Kind: a.Kind,
			Dir: uint8(a.Dir), Device: a.Device, NewCtx: a.NewCtx, Ctx: a.Ctx,
			Capture: uint8(captureRole(c)),
		}
		if c.Sampled() {
			rows[i].Sampled = 1
		}
	}
	mode, uid := bpfEnrollENROLL_NAMED, uint32(0)
	switch {
	case cfg.Everyone:
		mode = bpfEnrollENROLL_EVERYONE
	case cfg.UID != nil:
		mode, uid = bpfEnrollENROLL_USER, *cfg.UID
	}
	ring := uint32(cfg.RingBytes)
	if ring == 0 {
		ring = 8 << 20
	}
	spec.Maps["call_records"].MaxEntries = ring
	if cfg.StackBytes != 0 {
		spec.Maps["stack_records"].MaxEntries = uint32(cfg.StackBytes)
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("count the CPUs: %w", err)
	}
	spec.Maps["runqueues"].MaxEntries = uint32(cpus)
	for name, value := range map[string]any{
		"specs":         rows,
		"type_shifts":   uint32(event.TypeShifts),
		"bucket_bounds": stats.Bounds,
		"bucket_guess":  stats.Guess,
		"enrolling":     uint32(mode),
		"enroll_uid":    uid,
		"emitting":      uint32(cfg.Emit),
		"wake_bytes":    ring / 4,
		"stacks":        cfg.Stacks != StacksNone,
		"stack_samples": cfg.Stacks == StacksOfAll,
		"reason_of":     reasonTable(),
		"wakes_of":      wakerTable(),

		"switch_tells_state": kernel.switchTellsState(),
		"victim_is_task":     kernel.victimIsTask(),
	} {
		v := spec.Variables[name]
		if v == nil {
			return fmt.Errorf("the embedded programs have no variable %s; run 'make generate'", name)
		}
		if err := v.Set(value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

// captureRole is what a call has to do with the capture of a graph.
func captureRole(c event.Call) bpfCaptureRole {
	switch {
	case c.Begins:
		return bpfCaptureRoleCAPTURE_BEGINS
	case c.Class == event.Capture:
		return bpfCaptureRoleCAPTURE_ENDS
	case c.Class == event.Launch && c.ID.Source() == event.Graph, c.Class == event.Sync && c.Args.Handle == 0:
		return bpfCaptureRoleCAPTURE_OVER
	case c.Async:
		return bpfCaptureRoleCAPTURE_RECORDS
	}
	return bpfCaptureRoleCAPTURE_NONE
}

// explain adds what to do to an error of the loader.
func explain(err error) error {
	var ve *ebpf.VerifierError
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w; run as root (sudo), or grant CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN", err)
	case errors.Is(err, ebpf.ErrNotSupported):
		return fmt.Errorf("%w; ingero needs Linux 5.15 or newer with BTF: see 'ingero check'", err)
	case errors.As(err, &ve):
		return fmt.Errorf("%w; this is a bug: please report it with the output of 'ingero check'", err)
	}
	return err
}

// SetEmit changes what is recorded, at once.
func (p *Probe) SetEmit(e Emit) error {
	if err := p.objs.Emitting.Set(uint32(e)); err != nil {
		return fmt.Errorf("change what is recorded: %w", err)
	}
	return nil
}

// Target adds one process. Its children follow by themselves.
func (p *Probe) Target(pid int) error {
	if err := p.objs.Targets.Put(uint32(pid), uint8(1)); err != nil {
		return fmt.Errorf("trace process %d: %w", pid, err)
	}
	return nil
}

// Traced reports whether the kernel traces the process.
func (p *Probe) Traced(pid int) bool {
	var yes uint8
	return p.objs.Targets.Lookup(uint32(pid), &yes) == nil && yes == 1
}

// Clock turns kernel time into wall-clock time.
func (p *Probe) Clock() *Clock { return p.clock }

// Close detaches everything. The traced processes go on undisturbed.
func (p *Probe) Close() error {
	errs := []error{p.Detach()}
	if p.walk != nil {
		errs = append(errs, p.walk.Close())
	}
	for _, f := range p.unmap {
		errs = append(errs, f())
	}
	p.cells, p.buckets, p.ledger = nil, nil, nil
	for _, ring := range []*ringbuf.Reader{p.records, p.stacks, p.life} {
		if ring != nil {
			errs = append(errs, ring.Close())
		}
	}
	if p.unwind != nil {
		errs = append(errs, p.unwind.close())
	}
	errs = append(errs, p.objs.Close(), p.objs.CallEnter.Close(), p.objs.CallExit.Close(), p.objs.LookAtThreads.Close())
	if p.kernel != nil {
		p.kernel.Close()
	}
	return errors.Join(errs...)
}

// Detach removes the probes but keeps what they counted readable, so that
// the last drain is complete.
func (p *Probe) Detach() error {
	p.mu.Lock()
	all := p.links
	p.links = map[proc.FileID][]link.Link{}
	p.mu.Unlock()
	var list []link.Link
	for _, links := range all {
		list = append(list, links...)
	}
	return closeAll(list)
}

// DetachFile removes the probes of one file, which can then be unmounted.
func (p *Probe) DetachFile(id proc.FileID) error {
	p.mu.Lock()
	links := p.links[id]
	delete(p.links, id)
	p.sites -= p.sitesOf[id]
	delete(p.sitesOf, id)
	p.mu.Unlock()
	return closeAll(links)
}

func (p *Probe) keep(id proc.FileID, links ...link.Link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.links[id] = append(p.links[id], links...)
}

// closeAll closes links at once: each close waits for the kernel, a single
// uprobe's for 0.1 s, and so they wait together.
func closeAll(links []link.Link) error {
	errs := make([]error, len(links))
	var all sync.WaitGroup
	for i, l := range links {
		all.Go(func() { errs[i] = l.Close() })
	}
	all.Wait()
	return errors.Join(errs...)
}

var multi atomic.Int32 // 0 unknown, 1 yes, 2 no
