package probe

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ingero/internal/event"
	"ingero/internal/proc"
	"ingero/internal/symbol"
)

// caller makes calls of every kind from functions with known names.
const caller = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct { unsigned x, y, z; } dim3;
int cudaMalloc(void **p, size_t n);
int cudaFree(void *p);
int cudaDeviceSynchronize(void);
int cudaLaunchKernel(const void *f, dim3 grid, dim3 block, void **args, size_t shared, void *s);

#define KEEP __attribute__((noinline, noclone))
static volatile int after; /* a call that is followed by something is not a jump */

KEEP void allocate(int n) { void *p; cudaMalloc(&p, n); cudaFree(p); after++; }
KEEP void launch(void) { dim3 one = { 1, 1, 1 }; cudaLaunchKernel("kernel", one, one, 0, 0, 0); after++; }
KEEP void descend(int n) { if (n) descend(n - 1); else cudaDeviceSynchronize(); after++; }
KEEP void step(void) { allocate(4096); launch(); descend(5); after++; }
KEEP void vary(int n) { if (n) vary(n - 1); allocate(8); after++; }
KEEP void train(int steps) { for (int i = 0; i < steps; i++) step(); after++; }

KEEP void late(const char *file)
{
	void *lib = dlopen(file, RTLD_NOW);
	void (*f)(void (*)(void)) = (void (*)(void (*)(void)))dlsym(lib, "plugin_step");

	f(launch);
	after++;
}

static char where[4096];

KEEP void go_on(void) { char c; printf("\n"); fflush(stdout); if (read(0, &c, 1) != 1) exit(0); after++; }

int main(int argc, char **argv)
{
	go_on();
	train(atoi(argv[1]));
	if (argc > 2)
		late(argv[2]);
	go_on();
	for (int i = 0; i < 10; i++) { vary(50); usleep(30000); } /* 51 stacks */
	go_on();
	return after == 0;
}
`

const plugin = `
static volatile int after;
void plugin_step(void (*f)(void)) { f(); after++; }
`

// compile builds a C program that keeps frame pointers and links the
// simulated runtime in dir.
func compile(t *testing.T, dir, name, text string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("needs gcc")
	}
	source, out := filepath.Join(dir, name+".c"), filepath.Join(dir, name)
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"-O1", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls", "-o", out, source}, args...)
	if text, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, text)
	}
	return out
}

func program(t *testing.T, dir string) string {
	return compile(t, dir, "caller", caller, "-L"+dir, "-l:libcudart.so.12", "-Wl,-rpath,"+dir, "-ldl")
}

// stacksOf resolves all stacks while the process lives, as functions down to
// main, by hash.
func (s *session) stacksOf() map[uint64]string {
	s.t.Helper()
	for s.once(0) > 0 {
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	symbols := symbol.New(symbol.Options{})
	defer symbols.Close()
	out := map[uint64]string{}
	for _, raw := range s.stacks {
		var path []string
		start, err := proc.FS{}.StartOf(raw.StartBoot)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, f := range symbols.Resolve(int(raw.PID), start, raw.IPs) {
			name, _, _ := strings.Cut(f.Symbol, "+")
			if f.Inlined {
				continue
			}
			if name == "" {
				name = "(" + f.File + ")"
			}
			path = append(path, name)
			if path[len(path)-1] == "main" {
				break
			}
		}
		if old, twice := out[raw.Hash]; twice {
			s.t.Errorf("stack %x was told twice: %s", raw.Hash, old)
		}
		out[raw.Hash] = strings.Join(path, " < ")
	}
	return out
}

// Every recorded call has a stack, from the traced function to main, through
// other traced functions in flight; each stack is told once.
func TestStacks(t *testing.T) {
	dir := sim(t)
	bin := program(t, dir)
	so := compile(t, dir, "plugin.so", plugin, "-shared", "-fPIC")
	for _, single := range []bool{false, true} {
		t.Run(fmt.Sprintf("single=%v", single), func(t *testing.T) {
			rows := event.Calls
			if single {
				rows = slices.DeleteFunc(slices.Clone(rows), func(c event.Call) bool {
					return !slices.Contains([]string{"cudaMalloc", "cuMemAlloc", "cudaDeviceSync", "cuCtxSynchronize", "cudaLaunchKernel", "cuLaunchKernel"}, c.Name)
				})
			}
			s := open(t, Config{Calls: rows, Emit: EmitAll, Stacks: StacksOfAll, Single: single}, libs(dir)...)
			p := start(t, bin, "20", so)
			p.line()
			if err := s.Target(p.Process.Pid); err != nil {
				t.Fatal(err)
			}
			p.goOn()
			p.line()
			stacks := s.stacksOf()
			p.Process.Kill()
			p.Wait()
			s.finish()
			found := map[string]map[string]int{} // by operation
			for _, e := range slices.Concat(s.events, s.seen) {
				if e.Stack == 0 && e.Op.IsCall() {
					t.Fatalf("%v has no stack", e.Op)
				}
				if found[e.Op.String()] == nil {
					found[e.Op.String()] = map[string]int{}
				}
				found[e.Op.String()][stacks[e.Stack]]++
			}
			const down = " < step < train < main"
			const deep = "descend < descend < descend < descend < descend < descend" + down
			for op, want := range map[string]string{
				"cudaMalloc":       "cudaMalloc < allocate" + down,
				"cuMemAlloc":       "cuMemAlloc_v2 < cudaMalloc < allocate" + down,
				"cudaDeviceSync":   "cudaDeviceSynchronize < " + deep,
				"cuCtxSynchronize": "cuCtxSynchronize < cudaDeviceSynchronize < " + deep,
				"cudaLaunchKernel": "cudaLaunchKernel < launch" + down,
			} {
				if found[op][want] != 20 {
					t.Errorf("%s: 20 times\n%s\nis not among\n%v", op, want, found[op])
				}
			}
			if want := "cudaLaunchKernel < launch < plugin_step < late < main"; found["cudaLaunchKernel"][want] != 1 {
				t.Errorf("after dlopen: %v", found["cudaLaunchKernel"])
			}
			for path, n := range found["cuLaunchKernel"] {
				if !strings.HasPrefix(path, "cuLaunchKernel < ") || !strings.HasSuffix(path, "main") || !strings.Contains(path, "cudaLaunchKernel < launch < ") {
					t.Errorf("cuLaunchKernel: %d times %s", n, path)
				}
			}
			t.Logf("%d events, %d stacks; %v", len(s.events), len(stacks), found["gap"])
		})
	}
}

// traceCaller runs the program under s up to its second stop.
func traceCaller(t *testing.T, s *session, bin string) *script {
	t.Helper()
	p := start(t, bin, "20")
	p.line()
	if err := s.Target(p.Process.Pid); err != nil {
		t.Fatal(err)
	}
	p.goOn()
	p.line()
	return p
}

// known counts the events that have a stack which was told.
func (s *session) known(op string) (with, told, all int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Op.String() != op {
			continue
		}
		all++
		if e.Stack != 0 {
			with++
		}
		if slices.ContainsFunc(s.stacks, func(x event.RawStack) bool { return x.Hash == e.Stack }) {
			told++
		}
	}
	return with, told, all
}

func TestStackOptions(t *testing.T) {
	dir := sim(t)
	bin := program(t, dir)
	for _, c := range []struct {
		name          string
		stacks        Stacks
		malloc, fewer bool // cudaMalloc has stacks; only some launches do
	}{{"none", StacksNone, false, false}, {"rare", StacksOfRare, true, true}, {"all", StacksOfAll, true, false}} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, Config{Emit: EmitAll, Stacks: c.stacks}, libs(dir)...)
			p := traceCaller(t, s, bin)
			p.Process.Kill()
			p.Wait()
			s.finish()
			mallocs, told, all := s.known("cudaMalloc")
			if all != 20 || mallocs != told || (mallocs == 20) != c.malloc || (mallocs == 0) == c.malloc {
				t.Errorf("cudaMalloc: %d of %d have stacks, %d were told", mallocs, all, told)
			}
			launches, told, all := s.known("cudaLaunchKernel")
			if all != 20 || launches != told || (launches == 20) != (c.stacks == StacksOfAll) || (c.stacks == StacksNone && len(s.stacks) != 0) {
				t.Errorf("cudaLaunchKernel: %d of %d have stacks, %d were told", launches, all, told)
			}
		})
	}
}

// A stack that found the ring full is counted, and told the next time.
func TestLostStacks(t *testing.T) {
	dir := sim(t)
	bin := program(t, dir)
	s := open(t, Config{Emit: EmitAll, Stacks: StacksOfAll, StackBytes: 4096}, libs(dir)...)
	p := traceCaller(t, s, bin)
	p.goOn()
	p.line()
	p.Process.Kill()
	p.Wait()
	s.finish()
	lost, err := s.StacksLost()
	if err != nil || lost == 0 {
		t.Errorf("%d lost, %v", lost, err)
	}
	with, told, all := s.known("cudaMalloc")
	if all != 20+10*51 || with != all || told == all || len(s.stacks) < 12 { // the ring holds three
		t.Errorf("%d of %d have stacks, %d were told, %d stacks", with, all, told, len(s.stacks))
	}
	seen := map[uint64]bool{}
	for _, x := range s.stacks {
		if seen[x.Hash] {
			t.Error("a stack was told twice")
		}
		seen[x.Hash] = true
	}
}

// A stack that user space has forgotten is told again.
func TestForgetStack(t *testing.T) {
	dir := sim(t)
	bin := program(t, dir)
	s := open(t, Config{Emit: EmitAll, Stacks: StacksOfAll}, libs(dir)...)
	p := start(t, bin, "20")
	p.line()
	if err := s.Target(p.Process.Pid); err != nil {
		t.Fatal(err)
	}
	p.goOn()
	p.line()
	p.goOn()
	p.line()
	for s.once(0) > 0 {
	}
	before := len(s.stacks)
	for _, x := range slices.Clone(s.stacks) {
		if err := s.ForgetStack(x.Hash); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.ForgetStack(12345); err != nil {
		t.Errorf("one that is not known: %v", err)
	}
	p.Process.Kill()
	p.Wait()
	var none uint8
	for _, x := range s.stacks {
		if s.objs.ToldStacks.Lookup(x.Hash, &none) == nil {
			t.Error("still known to the kernel")
		}
	}
	if before < 100 {
		t.Errorf("%d stacks", before)
	}
}

// What stands on the stack in place of return addresses is put right.
func TestMended(t *testing.T) {
	const trampoline = 0x7fffffffe000
	raw := func(entered uint8, ips ...uint64) *bpfStackRecord {
		r := &bpfStackRecord{Trampoline: trampoline, Entered: entered, Natives: uint16(len(ips))}
		copy(r.Ips[:], ips)
		copy(r.Returns[:], []uint64{101, 102})
		return r
	}
	for _, c := range []struct {
		raw  *bpfStackRecord
		want []uint64
	}{
		{raw(0, 1, 2, 3), []uint64{1, 2, 3}},
		{raw(0, 1, 2, trampoline, 4, trampoline, 5), []uint64{1, 2, 102, 4, 101, 5}},
		{raw(0, 1, trampoline, trampoline, trampoline), []uint64{1, 102, 101, trampoline}}, // of another tracer
		{raw(1, 1, 2, 2, 3), []uint64{1, 2, 3}},
		{raw(1, 1, 2, 3), []uint64{1, 2, 3}},
		{raw(0, 1, 2, 2, 3), []uint64{1, 2, 2, 3}}, // a function that calls itself
	} {
		if got := mended(c.raw); !slices.Equal(got, c.want) {
			t.Errorf("%v: got %v, want %v", c.raw.Ips[:c.raw.Natives], got, c.want)
		}
	}
}

func FuzzDecodeStack(f *testing.F) {
	p := &Probe{rows: []event.Op{event.MakeOp(event.CUDA, 1)}, clock: &Clock{}}
	f.Add(make([]byte, 1400))
	f.Add(make([]byte, 10))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if s, err := p.decodeStack(raw); err == nil && (len(s.IPs) > 129 || len(s.Python) > 64) {
			t.Errorf("decoded %+v", s)
		}
	})
}
