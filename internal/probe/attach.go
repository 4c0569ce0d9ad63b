package probe

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"ingero/internal/proc"
)

// Attached is the result of Attach.
type Attached struct {
	Sites   int   // functions now traced, each by an entry and a return probe
	Rows    []int // of the table, one for each of them
	Missing []int // rows of the table that the binary does not export
	Failed  []error
	Again   bool // the file was attached before; nothing was done
}

// Attach traces all calls of the table that the binary holds, in every
// process that maps it now or later. Each file is attached once.
func (p *Probe) Attach(b proc.Binary) (Attached, error) {
	p.mu.Lock()
	_, again := p.links[b.ID]
	p.mu.Unlock()
	if again {
		return Attached{Again: true}, nil
	}
	sites, missing, err := b.Sites(p.calls)
	if err != nil {
		return Attached{}, fmt.Errorf("find the functions of %s: %w", b.Path, err)
	}
	a := Attached{Missing: missing}
	if len(sites) == 0 {
		return a, nil
	}
	ex, err := link.OpenExecutable(b.Open)
	if err != nil {
		return a, fmt.Errorf("open %s: %w", b.Path, err)
	}
	if p.single || p.attachAll(b.ID, ex, sites) != nil {
		// One bad site fails them all; alone, the others still work.
		for _, s := range sites {
			if err := p.attachOne(b.ID, ex, s); err != nil {
				a.Failed = append(a.Failed, err)
				continue
			}
			a.Rows = append(a.Rows, s.Row)
		}
	} else {
		for _, s := range sites {
			a.Rows = append(a.Rows, s.Row)
		}
	}
	a.Sites = len(a.Rows)
	if a.Sites == 0 {
		return a, fmt.Errorf("attach to %s: %w", b.Path, a.Failed[0])
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sites += a.Sites
	p.sitesOf[b.ID] = a.Sites
	return a, nil
}

// Sites is the number of functions traced now.
func (p *Probe) Sites() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sites
}

func (p *Probe) attachAll(id proc.FileID, ex *link.Executable, sites []proc.Site) error {
	opts := &link.UprobeMultiOptions{}
	for _, s := range sites {
		opts.Addresses = append(opts.Addresses, s.Offset)
		opts.Cookies = append(opts.Cookies, uint64(s.Row))
	}
	// The return side first: a call that enters before its return probe is
	// set would stay in flight for ever.
	out, err := ex.UretprobeMulti(nil, p.objs.CallExit, opts)
	if err != nil {
		return err
	}
	in, err := ex.UprobeMulti(nil, p.objs.CallEnter, opts)
	if err != nil {
		return errors.Join(err, out.Close())
	}
	p.keep(id, out, in)
	return nil
}

func (p *Probe) attachOne(id proc.FileID, ex *link.Executable, s proc.Site) error {
	if !p.single {
		if err := p.attachAll(id, ex, []proc.Site{s}); err != nil {
			return fmt.Errorf("probe %s: %w", s.Symbol, err)
		}
		return nil
	}
	opts := &link.UprobeOptions{Address: s.Offset, Cookie: uint64(s.Row)}
	out, err := ex.Uretprobe(s.Symbol, p.objs.CallExit, opts)
	if err != nil {
		return fmt.Errorf("probe the return of %s: %w", s.Symbol, err)
	}
	in, err := ex.Uprobe(s.Symbol, p.objs.CallEnter, opts)
	if err != nil {
		return errors.Join(fmt.Errorf("probe %s: %w", s.Symbol, err), out.Close())
	}
	p.keep(id, out, in)
	return nil
}

// haveUprobeMulti reports whether the kernel attaches many uprobes by one
// link (Linux 6.6). It asks once, with a program that does nothing and an
// address that does not exist: a kernel that knows the link type complains
// about the address.
func haveUprobeMulti() bool {
	if known := multi.Load(); known != 0 {
		return known == 1
	}
	ok := probeUprobeMulti()
	if ok {
		multi.Store(1)
	} else {
		multi.Store(2)
	}
	return ok
}

func probeUprobeMulti() bool {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.Kprobe,
		AttachType:   ebpf.AttachTraceUprobeMulti,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
		License:      "Dual BSD/GPL",
	})
	if err != nil {
		return false
	}
	defer prog.Close()
	ex, err := link.OpenExecutable("/proc/self/exe")
	if err != nil {
		return false
	}
	l, err := ex.UprobeMulti(nil, prog, &link.UprobeMultiOptions{Addresses: []uint64{1 << 60}})
	if err == nil {
		l.Close()
		return true
	}
	return !errors.Is(err, ebpf.ErrNotSupported)
}
