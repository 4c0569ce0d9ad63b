// Package check says whether this machine is ready to trace: one row for
// each thing that must or should be there, with the remedy where it is not.
// It changes nothing and needs no privileges.
package check

import (
	"context"
	"fmt"
	"strings"

	"ingero/internal/proc"
	"ingero/internal/sysinfo"
)

const (
	driverRow     = "NVIDIA driver"
	privilegesRow = "Privileges"
)

// Schema names the JSON form of a Report.
const Schema = "check/1"

// Report is the answer. OK is false when a required row is not.
type Report struct {
	Schema  string `json:"schema"`
	OK      bool   `json:"ok"`
	Summary string `json:"summary"`
	Checks  []Row  `json:"checks" rows:""`
}

// Row is one thing that was looked at.
type Row struct {
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Required bool   `json:"required"` // tracing does not work without it
	Value    string `json:"value"`    // what was found
	Detail   string `json:"detail"`   // what it means; may have several lines
	Remedy   string `json:"remedy"`   // what to do, usually a command; empty when OK
}

// Options says what to look at besides the machine itself.
type Options struct {
	DB      string // the database that trace would write
	DBError error  // why there is no telling which; nil if DB is set
	DBWrong error  // why trace could not record into DB; nil if it is good or missing
}

// Run looks at the machine.
func Run(ctx context.Context, o Options) Report {
	f := gather("/")
	f.machine = sysinfo.Describe(ctx)
	f.guess()
	f.lookForCUDA(proc.FS{Cache: &proc.Cache{}})
	f.installed = proc.Installed()
	db := database(o.DB)
	if o.DBWrong != nil {
		db = Row{Name: "Database", Value: o.DB, Detail: o.DBWrong.Error(), Remedy: otherDB}
	}
	if o.DBError != nil {
		db = Row{Name: "Database", Value: "not known", Detail: o.DBError.Error(), Remedy: otherDB}
	}
	return report(append(f.rows(), db))
}

// guess fills in what the type information would have said.
func (f *facts) guess() {
	if f.btf == 0 {
		f.cookie, f.ring, f.multi = f.since(5, 15), f.since(5, 8), f.since(6, 6)
	}
}

func report(rows []Row) Report {
	r := Report{Schema: Schema, Checks: rows}
	var failed, warned int
	gpu, root := true, true
	for i := range rows {
		switch {
		case rows[i].OK:
			rows[i].Remedy = ""
			continue
		case rows[i].Required:
			failed++
		default:
			warned++
		}
		gpu = gpu && rows[i].Name != driverRow
		root = root && rows[i].Name != privilegesRow
	}
	r.OK = failed == 0
	switch {
	case failed == 1:
		r.Summary = "1 required check failed  -  not ready to trace"
	case failed > 1:
		r.Summary = fmt.Sprintf("%d required checks failed  -  not ready to trace", failed)
	case warned == 0:
		r.Summary = "All checks passed  -  ready to trace!"
	case !root:
		r.Summary = "All required checks passed  -  ready to trace with sudo"
	case !gpu:
		r.Summary = "All required checks passed  -  ready to trace, but no NVIDIA GPU is here"
	default:
		r.Summary = "All required checks passed  -  ready to trace!"
	}
	return r
}

// facts is all that rows are made of.
type facts struct {
	machine   sysinfo.Machine
	euid      int
	caps      uint64 // effective capabilities, one bit each
	btf       int64  // bytes, 0 when missing
	cookie    bool   // a uprobe can carry a number: 5.15
	ring      bool   // ring buffers: 5.8
	multi     bool   // one link for many uprobes: 6.6
	uprobes   bool   // single ones, through perf
	paranoid  string // of perf events; empty when the kernel has none
	tracefs   string // where it is mounted
	lockdown  bool   // the kernel forbids programs to read its memory
	hardware  bool   // an NVIDIA device is on the PCI bus
	users     []user // processes that use CUDA
	hidden    int    // processes that only root may look at
	installed []proc.Binary
}

// user is a process that uses CUDA.
type user struct {
	pid  int
	comm string
	libs []proc.Binary
}

func (f *facts) rows() []Row {
	rows := []Row{
		f.kernel(), f.types(), f.driver(), f.gpu(), f.runtime(), f.library(), f.processes(),
		f.privileges(), f.probes(), f.ringBuffer(), f.perf(), f.traceFS(),
	}
	if f.lockdown {
		rows = append(rows, Row{
			Name: "Kernel lockdown", Required: true, Value: "confidentiality",
			Detail: "tracing programs may not read memory in this mode",
			Remedy: "boot with lockdown=integrity, or with Secure Boot off",
		})
	}
	return rows
}

func (f *facts) kernel() Row {
	r := Row{
		Name: "Kernel version", Required: true, Value: f.machine.Kernel, Detail: "need 5.15+",
		Remedy: "boot a kernel of 5.15 or later, as in Ubuntu 22.04, Debian 12 or RHEL 9",
	}
	r.OK = f.since(5, 15)
	if !r.OK && f.cookie && f.ring {
		r.OK = true // RHEL 9 is 5.14 with the features of later kernels
		r.Detail = "need 5.15+; this kernel has what we use of it"
	}
	return r
}

// since reports whether the kernel is of a version or later.
func (f *facts) since(major, minor int) bool {
	var a, b int
	fmt.Sscanf(f.machine.Kernel, "%d.%d", &a, &b) // zeros are too old
	return a > major || a == major && b >= minor
}

func (f *facts) types() Row {
	const path = "/sys/kernel/btf/vmlinux"
	if f.btf > 0 {
		return Row{Name: "BTF support", OK: true, Required: true, Value: path, Detail: fmt.Sprintf("available (%d bytes)", f.btf)}
	}
	return Row{
		Name: "BTF support", Required: true, Value: "not found", Detail: path + " describes the kernel's types to our programs",
		Remedy: "boot a distribution's kernel, or one built with CONFIG_DEBUG_INFO_BTF=y; in a container add -v /sys/kernel/btf:/sys/kernel/btf:ro",
	}
}

func (f *facts) driver() Row {
	d := f.machine.Driver
	r := Row{Name: driverRow, OK: d.Version != "", Required: f.hardware, Value: d.Version}
	switch {
	case r.OK && d.Open && d.Major() >= 550:
		r.Detail = "open kernel modules (550+)"
	case r.OK && d.Open:
		r.Detail = "open kernel modules"
	case r.OK:
		r.Detail = "proprietary kernel modules"
	case f.hardware:
		r.Value, r.Detail = "not loaded", "an NVIDIA device is on the PCI bus, but no driver answers"
		r.Remedy = "sudo modprobe nvidia; if that fails, install your distribution's NVIDIA driver"
	default:
		r.Value, r.Detail = "not loaded", "no NVIDIA device on this machine"
		r.Remedy = "to see ingero at work without a GPU: sudo ingero demo --live"
	}
	return r
}

func (f *facts) gpu() Row {
	r := Row{Name: "GPU model", OK: len(f.machine.GPUs) > 0, Required: f.hardware}
	count := map[string]int{}
	var models []string
	for _, g := range f.machine.GPUs {
		s := g.String()
		if count[s]++; count[s] == 1 {
			models = append(models, s)
		}
	}
	for i, s := range models {
		if n := count[s]; n > 1 {
			models[i] = fmt.Sprintf("%d × %s", n, s)
		}
	}
	r.Value = strings.Join(models, "; ")
	switch {
	case r.OK:
	case f.hardware:
		r.Value, r.Remedy = "none found", "nvidia-smi says what the driver sees"
	default:
		r.Value, r.Remedy = "none found", "run ingero on the machine that has the GPU"
	}
	return r
}
