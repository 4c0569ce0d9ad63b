package event

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden list of ids")

// IDs are on users' disks: a change here breaks their recordings.
func TestIDsAreGolden(t *testing.T) {
	var b strings.Builder
	for _, i := range Ops() {
		fmt.Fprintf(&b, "%d.%d %s %s\n", i.ID.Source(), i.ID.Code(), i.Name, i.Class)
	}
	const golden = "testdata/ids.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("ids differ from %s; a new row is fine (go test ./internal/event -update), a changed one never\n%s", golden, b.String())
	}
}

func TestTable(t *testing.T) {
	ids, symbols := map[Op]string{}, map[string]string{}
	for _, c := range Calls {
		if was := ids[c.ID]; was != "" {
			t.Errorf("%s has the id of %s", c.Name, was)
		}
		ids[c.ID] = c.Name
		for _, s := range c.Exports() {
			if was := symbols[s]; was != "" {
				t.Errorf("%s and %s both mean %s", c.Name, was, s)
			}
			symbols[s] = c.Name
			if want := map[Lib]string{CUDART: "cuda", LIBCUDA: "cu", LIBNCCL: "nccl"}[c.Lib]; !strings.HasPrefix(strings.TrimPrefix(s, "__"), want) {
				t.Errorf("%s: %s does not begin with %s", c.Name, s, want)
			}
		}
		if c.Class == None {
			t.Errorf("%s has no class", c.Name)
		}
		a := c.Args
		for _, arg := range []uint8{a.Bytes, a.Mul, a.Type, a.Handle, a.Out, a.Kind, a.Device, a.NewCtx, a.Ctx} {
			if arg > 6 {
				t.Errorf("%s: argument %d is not in a register", c.Name, arg)
			}
		}
		if c.Class == Alloc && a.Bytes == 0 {
			t.Errorf("%s allocates, but no size is captured", c.Name)
		}
		if a.Handle != 0 && a.Out != 0 {
			t.Errorf("%s: a handle comes in or goes out, not both", c.Name)
		}
	}
	for _, h := range HostOps {
		if was := ids[h.ID]; was != "" {
			t.Errorf("%s has the id of %s", h.Name, was)
		}
		ids[h.ID] = h.Name
	}
	if len(Calls) > MaxCalls {
		t.Errorf("%d rows, room for %d", len(Calls), MaxCalls)
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]Op{
		"cudaStreamSync":        MakeOp(CUDA, 5),
		"cudaStreamSynchronize": MakeOp(CUDA, 5),
		"cuMemAlloc_v2":         MakeOp(Driver, 5),
		"cuLaunchKernel_ptsz":   MakeOp(Driver, 1),
		"cudaGraphLaunch":       MakeOp(Graph, 4),
		"graphLaunch":           MakeOp(Graph, 4),
		"process_exit":          MakeOp(Host, 6),
	} {
		if got := FindOps(name); len(got) != 1 || got[0] != want {
			t.Errorf("FindOps(%q) = %v, want %v", name, got, want)
		}
	}
	if got := FindOps("cudaNothing"); got != nil {
		t.Errorf("found %v", got)
	}
	if got := MakeOp(CUDA, 5).Symbol(); got != "cudaStreamSynchronize" {
		t.Error(got)
	}
	if got := MakeOp(CUDA, 255).String(); got != "cuda.op255" {
		t.Error(got)
	}
}

// The columns that queries for older recordings use keep their meaning.
func TestArgColumns(t *testing.T) {
	for _, c := range []struct {
		e          Event
		arg0, arg1 uint64
	}{
		{Event{Op: MakeOp(CUDA, 1), Bytes: 100, Handle: 0x7f00}, 100, 0x7f00},            // cudaMalloc: size, pointer
		{Event{Op: MakeOp(CUDA, 2), Handle: 0x7f00}, 0x7f00, 0},                          // cudaFree: pointer
		{Event{Op: MakeOp(CUDA, 3), Handle: 0x55aa}, 0x55aa, 0},                          // cudaLaunchKernel: function
		{Event{Op: MakeOp(CUDA, 7), Bytes: 4096, Dir: DeviceToHost, Handle: 9}, 4096, 2}, // cudaMemcpyAsync: size, direction
		{Event{Op: MakeOp(Host, 7), Handle: 4822}, 0, 4822},                              // process_fork: the child
	} {
		if a, b := c.e.Arg0(), c.e.Arg1(); a != c.arg0 || b != c.arg1 {
			t.Errorf("%v: arg0 %d arg1 %d, want %d %d", c.e.Op, a, b, c.arg0, c.arg1)
		}
	}
}
