package nvidia

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"ingero/internal/bpftest"
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

// The whole program, on the real libraries: every call is counted, and
// recorded with what it returned, although all fail for want of a GPU.
func TestTraceSeesEveryCall(t *testing.T) {
	want(t)
	bpftest.NeedBPF(t)
	bin := filepath.Join(t.TempDir(), "ingero")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "ingero/cmd/ingero").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, c := range []struct {
		driver, runtime library
	}{{driver550, runtime124}, {driver550, library{}}, {driver535, runtime118}, {driver470, runtime112}, {driver470, library{}}} {
		t.Run(fmt.Sprint(c.driver.suite, "-", c.runtime.pkg), func(t *testing.T) {
			db := filepath.Join(t.TempDir(), "nvidia.db")
			args := []string{"trace", "--record-all", "--db", db, "--", "python3", "calls.py", "--libcuda", c.driver.file(t)}
			if c.runtime.pkg != "" {
				args = append(args, "--libcudart", c.runtime.file(t))
			}
			var made truth
			ask(t, &made, bin, args...)
			seen := recorded(t, bin, db)
			for _, symbol := range slices.Sorted(maps.Keys(made.Calls)) {
				// The runtime calls the driver as well, in its own time.
				extra := seen[symbol].calls - made.Calls[symbol]
				if extra != 0 && (c.runtime.pkg == "" || symbol[:4] == "cuda" || extra > 10) {
					t.Errorf("%s: traced %d calls, %d were made", symbol, seen[symbol].calls, made.Calls[symbol])
				}
				if seen[symbol].code != made.Returns[symbol] {
					t.Errorf("%s: traced that it returned %d, it was %d", symbol, seen[symbol].code, made.Returns[symbol])
				}
			}
		})
	}
}

type seen struct {
	calls uint64
	code  int32
}

// recorded returns the exact count of every function and the return code of
// its newest event.
func recorded(t *testing.T, bin, db string) map[string]seen {
	t.Helper()
	var answer struct {
		Ops []struct {
			Source, Op, Function    string
			Count, Errors, Recorded uint64
		}
	}
	ask(t, &answer, bin, "query", "--json", "--limit", "0", "-d", db)
	all := map[string]seen{}
	for _, op := range answer.Ops {
		if op.Source != "cuda" && op.Source != "driver" && op.Source != "cuda_graph" {
			continue // the host's are not recorded one by one
		}
		var table struct{ Rows [][]any }
		ask(t, &table, bin, "query", "--json", "-d", db,
			"SELECT ret_code FROM events e JOIN ops o ON e.source = o.source_id AND e.op = o.op_id WHERE o.name = '"+op.Op+"' ORDER BY timestamp DESC LIMIT 1")
		code, ok := table.Rows[0][0].(float64)
		if !ok || op.Recorded != op.Count {
			t.Errorf("%s: %d of %d recorded, code %v", op.Op, op.Recorded, op.Count, table.Rows[0][0])
		}
		if wrong := code != 0; wrong != (op.Errors > 0) {
			t.Errorf("%s: %d errors counted, the last call returned %v", op.Op, op.Errors, code)
		}
		all[op.Function] = seen{op.Count, int32(code)}
	}
	return all
}

// ask runs a program and decodes its JSON.
func ask(t *testing.T, answer any, name string, args ...string) {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, stderr.String())
	}
	if err := json.Unmarshal(out, answer); err != nil {
		t.Fatalf("%v: %v in %s", args, err, out)
	}
}
