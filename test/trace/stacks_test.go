package trace

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

type stackFrame struct{ IP, Symbol, File string }

type stackedEvent struct {
	Source, Op string
	PID        uint32
	Stack      []stackFrame
}

// calls reads what trace --json printed of library calls of some processes.
func calls(t *testing.T, out []byte, pids ...int) (all []stackedEvent) {
	t.Helper()
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		var e stackedEvent
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		switch e.Source {
		case "cuda", "driver", "cuda_graph":
			if slices.Contains(pids, int(e.PID)) {
				all = append(all, e)
			}
		}
	}
	return all
}

// reaches checks that a stack goes from a library of CUDA through the program
// to its start.
func (e *stackedEvent) reaches(t *testing.T, program string) bool {
	t.Helper()
	if len(e.Stack) < 3 || !strings.HasPrefix(e.Stack[0].File, "libcuda") {
		t.Errorf("%s of %d: stack %+v", e.Op, e.PID, e.Stack)
		return false
	}
	inProgram := false
	for i, f := range e.Stack {
		if f.File == "" && f.Symbol == "" && i < len(e.Stack)-1 {
			t.Errorf("%s of %d: frame %d is not known: %+v", e.Op, e.PID, i, e.Stack)
			return false
		}
		inProgram = inProgram || strings.HasPrefix(f.File, program)
	}
	if last := e.Stack[len(e.Stack)-1]; !inProgram || !strings.HasPrefix(last.File, "libc.so") && !strings.HasPrefix(last.File, program) {
		t.Errorf("%s of %d does not reach the program's start: %+v", e.Op, e.PID, e.Stack)
		return false
	}
	return true
}

// Stacks are on every surface, and the same on each.
func TestStackSurfaces(t *testing.T) {
	b := newBox(t)
	a := b.trace(append(b.libs(), "--json", "--debug", "--record-all")...)
	truth := b.workload("--steps", "20", "--launches", "5", "--late-dlopen-ms", "20", "--kernel-ns", "3000000")
	a.stop()
	all := calls(t, a.stdout.Bytes(), truth.PID)
	var made uint64
	for _, n := range truth.Calls {
		made += n
	}
	if len(all) < 200 || uint64(len(all)) > made {
		t.Errorf("%d calls printed, %d made", len(all), made)
	}
	for i := range all {
		if !all[i].reaches(t, "workload") {
			break
		}
	}
	pid := fmt.Sprint(truth.PID)
	said := a.said()
	if !strings.Contains(said, "[DEBUG] stack trace for cudaLaunchKernel (PID ") || !strings.Contains(said, "[DEBUG]   [0] ") || strings.Contains(said, "call stacks not taken") {
		t.Errorf("debug output:\n%s", said)
	}
	for _, e := range b.query("--pid", pid, "--op", "cudaLaunchKernel", "--limit", "5").Events {
		if stack, ok := e["stack"].([]any); !ok || len(stack) < 3 {
			t.Errorf("query: %v", e)
		}
	}
	var sum struct {
		Stacks []struct {
			Op    string
			Count int
			Total int64 `json:"total_ns"`
			Stack []stackFrame
		}
	}
	if err := json.Unmarshal(b.run("query", "--json", "-d", b.db, "--by-stack", "--pid", pid, "--limit", "1000"), &sum); err != nil {
		t.Fatal(err)
	}
	counted := 0
	for _, s := range sum.Stacks {
		if s.Op != "gap" {
			counted += s.Count
		}
		if len(s.Stack) < 3 || s.Total <= 0 {
			t.Errorf("by stack: %+v", s)
		}
	}
	if counted != len(all) {
		t.Errorf("%d calls by stack, %d printed", counted, len(all))
	}
	if n := b.sql("SELECT count(*) FROM events WHERE stack_hash <> 0 AND stack_hash NOT IN (SELECT hash FROM stack_traces)"); n != 0 {
		t.Errorf("%v events have stacks that are not stored", n)
	}
	// The first ones may have been walked less far, and so are another row.
	if text := string(b.run("query", "-d", b.db, "--by-stack", "--pid", pid, "--op", "cudaStreamSync")); !strings.Contains(text, " of cudaStreamSync") || !strings.Contains(text, "    cudaStreamSynchronize (libcudart.so.12)\n") {
		t.Errorf("by stack:\n%s", text)
	}
}

func TestNoStacks(t *testing.T) {
	b := newBox(t)
	a := b.trace(append(b.libs(), "--json", "--stack=false")...)
	b.workload("--steps", "20")
	a.stop()
	if strings.Contains(a.stdout.String(), `"stack"`) {
		t.Error("there are stacks")
	}
	if n := b.sql("SELECT (SELECT count(*) FROM stack_traces) + (SELECT count(*) FROM events WHERE stack_hash <> 0)"); n != 0 {
		t.Errorf("%v stacks in the database", n)
	}
}

// Fast calls that are only samples can do without.
func TestNoStacksOfSamples(t *testing.T) {
	b := newBox(t)
	a := b.trace(append(b.libs(), "--json", "--stack-samples=false")...)
	truth := b.workload("--steps", "50", "--launches", "50")
	a.stop()
	with, without := map[string]int{}, map[string]int{}
	for _, e := range calls(t, a.stdout.Bytes(), truth.PID) {
		if len(e.Stack) > 0 {
			with[e.Op]++
		} else {
			without[e.Op]++
		}
	}
	if with["cudaStreamSync"] != 50 || without["cudaStreamSync"] != 0 || without["cudaLaunchKernel"] < 10 || with["cudaLaunchKernel"] > without["cudaLaunchKernel"] {
		t.Errorf("with: %v, without: %v", with, without)
	}
}

// Processes that have ended before anybody looks still have names in their
// stacks, if they lived for some hundredths of a second.
func TestStacksOfShortLives(t *testing.T) {
	b := newBox(t)
	a := b.trace(append(b.libs(), "--json")...)
	const lives = 20
	var made []int
	for range lives {
		truth := b.workload("--steps", "1", "--launches", "1", "--kernel-ns", "100", "--cold-start-ms", "40")
		made = append(made, truth.PID)
	}
	a.stop()
	pids, nameless := map[uint32]bool{}, map[uint32]bool{}
	for _, e := range calls(t, a.stdout.Bytes(), made...) {
		pids[e.PID] = true
		if len(e.Stack) < 3 {
			t.Errorf("%s of %d: stack %+v", e.Op, e.PID, e.Stack)
		}
		for _, f := range e.Stack[:max(len(e.Stack)-1, 0)] {
			if f.File == "" {
				nameless[e.PID] = true
			}
		}
	}
	// On a busy machine we may be late for some.
	if len(pids) != lives || len(nameless) > lives/4 {
		t.Errorf("%d processes, want %d; %d have addresses without names", len(pids), lives, len(nameless))
	}
}
