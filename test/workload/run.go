package workload

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Truth is what one process really did, counted inside the simulated
// libraries. Keys are exported symbols; what never happened has no key.
type Truth struct {
	PID    int               `json:"pid"`
	Calls  map[string]uint64 `json:"calls"`  // that returned
	Bytes  map[string]uint64 `json:"bytes"`  // asked for in arguments, failed calls included
	Errors map[string]uint64 `json:"errors"` // calls that returned other than 0

	Steps        uint64  `json:"steps"`
	WorstStepNS  uint64  `json:"worst_step_ns"`  // without the gap between steps
	MedianStepNS uint64  `json:"median_step_ns"` // within 1 %
	ElapsedNS    uint64  `json:"elapsed_ns"`     // from the first call to the last
	NSPerCall    float64 `json:"ns_per_call"`    // of --bench, seen by one thread
}

// Sum adds up the truths of several processes: PID is 0 if there are more
// than one, times are those of the slowest.
func Sum(all []Truth) Truth {
	if len(all) == 1 {
		return all[0]
	}
	sum := Truth{Calls: map[string]uint64{}, Bytes: map[string]uint64{}, Errors: map[string]uint64{}}
	for _, t := range all {
		add(sum.Calls, t.Calls)
		add(sum.Bytes, t.Bytes)
		add(sum.Errors, t.Errors)
		sum.Steps += t.Steps
		sum.WorstStepNS = max(sum.WorstStepNS, t.WorstStepNS)
		sum.MedianStepNS = max(sum.MedianStepNS, t.MedianStepNS)
		sum.ElapsedNS = max(sum.ElapsedNS, t.ElapsedNS)
		sum.NSPerCall = max(sum.NSPerCall, t.NSPerCall)
	}
	return sum
}

func add(to, from map[string]uint64) {
	for k, v := range from {
		to[k] += v
	}
}

// Run is a workload that was started.
type Run struct {
	PID int

	cmd    *exec.Cmd
	stdin  io.WriteCloser
	ready  chan struct{} // closed at the line "ready" on standard error
	stderr bytes.Buffer  // whole once read is done
	stdout bytes.Buffer
	read   sync.WaitGroup

	wait   sync.Once
	truths []Truth
	err    error
}

// Start runs the workload that was unpacked to dir. When ctx ends it is
// killed.
func Start(ctx context.Context, dir string, args ...string) (*Run, error) {
	return StartCommand(ctx, filepath.Join(dir, "workload"), args...)
}

// StartPython runs train.py that was unpacked to dir.
func StartPython(ctx context.Context, dir string, args ...string) (*Run, error) {
	args = slices.Concat([]string{filepath.Join(dir, "train.py"), "--lib-dir", dir}, args)
	return StartCommand(ctx, "python3", args...)
}

// StartCommand runs any program that prints truths as the workload does.
func StartCommand(ctx context.Context, name string, args ...string) (*Run, error) {
	r := &Run{cmd: exec.CommandContext(ctx, name, args...), ready: make(chan struct{})}
	r.cmd.Stdout = &r.stdout
	var err error
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start workload: %w", err)
	}
	stderr, err := r.cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("start workload: %w", err)
	}
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start workload: %w", err)
	}
	r.PID = r.cmd.Process.Pid
	r.read.Go(func() { r.readStderr(stderr) })
	return r, nil
}

func (r *Run) readStderr(stderr io.Reader) {
	ready := false
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		if lines.Text() == "ready" && !ready {
			ready = true
			close(r.ready)
			continue
		}
		fmt.Fprintln(&r.stderr, lines.Text())
	}
	io.Copy(io.Discard, stderr) // a line too long to scan must not block the program
}

// Ready waits until a workload started with --wait-stdin is about to make
// its first call.
func (r *Run) Ready(ctx context.Context) error {
	ended := make(chan struct{})
	go func() {
		r.read.Wait()
		close(ended)
	}()
	select {
	case <-r.ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the workload to be ready: %w", ctx.Err())
	case <-ended:
	}
	select {
	case <-r.ready: // and has ended since
		return nil
	default:
		return errors.New("wait for the workload to be ready: it ended")
	}
}

// Go lets a workload started with --wait-stdin begin.
func (r *Run) Go() error {
	_, err := io.WriteString(r.stdin, "\n")
	if err = errors.Join(err, r.stdin.Close()); err != nil {
		return fmt.Errorf("let the workload begin: %w", err)
	}
	return nil
}

// Signal sends a signal to the workload, which passes it on to its children.
func (r *Run) Signal(sig os.Signal) error {
	if err := r.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("signal workload: %w", err)
	}
	return nil
}

// Wait waits for the end and returns the truth, of all processes together
// if there were several. The error says what the workload wrote on standard
// error if it did not end well.
func (r *Run) Wait() (Truth, error) {
	r.wait.Do(r.finish)
	if r.err != nil {
		return Truth{}, r.err
	}
	return Sum(r.truths), nil
}

// Truths is one truth for each process, in the order of their PIDs. It is
// empty before Wait.
func (r *Run) Truths() []Truth { return r.truths }

// Stderr is what the workload wrote on standard error. It is empty before
// Wait.
func (r *Run) Stderr() string { return r.stderr.String() }

func (r *Run) finish() {
	r.read.Wait() // before Wait, which closes the pipe
	if err := r.cmd.Wait(); err != nil {
		r.err = fmt.Errorf("run workload: %w: %s", err, strings.TrimSpace(r.stderr.String()))
		return
	}
	byPID := map[int]Truth{}
	for dec := json.NewDecoder(&r.stdout); ; {
		var t Truth
		err := dec.Decode(&t)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			r.err = fmt.Errorf("read the workload's truth: %w", err)
			return
		}
		byPID[t.PID] = t
	}
	if len(byPID) == 0 {
		r.err = errors.New("read the workload's truth: it printed none")
		return
	}
	for _, pid := range slices.Sorted(maps.Keys(byPID)) {
		r.truths = append(r.truths, byPID[pid])
	}
}
