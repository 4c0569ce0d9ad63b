package check

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Capabilities that tracing uses; see capability(7).
const (
	capSysPtrace = 19
	capSysAdmin  = 21
	capPerfmon   = 38
	capBPF       = 39
)

var capNames = []struct {
	bit  uint
	name string
}{{capBPF, "CAP_BPF"}, {capPerfmon, "CAP_PERFMON"}, {capSysAdmin, "CAP_SYS_ADMIN"}, {capSysPtrace, "CAP_SYS_PTRACE"}}

// gather reads what the kernel says of itself below root.
func gather(root string) facts {
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return nil
		}
		return b
	}
	exists := func(name string) bool {
		_, err := os.Stat(filepath.Join(root, name))
		return err == nil
	}
	f := facts{
		euid:     os.Geteuid(),
		caps:     effectiveCaps(read("proc/self/status")),
		paranoid: strings.TrimSpace(string(read("proc/sys/kernel/perf_event_paranoid"))),
		lockdown: bytes.Contains(read("sys/kernel/security/lockdown"), []byte("[confidentiality]")),
		uprobes:  exists("sys/bus/event_source/devices/uprobe/type"),
		tracefs:  tracefs(string(read("proc/self/mounts"))),
		hardware: hasNVIDIA(root),
	}
	// The type information names what the kernel can do, and anybody may read it.
	btf := read("sys/kernel/btf/vmlinux")
	f.btf = int64(len(btf))
	has := func(name string) bool { return bytes.Contains(btf, []byte("\x00"+name+"\x00")) }
	f.cookie, f.ring, f.multi = has("BPF_FUNC_get_attach_cookie"), has("BPF_MAP_TYPE_RINGBUF"), has("BPF_TRACE_UPROBE_MULTI")
	return f
}

func effectiveCaps(status []byte) uint64 {
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "CapEff:"); ok {
			n, _ := strconv.ParseUint(strings.TrimSpace(v), 16, 64) // none when odd
			return n
		}
	}
	return 0
}

// tracefs returns where it is mounted, the usual place first.
func tracefs(mounts string) string {
	for line := range strings.Lines(mounts) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "tracefs" {
			return f[1]
		}
	}
	return ""
}

// hasNVIDIA reports whether a display device of NVIDIA is on the PCI bus.
func hasNVIDIA(root string) bool {
	vendors, _ := filepath.Glob(filepath.Join(root, "sys/bus/pci/devices/*/vendor")) // a constant pattern
	for _, path := range vendors {
		vendor, err1 := os.ReadFile(path)
		class, err2 := os.ReadFile(filepath.Join(filepath.Dir(path), "class"))
		if err1 == nil && err2 == nil && bytes.HasPrefix(vendor, []byte("0x10de")) && bytes.HasPrefix(class, []byte("0x03")) {
			return true
		}
	}
	return false
}

// canTrace reports whether capabilities suffice to trace: CAP_SYS_ADMIN, or
// CAP_BPF with CAP_PERFMON.
func canTrace(caps uint64) bool {
	const both = 1<<capBPF | 1<<capPerfmon
	return caps&(1<<capSysAdmin) != 0 || caps&both == both
}

func (f *facts) privileges() Row {
	// A user who is not root is not a fault of the machine. Root without
	// capabilities is: a container that was given too little.
	r := Row{Name: privilegesRow, OK: canTrace(f.caps), Required: f.euid == 0, Value: "root"}
	if f.euid != 0 {
		r.Value = fmt.Sprintf("user %d", f.euid)
	}
	var have, lack []string
	for _, c := range capNames {
		if f.caps&(1<<c.bit) != 0 {
			have = append(have, c.name)
		} else {
			lack = append(lack, c.name)
		}
	}
	switch {
	case r.OK && len(lack) == 0:
		r.Detail = strings.Join(have, ", ")
	case r.OK:
		r.Detail = strings.Join(have, ", ") + "; without " + strings.Join(lack, ", ") + ", which processes in containers may need"
	case f.euid == 0:
		r.Detail = "without " + strings.Join(lack, ", ")
		r.Remedy = "run the container with --privileged --pid=host, or with --cap-add=BPF --cap-add=PERFMON --cap-add=SYS_ADMIN"
	default:
		r.Detail = "all commands but trace work so"
		r.Remedy = "sudo ingero trace"
	}
	return r
}

func (f *facts) probes() Row {
	r := Row{Name: "Uprobes", OK: f.multi || f.uprobes, Required: true}
	switch {
	case f.multi:
		r.Value, r.Detail = "uprobe_multi", "one link attaches a whole library"
	case f.uprobes:
		r.Value, r.Detail = "single", "no uprobe_multi before kernel 6.6: attaching takes a little longer"
	default:
		r.Value, r.Remedy = "not found", "boot a distribution's kernel, or one built with CONFIG_UPROBE_EVENTS=y"
	}
	return r
}

func (f *facts) ringBuffer() Row {
	r := Row{Name: "Ring buffer", OK: f.ring, Required: true, Value: "available"}
	if !f.ring {
		r.Value, r.Remedy = "not found", "boot a kernel of 5.15 or later with BTF"
	}
	return r
}

func (f *facts) perf() Row {
	r := Row{Name: "kernel.perf_event_paranoid", OK: f.paranoid != "", Required: true, Value: f.paranoid}
	if r.OK {
		r.Detail = "any value will do for root"
		return r
	}
	r.Value, r.Remedy = "not found", "boot a kernel built with CONFIG_PERF_EVENTS=y"
	return r
}

// traceFS passes either way: uprobes attach through perf and tracepoints
// through BTF. People who know other tracers look for this row.
func (f *facts) traceFS() Row {
	r := Row{Name: "tracefs", OK: true, Value: f.tracefs}
	if f.tracefs == "" {
		r.Value, r.Detail = "not mounted", "not needed: probes attach through perf and BTF"
	}
	return r
}
