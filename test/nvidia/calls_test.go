package nvidia

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"ingero/internal/bpftest"
	"ingero/internal/event"
	"ingero/internal/proc"
)

// libcudart asks cuGetProcAddress where the driver's functions are. It must
// answer with the exported ones: else probes there would see none of its
// calls.
func TestEntryPointsAreExports(t *testing.T) {
	want(t)
	for _, l := range []library{driver470, driver535, driver550} {
		out, err := exec.CommandContext(t.Context(), "python3", "calls.py", "--libcuda", l.file(t), "--entry-points").Output()
		if err != nil {
			t.Fatal(err)
		}
		var differ []string
		if err := json.Unmarshal(out, &differ); err != nil {
			t.Fatal(err)
		}
		if len(differ) > 0 {
			t.Errorf("%s: %v have a second entry point", l.suite, differ)
		}
	}
}

// truth is what calls.py prints.
type truth struct {
	Calls   map[string]uint64 `json:"calls"`
	Returns map[string]int32  `json:"returns"`
}

// Probes at the chosen sites see every call, and its return code.
func TestProbesSeeEveryCall(t *testing.T) {
	want(t)
	bpftest.NeedBPF(t)
	for _, c := range []struct {
		driver, runtime library
	}{{driver550, runtime124}, {driver550, library{}}, {driver535, runtime118}, {driver470, runtime112}, {driver470, library{}}} {
		t.Run(fmt.Sprint(c.driver.suite, "-", c.runtime.pkg), func(t *testing.T) {
			args := []string{"calls.py", "--wait-stdin", "--libcuda", c.driver.file(t)}
			files := []string{c.driver.file(t)}
			if c.runtime.pkg != "" {
				args = append(args, "--libcudart", c.runtime.file(t))
				files = append(files, c.runtime.file(t))
			}
			p := attach(t, files)
			got := start(t, args)
			for _, symbol := range slices.Sorted(maps.Keys(got.Calls)) {
				calls, code := p.seen(t, symbol)
				// The runtime calls the driver as well, in its own time.
				ok := calls == got.Calls[symbol]
				if c.runtime.pkg != "" && symbol[:4] != "cuda" {
					ok = calls >= got.Calls[symbol]
				}
				if !ok || code != got.Returns[symbol] {
					t.Errorf("%s: saw %d calls, the last returned %d; made %d, which returned %d",
						symbol, calls, code, got.Calls[symbol], got.Returns[symbol])
				}
				if calls != got.Calls[symbol] {
					t.Logf("%s: %d calls made by the runtime", symbol, calls-got.Calls[symbol])
				}
			}
		})
	}
}

func start(t *testing.T, args []string) truth {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "python3", args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(time.Minute, func() { cmd.Process.Kill() }).Stop()
	if _, err := in.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var tr truth
	if err := json.Unmarshal(out, &tr); err != nil {
		t.Fatal(err)
	}
	return tr
}

// probes count in the kernel, apart from anything else of ours.
type probes struct {
	counts  *ebpf.Map // by cookie: calls entered
	returns *ebpf.Map // by cookie: the last return code
	cookie  map[string]uint64
}

const maxCookies = 1024

// attach puts an entry and a return probe on every site of the files.
func attach(t *testing.T, files []string) *probes {
	t.Helper()
	p := &probes{cookie: map[string]uint64{}}
	p.counts, p.returns = array(t), array(t)
	entry := program(t, p.counts, asm.Instructions{asm.Mov.Imm(asm.R1, 1), asm.StoreXAdd(asm.R0, asm.R1, asm.DWord)})
	// R6 holds the registers; rax is the 11th of struct pt_regs on amd64.
	exit := program(t, p.returns, asm.Instructions{asm.LoadMem(asm.R1, asm.R6, 80, asm.DWord), asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord)})
	for _, path := range files {
		b, err := proc.OpenBinary(path)
		if err != nil {
			t.Fatal(err)
		}
		sites, _, err := b.Sites(event.Calls)
		if err != nil {
			t.Fatal(err)
		}
		ex, err := link.OpenExecutable(path)
		if err != nil {
			t.Fatal(err)
		}
		opts := &link.UprobeMultiOptions{}
		for _, s := range sites {
			opts.Addresses = append(opts.Addresses, s.Offset)
			opts.Cookies = append(opts.Cookies, uint64(len(p.cookie)))
			p.cookie[s.Symbol] = uint64(len(p.cookie))
		}
		for _, put := range []func() (link.Link, error){
			func() (link.Link, error) { return ex.UprobeMulti(nil, entry, opts) },
			func() (link.Link, error) { return ex.UretprobeMulti(nil, exit, opts) },
		} {
			l, err := put()
			if errors.Is(err, ebpf.ErrNotSupported) {
				t.Skip("needs uprobe_multi, kernel 6.6 or later")
			}
			if err != nil {
				t.Fatalf("attach to %s: %v", path, err)
			}
			t.Cleanup(func() { l.Close() })
		}
		t.Logf("%s: %d sites, entry and return", b.Build, len(sites))
	}
	return p
}

func array(t *testing.T) *ebpf.Map {
	t.Helper()
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: maxCookies})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// program looks up the slot of the probe's cookie and does something with
// it, in R0.
func program(t *testing.T, m *ebpf.Map, do asm.Instructions) *ebpf.Program {
	t.Helper()
	ins := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.FnGetAttachCookie.Call(),
		asm.StoreMem(asm.RFP, -4, asm.R0, asm.Word),
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "end"),
	}
	ins = append(ins, do...)
	ins = append(ins, asm.Mov.Imm(asm.R0, 0).WithSymbol("end"), asm.Return())
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.Kprobe, AttachType: ebpf.AttachTraceUprobeMulti, License: "GPL", Instructions: ins})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { prog.Close() })
	return prog
}

// seen returns how often a function was entered and what it returned last.
func (p *probes) seen(t *testing.T, symbol string) (calls uint64, code int32) {
	t.Helper()
	n, ok := p.cookie[symbol]
	if !ok {
		t.Fatalf("%s has no site", symbol)
	}
	var b [8]byte
	if err := p.counts.Lookup(uint32(n), &calls); err != nil {
		t.Fatal(err)
	}
	if err := p.returns.Lookup(uint32(n), &b); err != nil {
		t.Fatal(err)
	}
	return calls, int32(binary.NativeEndian.Uint64(b[:]))
}
