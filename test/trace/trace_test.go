// Package trace runs the built program from end to end: real probes on the
// simulated CUDA, a real database, real signals.
package trace

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ingero/internal/bpftest"
	"ingero/internal/event"
	"ingero/test/workload"
)

var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "ingero-trace-test-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		bin = filepath.Join(dir, "ingero")
		build := exec.Command("go", "build", "-o", bin, "ingero/cmd/ingero")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// box is a directory with the simulated CUDA and a database.
type box struct {
	*testing.T
	dir, db string
	user    string // whose processes are traced: nobody else's on this machine
}

var lastUser atomic.Uint32

func newBox(t *testing.T) *box {
	t.Helper()
	bpftest.NeedBPF(t)
	if err := workload.Supported(); err != nil {
		t.Skip(err)
	}
	b := &box{T: t, dir: t.TempDir(), user: fmt.Sprint(61000 + lastUser.Add(1))}
	for _, dir := range []string{b.dir, filepath.Dir(b.dir)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b.db = filepath.Join(b.dir, "out", "test.db")
	if err := os.Mkdir(filepath.Dir(b.db), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := workload.Unpack(b.dir); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *box) sim(name string) string { return filepath.Join(b.dir, name) }

// agent is a running 'ingero trace'.
type agent struct {
	b      *box
	cmd    *exec.Cmd
	stdout bytes.Buffer
	mu     sync.Mutex
	stderr []string
	line   chan string
	done   chan error
}

// trace starts the agent and waits until its probes are attached.
func (b *box) trace(args ...string) *agent {
	b.Helper()
	if !slices.Contains(args, "--pid") {
		args = append(args, "--user", b.user)
	}
	a := b.start(args...)
	a.await("probes attached")
	return a
}

func (b *box) start(args ...string) *agent {
	b.Helper()
	a := &agent{b: b, line: make(chan string, 1000), done: make(chan error, 1)}
	a.cmd = exec.Command(bin, append([]string{"trace", "--db", b.db}, args...)...)
	a.cmd.Stdout = &a.stdout
	stderr, err := a.cmd.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := a.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	go func() {
		for s := bufio.NewScanner(stderr); s.Scan(); {
			a.mu.Lock()
			a.stderr = append(a.stderr, s.Text())
			a.mu.Unlock()
			a.line <- s.Text()
		}
		close(a.line)
		a.done <- a.cmd.Wait()
	}()
	b.Cleanup(func() { a.cmd.Process.Kill() })
	return a
}

// await waits for a line on standard error that contains the text.
func (a *agent) await(text string) string {
	a.b.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case line, ok := <-a.line:
			if !ok {
				a.b.Fatalf("the agent ended without saying %q:\n%s", text, a.said())
			}
			if strings.Contains(line, text) {
				return line
			}
		case <-deadline:
			a.b.Fatalf("the agent did not say %q:\n%s", text, a.said())
		}
	}
}

func (a *agent) said() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.stderr, "\n")
}

// wait waits for the agent's end and returns its exit status.
func (a *agent) wait() int {
	a.b.Helper()
	go func() {
		for range a.line {
		}
	}()
	select {
	case <-a.done:
		return a.cmd.ProcessState.ExitCode()
	case <-time.After(30 * time.Second):
		a.b.Fatalf("the agent did not end:\n%s", a.said())
		return -1
	}
}

func (a *agent) stop() {
	a.b.Helper()
	if err := a.cmd.Process.Signal(syscall.SIGINT); err != nil {
		a.b.Fatal(err)
	}
	if status := a.wait(); status != 0 {
		a.b.Fatalf("exit status %d:\n%s", status, a.said())
	}
}

// answer is what 'query --json' says; only the fields used here.
type answer struct {
	Coverage struct{ Calls, Recorded, Lost uint64 }
	Ops      []struct {
		Source, Op, Function, Class                  string
		Count, Bytes, Nested, Errors, Recorded, Lost uint64
		Total, P50, P95, P99, Max                    uint64
		TotalNS                                      uint64 `json:"total_ns"`
		PID                                          uint32
		P99NS                                        uint64 `json:"p99_ns"`
	}
	Events []map[string]any
}

func (b *box) query(args ...string) answer {
	b.Helper()
	out := b.run(append([]string{"query", "--json", "-d", b.db}, args...)...)
	var a answer
	if err := json.Unmarshal(out, &a); err != nil {
		b.Fatalf("%v in %s", err, out)
	}
	return a
}

// sql asks for one number.
func (b *box) sql(text string) float64 {
	b.Helper()
	var table struct{ Rows [][]any }
	out := b.run("query", "--json", "-d", b.db, text)
	if err := json.Unmarshal(out, &table); err != nil || len(table.Rows) == 0 {
		b.Fatalf("%v in %s", err, out)
	}
	n, ok := table.Rows[0][0].(float64)
	if !ok {
		b.Fatalf("%s: %v is no number", text, table.Rows[0][0])
	}
	return n
}

func (b *box) run(args ...string) []byte {
	b.Helper()
	cmd := exec.Command(bin, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("ingero %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out
}

func (b *box) workload(args ...string) workload.Truth {
	b.Helper()
	r := b.launch(args...)
	truth, err := r.Wait()
	if err != nil {
		b.Fatal(err)
	}
	return truth
}

func (b *box) launch(args ...string) *workload.Run {
	b.Helper()
	program := []string{"--reuid", b.user, "--clear-groups", "--", filepath.Join(b.dir, "workload")}
	r, err := workload.StartCommand(context.Background(), "setpriv", append(program, args...)...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Signal(os.Kill) })
	return r
}

// agree checks the database against what the workload counted itself.
func (b *box) agree(truth workload.Truth) {
	b.Helper()
	counts := map[string]uint64{}
	for _, op := range b.query("--limit", "0").Ops {
		counts[op.Function] += op.Count
		if op.Count > 0 && truth.Errors[op.Function] != op.Errors {
			b.Errorf("%s: %d errors in the database, %d made", op.Function, op.Errors, truth.Errors[op.Function])
		}
	}
	for _, row := range event.Calls {
		if name := row.Exports()[0]; counts[name] != truth.Calls[name] {
			b.Errorf("%s: %d calls in the database, %d made", name, counts[name], truth.Calls[name])
		}
	}
}

// libs makes the agent probe the simulation before anything runs.
func (b *box) libs() []string {
	return []string{"--cuda-lib", b.sim("libcuda.so.1"), "--cuda-lib", b.sim("libcudart.so.12")}
}
