package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ingero/internal/demo"
	"ingero/internal/event"
	"ingero/internal/pipeline"
	"ingero/internal/sysinfo"
	"ingero/test/workload"
)

// liveScenario is a real cause for a real job on the simulated device.
type liveScenario struct {
	args   string // of the job
	change string // what the job's control file says while it lasts
	normal string // and before and after
	rivals string // names of busy processes on the job's CPU
	second string // arguments of a second job on the same device, which obeys change
}

// job is a step of training: a few ms of work on the host, 20 launches of
// 0.1 ms, a wait for the device.
const job = "--launches 20 --kernel-ns 100000 --work-us 2000 "

var liveScenarios = map[string]liveScenario{
	"incident":          {args: job, rivals: "logrotate"},
	"cold-start":        {args: job + "--cold-start-ms 1500"},
	"memcpy-bottleneck": {args: job + "--copy-bytes 8388608", change: "bandwidth=800000000", normal: "bandwidth=12000000000"},
	"periodic-spike":    {args: job + "--alloc-bytes 1048576 --alloc-ns 50000", change: "allocs=40", normal: "allocs=1"},
	"cpu-contention":    {args: job, rivals: "cc1plus"},
	"gpu-steal": {
		args: job + "--share DIR/device", second: "--launches 1 --gap-us 20000 --kernel-ns 200000 --share DIR/device",
		change: "launches=20\ngap_us=0", normal: "launches=1\ngap_us=20000",
	},
}

// gpuScenarios are those of liveScenarios that need other means where the
// device is real: it copies and allocates as fast as it can.
var gpuScenarios = map[string]liveScenario{
	"cold-start":        {args: job},
	"memcpy-bottleneck": {args: job + "--copy-bytes 134217728", change: "copy_bytes=134217728", normal: "copy_bytes=1048576"},
	"periodic-spike":    {args: job + "--alloc-bytes 67108864", change: "allocs=40", normal: "allocs=1"},
	"gpu-steal": {
		args: job, second: "--launches 1 --gap-us 20000 --kernel-ns 200000",
		change: "launches=20\ngap_us=0", normal: "launches=1\ngap_us=20000",
	},
}

// Of the time of a live demo, the cause is there in this part.
const (
	liveFrom = 0.35
	liveTo   = 0.85
)

// plainJob is what is traced when no scenario is named.
const plainJob = "--launches 40 --kernel-ns 80000 --copy-bytes 4194304 --alloc-bytes 1048576 --gap-us 500"

// liveDemo is one run.
type liveDemo struct {
	env     *Env
	o       traceOptions
	s       liveScenario
	named   bool // one of the scenarios
	gpu     bool // the device is real
	dir     string
	lasts   time.Duration
	began   time.Time
	truth   bytes.Buffer
	counted map[string]uint64
	failed  chan error // what became of the cause
}

// runLiveDemo unpacks the job, starts it on a simulated device or on the GPU,
// traces it and, in a scenario, lets something happen to it. It returns what the
// job itself counted, held against the trace.
func runLiveDemo(ctx context.Context, env *Env, o traceOptions, name string, gpu bool) (counted string, err error) {
	if err := workload.Supported(); err != nil {
		return "", err
	}
	if !hasTraceCapabilities() {
		return "", fmt.Errorf("real probes need root: run 'sudo ingero demo %s'", strings.TrimSpace(map[bool]string{true: "--gpu ", false: "--live "}[gpu]+name))
	}
	if gpu && len(sysinfo.Describe(ctx).GPUs) == 0 {
		return "", errors.New("find a GPU: this machine has none that its driver knows of; 'ingero demo --live' needs none")
	}
	d := &liveDemo{env: env, o: o, gpu: gpu, began: time.Now(), counted: map[string]uint64{}, failed: make(chan error, 1)}
	if d.lasts, err = optionalDuration("--duration", o.duration); err != nil {
		return "", err
	}
	d.s, d.named = liveScenarios[name]
	if !d.named {
		d.s = liveScenario{args: plainJob}
	}
	if s, other := gpuScenarios[name]; gpu && other {
		d.s = s
	}
	if d.dir, err = os.MkdirTemp("", "ingero-demo-"); err != nil {
		return "", fmt.Errorf("unpack the demo: %w", err)
	}
	if err := os.Chmod(d.dir, 0o755); err != nil { // the job runs as the user who called sudo
		return "", fmt.Errorf("unpack the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()
	if err := workload.Unpack(d.dir); err != nil {
		return "", fmt.Errorf("unpack the demo: %w", err)
	}
	if gpu { // the machine's own is found in its place
		if err := os.Remove(filepath.Join(d.dir, "libcuda.so.1")); err != nil {
			return "", fmt.Errorf("unpack the demo: %w", err)
		}
	}
	if !d.o.json {
		fmt.Fprint(env.Stdout, d.intro(name))
	}
	if d.o.db == "" {
		d.o.db, d.o.scratch = filepath.Join(d.dir, "demo.db"), true
	}
	return d.run(ctx)
}

// intro says what is about to happen, so that the verdict can be held against it.
func (d *liveDemo) intro(name string) string {
	job := fmt.Sprintf("  A small job on a simulated CUDA library, traced for real for %v.", d.lasts)
	if !d.named {
		return "\n" + job + "\n\n"
	}
	when := "It happens to it at its start."
	if d.s.change != "" || d.s.rivals != "" {
		lasts := float64(d.lasts)
		when = fmt.Sprintf("It happens to it after %v, for %v.", time.Duration(liveFrom*lasts), time.Duration((liveTo-liveFrom)*lasts))
	}
	title := ""
	if s, ok := demo.Find(name); ok {
		title = s.Title
	}
	return fmt.Sprintf("\n  %s: %s\n%s\n  %s\n\n", name, title, job, when)
}

func (d *liveDemo) run(ctx context.Context) (counted string, err error) {
	d.o.record, d.o.maxDB, d.o.node = true, "1g", "demo"
	d.o.screen, d.o.commandOut = true, &d.truth
	if d.o.command, err = d.command(); err != nil {
		return "", err
	}
	d.o.duration = ""
	d.o.atEnd = func(v pipeline.View) {
		for _, op := range v.Ops {
			d.counted[op.Op.Symbol()] = op.Hist.Count()
		}
	}
	if d.named {
		if err := d.control(d.s.normal); err != nil {
			return "", err
		}
		happening, stop := context.WithCancel(ctx)
		started := false
		d.o.atStart = func(pid int) {
			started = true
			go func() { d.failed <- d.happen(happening, pid) }()
		}
		defer func() { // however the trace ends
			stop()
			if started {
				err = errors.Join(err, <-d.failed)
			}
		}()
	}
	if err := runTrace(ctx, d.env, d.o); err != nil {
		return "", err
	}
	if d.o.json || d.o.verbose {
		return "", nil
	}
	if d.s.second == "" { // the job's count is of itself only
		if counted, err = compare(d.truth.Bytes(), d.counted, d.gpu); err != nil {
			return "", err
		}
		fmt.Fprintf(d.env.Stdout, "  %s\n", counted)
	}
	return counted, d.explain()
}

// command is the job, or two of them under a shell.
func (d *liveDemo) command() ([]string, error) {
	line := func(args string) []string {
		all := []string{filepath.Join(d.dir, "workload"), "--steps", "0", "--duration-s", fmt.Sprint(d.lasts.Seconds())}
		return append(all, strings.Fields(strings.ReplaceAll(args, "DIR", d.dir))...)
	}
	obeys := "--control " + d.controlFile()
	if d.s.second == "" {
		return line(d.s.args + " " + obeys), nil
	}
	second := filepath.Join(d.dir, "embedding-svc")
	if err := os.Symlink("workload", second); err != nil {
		return nil, fmt.Errorf("make %s: %w", second, err)
	}
	both := append([]string{"/bin/sh", "-c", `second=$1; shift; "$@" & "$second" ` + strings.Join(line(d.s.second + " " + obeys)[1:], " ") + "; wait", "sh", second}, line(d.s.args)...)
	return both, nil
}

func (d *liveDemo) controlFile() string { return filepath.Join(d.dir, "control") }

func (d *liveDemo) control(settings string) error {
	// The job may look at any moment: it sees the old file or the new one.
	next := d.controlFile() + ".new"
	if err := os.WriteFile(next, []byte(settings+"\n"), 0o644); err != nil {
		return fmt.Errorf("control the demo: %w", err)
	}
	if err := os.Rename(next, d.controlFile()); err != nil {
		return fmt.Errorf("control the demo: %w", err)
	}
	return nil
}

// happen waits, lets the cause happen to the job, and ends it.
func (d *liveDemo) happen(ctx context.Context, pid int) (err error) {
	if d.s.rivals != "" {
		// On one CPU with its rivals, whatever else the machine has.
		if err := pin(pid, 0); err != nil {
			return err
		}
	}
	if !wait(ctx, time.Duration(liveFrom*float64(d.lasts))) {
		return nil
	}
	if d.s.change != "" {
		if err := d.control(d.s.change); err != nil {
			return err
		}
	}
	var started []*exec.Cmd
	defer func() {
		for _, c := range started {
			err = errors.Join(err, end(c))
		}
	}()
	for _, name := range strings.Fields(d.s.rivals) {
		c, err := d.busy(name)
		if err != nil {
			return err
		}
		started = append(started, c)
	}
	if wait(ctx, time.Duration((liveTo-liveFrom)*float64(d.lasts))) && d.s.change != "" {
		return d.control(d.s.normal)
	}
	return nil
}

// busy starts a process of that name, which uses the job's CPU all the time.
func (d *liveDemo) busy(name string) (*exec.Cmd, error) {
	path := filepath.Join(d.dir, name)
	if err := os.Symlink("/bin/sh", path); err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	c := exec.Command(path, "-c", "while :; do :; done")
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := asInvokingUser(d.env, c); err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err := pin(c.Process.Pid, 0); err != nil {
		return nil, errors.Join(err, end(c))
	}
	return c, nil
}

// pin keeps a process on the nth CPU that it may use.
func pin(pid, n int) error {
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(pid, &all); err != nil {
		return fmt.Errorf("ask for the CPUs of PID %d: %w", pid, err)
	}
	for cpu := range 1024 {
		if !all.IsSet(cpu) {
			continue
		}
		if n == 0 {
			one.Set(cpu)
			break
		}
		n--
	}
	if err := unix.SchedSetaffinity(pid, &one); err != nil {
		return fmt.Errorf("keep PID %d on one CPU: %w", pid, err)
	}
	return nil
}

// end ends a process that we started.
func end(c *exec.Cmd) error {
	if err := c.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end %s: %w", c.Path, err)
	}
	c.Wait() // it was killed, which is no news
	return nil
}

// wait returns false if ctx ended before the time was over.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// explain says what explain would.
func (d *liveDemo) explain() error {
	e, err := explainRecent(context.Background(), d.o.db, d.began) // also after Ctrl+C
	if err != nil {
		return err
	}
	fmt.Fprintln(d.env.Stdout)
	from := d.o.db
	if d.o.scratch { // and soon removed
		from = "demo --live"
	}
	return showExplanation(d.env, from, e, "", explainOptions{})
}

// compare holds what was traced against what the job itself counted: all its
// calls, or, as a real driver does not count, those of its runtime.
func compare(report []byte, counted map[string]uint64, gpu bool) (string, error) {
	var truth workload.Truth
	if err := json.Unmarshal(report, &truth); err != nil {
		return "", fmt.Errorf("read the job's own count: %w", err)
	}
	var calls, functions uint64
	for _, c := range event.Calls {
		symbol := c.ID.Symbol()
		if gpu && c.Lib != event.CUDART {
			continue
		}
		if truth.Calls[symbol] != counted[symbol] {
			return "", fmt.Errorf("the job made %d calls of %s, %d were traced", truth.Calls[symbol], symbol, counted[symbol])
		}
		if n := counted[symbol]; n > 0 {
			calls, functions = calls+n, functions+1
		}
	}
	return fmt.Sprintf("The job counted its own calls: %s of %d functions, the same as traced.", thousands(calls), functions), nil
}
