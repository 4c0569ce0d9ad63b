package check

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ingero/internal/event"
	"ingero/internal/proc"
	"ingero/internal/sysinfo"
)

var update = flag.Bool("update", false, "write what the rows say now to testdata")

// ready is the machine of the documentation.
func ready() facts {
	rt := proc.Binary{Path: "/usr/lib/x86_64-linux-gnu/libcudart.so.12", Libs: []event.Lib{event.CUDART}}
	drv := proc.Binary{Path: "/usr/lib/x86_64-linux-gnu/libcuda.so.1", Libs: []event.Lib{event.LIBCUDA}}
	return facts{
		machine: sysinfo.Machine{
			Kernel: "5.15.0-144-generic", Driver: sysinfo.Driver{Version: "580.126.09", Open: true},
			GPUs: []sysinfo.GPU{{Model: "NVIDIA GeForce RTX 3090 Ti", Memory: 24564}},
		},
		caps: 1<<41 - 1, btf: 5242880, cookie: true, ring: true, uprobes: true, paranoid: "2", tracefs: "/sys/kernel/tracing", hardware: true,
		users: []user{{4821, "python3", []proc.Binary{rt, drv}}},
	}
}

func TestRows(t *testing.T) {
	for name, change := range map[string]func(*facts){
		"ready": func(*facts) {},
		"laptop-user": func(f *facts) {
			f.machine = sysinfo.Machine{Kernel: "6.18.1"}
			f.euid, f.caps, f.users, f.hardware, f.multi, f.tracefs, f.hidden = 1000, 0, nil, false, true, "", 212
		},
		"bare-container": func(f *facts) {
			f.caps, f.btf, f.cookie, f.ring, f.users, f.tracefs = 1<<capSysPtrace, 0, false, false, nil, ""
			f.guess()
		},
		"driver-not-loaded": func(f *facts) { f.machine.Driver, f.machine.GPUs, f.users = sysinfo.Driver{}, nil, nil },
		"many-gpus": func(f *facts) {
			h := sysinfo.GPU{Model: "NVIDIA H100 80GB HBM3", Memory: 81559}
			f.machine.GPUs = []sysinfo.GPU{h, h, {Model: "NVIDIA T4"}, h}
			f.machine.Driver = sysinfo.Driver{Version: "470.256.02"}
			f.caps = 1<<capBPF | 1<<capPerfmon
			f.euid = 1000
			for pid := range 12 {
				f.users = append(f.users, user{5000 + pid, "worker", []proc.Binary{{Path: "/opt/venv/libcudart.so.11.0", Libs: []event.Lib{event.CUDART}}}})
			}
		},
		"idle": func(f *facts) {
			f.installed = f.users[0].libs
			f.users = nil
		},
		"rhel9":      func(f *facts) { f.machine.Kernel = "5.14.0-427.el9.x86_64" },
		"old-kernel": func(f *facts) { f.machine.Kernel, f.cookie = "5.4.0-1", false },
		"strict":     func(f *facts) { f.lockdown, f.uprobes, f.paranoid = true, false, "" },
	} {
		t.Run(name, func(t *testing.T) {
			f := ready()
			change(&f)
			got := text(report(f.rows()))
			path := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Error(d)
			}
		})
	}
}

func text(r Report) string {
	var b strings.Builder
	for _, c := range r.Checks {
		state := map[[2]bool]string{{true, true}: "ok", {true, false}: "ok", {false, true}: "FAILED", {false, false}: "warning"}[[2]bool{c.OK, c.Required}]
		fmt.Fprintf(&b, "%s: %s: %s\n", state, c.Name, c.Value)
		for l := range strings.Lines(c.Detail) {
			fmt.Fprintf(&b, "    %s\n", strings.TrimSpace(l))
		}
		if c.Remedy != "" {
			fmt.Fprintf(&b, "    fix: %s\n", c.Remedy)
		}
	}
	fmt.Fprintf(&b, "%v: %s\n", r.OK, r.Summary)
	return b.String()
}

func TestGather(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"proc/self/status":                         "Name:\tx\nCapEff:\t000001ffffffffff\n",
		"proc/sys/kernel/perf_event_paranoid":      "4\n",
		"proc/self/mounts":                         "proc /proc proc rw 0 0\ntracefs /sys/kernel/tracing tracefs rw 0 0\n",
		"sys/kernel/security/lockdown":             "none integrity [confidentiality]\n",
		"sys/bus/event_source/devices/uprobe/type": "8\n",
		"sys/kernel/btf/vmlinux":                   "\x00BPF_FUNC_get_attach_cookie\x00BPF_MAP_TYPE_RINGBUF\x00BPF_TRACE_UPROBE_MULTI\x00",
		"sys/bus/pci/devices/0000:00:02.0/vendor":  "0x8086\n",
		"sys/bus/pci/devices/0000:00:02.0/class":   "0x030000\n",
		"sys/bus/pci/devices/0000:01:00.0/vendor":  "0x10de\n",
		"sys/bus/pci/devices/0000:01:00.0/class":   "0x030200\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, empty := gather(root), gather(t.TempDir())
	all := cmp.AllowUnexported(facts{}, user{})
	want := facts{
		euid: os.Geteuid(), caps: 1<<41 - 1, btf: 72, cookie: true, ring: true, multi: true, uprobes: true,
		paranoid: "4", tracefs: "/sys/kernel/tracing", lockdown: true, hardware: true,
	}
	if d := cmp.Diff(want, got, all); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(facts{euid: os.Geteuid()}, empty, all); d != "" {
		t.Error(d)
	}
	// The graphics card's sound device alone is none.
	if err := os.WriteFile(filepath.Join(root, "sys/bus/pci/devices/0000:01:00.0/class"), []byte("0x040300\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if hasNVIDIA(root) {
		t.Error("a sound device is no GPU")
	}
}

func TestDatabase(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "there.db")
	if err := os.WriteFile(file, make([]byte, 5<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file:                             "5.0 MB recorded",
		filepath.Join(dir, "a/b/new.db"): "will be created",
	} {
		if r := database(path); !strings.HasPrefix(r.Detail, want) || r.Required || r.Value != path {
			t.Errorf("%s: %+v", path, r)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "a")); err == nil {
		t.Error("looking created a folder")
	}
	for _, path := range []string{dir, "/proc/nowhere/x.db"} {
		if r := database(path); r.OK || r.Remedy == "" {
			t.Errorf("%s: %+v", path, r)
		}
	}
}

// On the machine at hand the report is complete and consistent.
func TestRun(t *testing.T) {
	r := Run(t.Context(), Options{DB: filepath.Join(t.TempDir(), "x.db")})
	if len(r.Checks) < 13 || r.Schema != "check/1" || r.Summary == "" {
		t.Errorf("got %+v", r)
	}
	for _, c := range r.Checks {
		if c.Name == "" || c.Value == "" || c.OK != (c.Remedy == "") {
			t.Errorf("got %+v", c)
		}
	}
	t.Log(text(r))
}
