package probe

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ingero/internal/event"
	"ingero/internal/proc"
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

// names turns frames into names of functions.
type names struct {
	t    *testing.T
	dir  string
	seen map[string][]elf.Symbol
	segs map[string][]*elf.Prog
}

func (n *names) of(file string) string {
	file, text, ok := strings.Cut(file, "+")
	if !ok {
		return "?"
	}
	offset, err := strconv.ParseUint(text, 0, 64)
	if err != nil {
		n.t.Fatal(err)
	}
	if _, ok := n.segs[file]; !ok {
		n.segs[file] = nil
		if f, err := elf.Open(filepath.Join(n.dir, file)); err == nil {
			n.segs[file] = f.Progs
			all, _ := f.Symbols()
			more, _ := f.DynamicSymbols()
			n.seen[file] = append(all, more...)
			f.Close()
		}
	}
	for _, p := range n.segs[file] {
		if p.Type == elf.PT_LOAD && offset >= p.Off && offset < p.Off+p.Filesz {
			addr := offset - p.Off + p.Vaddr
			for _, s := range n.seen[file] {
				if elf.ST_TYPE(s.Info) == elf.STT_FUNC && addr >= s.Value && addr < s.Value+s.Size {
					return s.Name
				}
			}
		}
	}
	return "(" + file + ")"
}

// stacksOf resolves all stacks while the process lives, as functions down to
// main, by hash.
func (s *session) stacksOf(dir string) map[uint64]string {
	s.t.Helper()
	for s.once(0) > 0 {
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := &names{s.t, dir, map[string][]elf.Symbol{}, map[string][]*elf.Prog{}}
	var addresses proc.Addresses
	out := map[uint64]string{}
	for _, raw := range s.stacks {
		var path []string
		for _, f := range addresses.Resolve(raw) {
			path = append(path, n.of(f.File))
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
			stacks := s.stacksOf(dir)
			p.goOn()
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
