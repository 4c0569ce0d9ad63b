package query

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"ingero/internal/event"
	"ingero/internal/rule"
	"ingero/internal/store"
)

// heap is a Source that knows stacks.
type heap struct {
	fake
	times  []store.StackTime
	frames map[uint64][]event.Frame
	asked  store.Filter
}

func (h *heap) StackTimes(_ context.Context, f store.Filter) ([]store.StackTime, error) {
	h.asked = f
	return append([]store.StackTime{}, h.times...), nil
}

func (h *heap) Stacks(_ context.Context, hashes []uint64) (map[uint64][]event.Frame, error) {
	all := map[uint64][]event.Frame{}
	for _, x := range hashes {
		if x == 0 {
			return nil, errors.New("asked for no stack")
		}
		if f := h.frames[x]; f != nil {
			all[x] = f
		}
	}
	return all, nil
}

var python = event.Frame{PyFile: "train.py", PyFunc: "step", PyLine: 8}

func newHeap() *heap {
	sync := event.MakeOp(event.CUDA, 5)
	return &heap{
		times: []store.StackTime{
			{Op: sync, PID: 1, Stack: 9, Count: 1, Total: 900, Max: 900},
			{Op: sync, PID: 1, Stack: 1, Count: 2, Total: 500, Runnable: 50, Blocked: 100, Max: 300},
			{Op: sync, PID: 2, Stack: 2, Count: 3, Total: 450, Runnable: 5, Blocked: 10, Max: 400},
			{Op: event.MakeOp(event.CUDA, 6), PID: 1, Stack: 1, Count: 1, Total: 1},
			{Op: event.MakeOp(event.Host, 3), PID: 1, Count: 100, Total: 1 << 40},
		},
		frames: map[uint64][]event.Frame{ // one place, at other addresses in each process
			1: {{IP: 0x7f01, Symbol: "f+0x1", File: "lib.so"}, python},
			2: {{IP: 0x7e01, Symbol: "f+0x1", File: "lib.so"}, python},
		},
	}
}

// The same place in the code is one row, whatever process it is in.
func TestByStack(t *testing.T) {
	a, err := ByStack(t.Context(), newHeap(), StacksParams{Filter: store.Filter{From: 1, To: 2}, Limit: 2})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(a.Stacks)
	want := `[{"op":"cudaStreamSync","source":"cuda","count":5,"total_ns":950,"runnable_ns":55,"blocked_ns":110,"max_ns":400,"pids":[1,2],` +
		`"stack":[{"ip":"0x7f01","symbol":"f+0x1","file":"lib.so"},{"ip":"0x0","py_file":"train.py","py_func":"step","py_line":8}]},` +
		`{"op":"cudaStreamSync","source":"cuda","count":1,"total_ns":900,"runnable_ns":0,"blocked_ns":0,"max_ns":900,"pids":[1],"stack":[]}]`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
}

// A finding shows where most of its symptom's time came from, of what is known.
func TestWorstStack(t *testing.T) {
	h := newHeap()
	f := rule.Finding{Start: time.Unix(10, 0), End: time.Unix(20, 0), Process: event.Process{PID: 1}}
	got, err := worstStack(t.Context(), h, f)
	if err != nil || len(got) != 2 || got[0].IP != "0x7f01" {
		t.Errorf("got %+v, %v", got, err)
	}
	if q := h.asked; q.From != 10e9 || q.To != 20e9 || len(q.PIDs) != 1 || q.PIDs[0] != 1 || len(q.Ops) != 1 || q.Ops[0] != opGap {
		t.Errorf("asked for %+v", q)
	}
	h.times = h.times[:1]
	if got, err := worstStack(t.Context(), h, f); err != nil || got == nil || len(got) != 0 {
		t.Errorf("no stack is known: %+v, %v", got, err)
	}
}

func TestStackLines(t *testing.T) {
	s := event.Stack{PID: 11435, TID: 11436, Op: event.MakeOp(event.Driver, 1), Frames: []event.Frame{
		python, {IP: 1, Symbol: "cublasSgemm_v2+0xa6", File: "libcublas.so.12"}, {IP: 2, File: "libtorch_cuda.so"}, {IP: 3}, {IP: 4, Symbol: "f"},
	}}
	want := []string{
		"stack trace for cuLaunchKernel (PID 11435, TID 11436, 5 frames):",
		"  [0] [Python] train.py:8 in step()",
		"  [1] cublasSgemm_v2+0xa6 (libcublas.so.12)",
		"  [2] (libtorch_cuda.so)",
		"  [3] 0x3",
		"  [4] f",
	}
	got := StackLines(&s)
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("got %q\nwant %q", got, want)
		}
	}
}

// Answers keep the whole name, and say a shorter one if there is one.
func TestShorten(t *testing.T) {
	long := "f<" + strings.Repeat("int, ", 20) + "int>+0x1"
	frames, seen := []Frame{{Symbol: long}, {Symbol: "g+0x2"}, {PyFunc: "step"}, {Symbol: long}}, map[string]string{}
	shorten(frames, seen)
	for i, want := range []string{"f<…>+0x1", "", "", "f<…>+0x1"} {
		if frames[i].Short != want {
			t.Errorf("%d: %q, want %q", i, frames[i].Short, want)
		}
	}
	if frames[0].Symbol != long {
		t.Errorf("the name is %q", frames[0].Symbol)
	}
}
