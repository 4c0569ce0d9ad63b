package trace

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ingero/test/workload"
)

// Every call but the first few, which made the process known, has the line
// that makes it and all its callers.
func TestPythonLines(t *testing.T) {
	const python = "/usr/bin/python3"
	if _, err := os.Stat(python); err != nil {
		t.Skip("needs python3: ", err)
	}
	b := newBox(t)
	a := b.trace(append(b.libs(), "--json", "--record-all")...)
	r, err := workload.StartCommand(t.Context(), "setpriv", "--reuid", b.user, "--clear-groups", "--", python, b.sim("train.py"),
		"--lib-dir", b.dir, "--steps", "30", "--launches", "4", "--gap-us", "10000")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	a.stop()
	text, err := os.ReadFile(filepath.Join(b.dir, "train.py"))
	if err != nil {
		t.Fatal(err)
	}
	source := strings.Split(string(text), "\n")
	with := map[string]int{}
	all := 0
	for line := range bytes.Lines(a.stdout.Bytes()) {
		var e struct {
			Source, Op string
			Stack      []struct {
				File   string `json:"py_file"`
				Func   string `json:"py_func"`
				Number int    `json:"py_line"`
			}
		}
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		if e.Source != "cuda" {
			continue
		}
		all++
		chain, called := []string{}, ""
		for _, f := range e.Stack {
			if f.Func != "" && filepath.Base(f.File) == "train.py" {
				if len(chain) == 0 {
					called = source[f.Number-1]
				}
				chain = append(chain, f.Func[strings.LastIndex(f.Func, ".")+1:])
			}
		}
		if len(chain) == 0 {
			continue
		}
		name := map[string]string{"cudaStreamSync": "cudaStreamSynchronize"}[e.Op]
		if name == "" {
			name = e.Op
		}
		if !strings.Contains(called, "cuda."+name) || !slices.Equal(chain[len(chain)-2:], []string{"main", "<module>"}) {
			t.Errorf("%s is called from %v, at %q", e.Op, chain, called)
		}
		with[fmt.Sprint(e.Op, chain)]++
	}
	launches, syncs := with["cudaLaunchKernel[forward train_step train main <module>]"], with["cudaStreamSync[train_step train main <module>]"]
	if launches < 80 || syncs < 20 {
		t.Errorf("of %d calls with Python lines: %v", all, with)
	}
	t.Logf("%d calls, with lines: %v", all, with)
}
