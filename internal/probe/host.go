package probe

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"ingero/internal/event"
	"ingero/internal/proc"
)

// skips reports whether the user does not want the operation counted.
func (cfg Config) skips(op event.Op) bool {
	switch op.Source() {
	case event.IO:
		return cfg.NoIO
	case event.TCP:
		return cfg.NoTCP
	case event.Net:
		return cfg.NoNet
	}
	return false
}

// hostRows gives every operation of the host that the kernel side counts a
// row, after those of the calls: its variable row_NAME. An operation whose
// tracepoints this kernel lacks has none, which is a gap. What is left over,
// programs for operations that are not counted, is removed.
func (p *Probe) hostRows(spec *ebpf.CollectionSpec, kernel kernelTypes, cfg Config) error {
	lacks := kernel.lacking(spec)
	wanted, known := map[string]bool{}, map[string]bool{}
	for _, h := range event.HostOps {
		v := spec.Variables["row_"+h.Name]
		if v == nil {
			continue // not ours to count
		}
		hooks := strings.Fields(h.Hooks)
		missing := slices.DeleteFunc(slices.Clone(hooks), func(t string) bool { return !lacks[t] }) // those with ? are not known
		counted := !cfg.skips(h.ID) && len(missing) == 0
		for _, t := range hooks {
			t = strings.TrimSuffix(t, "?")
			known[t] = true
			wanted[t] = wanted[t] || counted
		}
		switch {
		case counted:
			if err := v.Set(uint32(len(p.rows))); err != nil {
				return fmt.Errorf("give %s its row: %w", h.Name, err)
			}
			p.rows = append(p.rows, h.ID)
		case !cfg.skips(h.ID):
			p.hostGaps = append(p.hostGaps, fmt.Sprintf("%s: this kernel has no tracepoint %s", h.Name, strings.Join(missing, ", ")))
		}
	}
	if len(p.rows) > costRow {
		return fmt.Errorf("%d rows of calls and operations of the host; the kernel side has room for %d", len(p.rows), costRow)
	}
	for name, prog := range spec.Programs {
		if t := hook(prog); t != "" && (lacks[t] || known[t] && !wanted[t]) {
			delete(spec.Programs, name)
			if lacks[t] && !known[t] {
				p.hostGaps = append(p.hostGaps, "this kernel has no tracepoint "+t)
			}
		}
	}
	slices.Sort(p.hostGaps)
	return nil
}

// hook is the tracepoint that a program belongs to, if it does to one.
func hook(prog *ebpf.ProgramSpec) string {
	if t, ok := strings.CutPrefix(prog.SectionName, "tp_btf/"); ok {
		return t
	}
	return ""
}

// kernelTypes is what the running kernel says of itself. To read it takes a
// tenth of a second: once is enough.
type kernelTypes struct{ *btf.Spec }

// lacking lists the tracepoints of our programs that the kernel does not have.
func (k kernelTypes) lacking(spec *ebpf.CollectionSpec) map[string]bool {
	lacks := map[string]bool{}
	for _, prog := range spec.Programs {
		if t := hook(prog); t != "" && k.tracepoint(t) == nil {
			lacks[t] = true
		}
	}
	return lacks
}

// tracepoint returns the arguments of a tracepoint, the first of which is
// not passed on to programs; nil if the kernel does not have it.
func (k kernelTypes) tracepoint(name string) []btf.FuncParam {
	var t *btf.Typedef
	if err := k.TypeByName("btf_trace_"+name, &t); err != nil {
		return nil
	}
	p, ok := btf.UnderlyingType(t.Type).(*btf.Pointer)
	if !ok {
		return nil
	}
	if proto, ok := p.Target.(*btf.FuncProto); ok {
		return proto.Params
	}
	return nil
}

// switchTellsState reports whether the sched_switch tracepoint says in what
// state the thread leaves (Linux 5.18); before that its own field must do.
func (k kernelTypes) switchTellsState() bool {
	return len(k.tracepoint("sched_switch")) == 5 // context, preempt, prev, next, prev_state
}

// victimIsTask reports whether the mark_victim tracepoint gets the task that
// is killed (Linux 6.9), and not its number.
func (k kernelTypes) victimIsTask() bool {
	args := k.tracepoint("mark_victim")
	if len(args) < 2 {
		return false
	}
	_, pointer := btf.UnderlyingType(args[1].Type).(*btf.Pointer)
	return pointer
}

// attachHost attaches every program that belongs to a tracepoint.
func (p *Probe) attachHost(spec *ebpf.CollectionSpec) error {
	for _, name := range slices.Sorted(maps.Keys(spec.Programs)) {
		if hook(spec.Programs[name]) == "" {
			continue
		}
		l, err := link.AttachTracing(link.TracingOptions{Program: p.kernel.Programs[name]})
		if err != nil {
			return fmt.Errorf("attach %s: %w", name, err)
		}
		p.keep(proc.FileID{}, l)
		p.hostSites++
	}
	return nil
}

// HostSites is the number of tracepoints that are attached.
func (p *Probe) HostSites() int { return p.hostSites }

// HostGaps says, in words, what of the host this kernel does not let us count.
func (p *Probe) HostGaps() []string { return p.hostGaps }
