package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"ingero/internal/event"
	"ingero/internal/pipeline"
	"ingero/internal/probe"
	"ingero/internal/proc"
	"ingero/internal/unwind"
)

// tracer owns everything that runs during one trace.
type tracer struct {
	env      *Env
	plan     *tracePlan
	status   *status
	fs       proc.FS
	probe    *probe.Probe
	window   *pipeline.Window
	analyst  *analyst
	stacks   *pipeline.Stacks // nil if no stacks are taken
	pythons  *pythons         // nil without stacks
	recorder *recorder
	meters   *meters // nil: nobody is told
	command  *command
	found    discovery
	waiting  map[int]bool // processes given by --pid that still live
	stop     context.CancelFunc
	began    time.Time
	cost     probe.Cost // what the probes add to a call on this machine
}

// initialPIDs is the first PID namespace (PROC_PID_INIT_INO in the kernel's
// proc_ns.h). The kernel side and perf know processes by their numbers there.
const initialPIDs = "pid:[4026531836]"

// newTracer loads the kernel side and opens the store. Nothing is traced yet.
func newTracer(env *Env, plan *tracePlan, st *status) (*tracer, error) {
	t := &tracer{
		env: env, plan: plan, status: st, fs: proc.FS{Cache: &proc.Cache{}}, window: pipeline.NewWindow(time.Now), began: time.Now(),
		waiting: map[int]bool{},
	}
	// First what the user can mend without root: a PID that is not there.
	for _, pid := range plan.pids {
		d, err := t.fs.Describe(pid)
		if errors.Is(err, proc.ErrGone) {
			return nil, fmt.Errorf("process %d does not exist; 'ingero check' lists the CUDA processes", pid)
		}
		if err == nil {
			t.waiting[pid] = true
			t.status.debugf("target: %d (%s)", pid, d.Comm)
		}
	}
	if ns, err := os.Readlink("/proc/self/ns/pid"); err == nil && ns != initialPIDs {
		return nil, errors.New("process numbers in this container are not those of the kernel: " +
			"run it with --pid=host (Kubernetes: hostPID: true)")
	}
	if !hasTraceCapabilities() {
		return nil, errors.New("tracing needs root: run 'sudo ingero trace' (or see 'ingero check' for the capabilities)")
	}
	var err error
	if t.probe, err = probe.Load(probe.Config{
		Calls: event.Calls, Emit: plan.emit, UID: plan.uid, RingBytes: ringBytes(plan.emit), Stacks: plan.stacks(),
		NoIO: plan.noIO, NoTCP: plan.noTCP, NoNet: plan.noNet,
	}); err != nil {
		return nil, err
	}
	if t.cost, err = t.probe.MeasureCost(); err != nil {
		t.status.debugf("%v", err)
	}
	for _, g := range t.probe.HostGaps() {
		t.gap("%s", g)
	}
	if err := t.prepare(); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

func ringBytes(e probe.Emit) int {
	if e == probe.EmitAll {
		return 64 << 20 // about a second of the fastest calls
	}
	return 8 << 20
}

// prepare attaches to everything that is there and opens the store.
func (t *tracer) prepare() error {
	if t.plan.stacks() != probe.StacksNone {
		t.pythons = &pythons{t: t, walks: unwind.New(t.probe.Unwind(), unwind.Config{})}
		t.stacks = newStacks(t)
	}
	if err := t.found.attachKnown(t); err != nil {
		return err
	}
	if t.plan.record {
		r, err := newRecorder(t)
		if err != nil {
			return err
		}
		t.recorder = r
	}
	return nil
}

// start begins to watch, and starts the command if there is one.
func (t *tracer) start() error {
	if len(t.plan.command) > 0 {
		c, err := startCommand(t)
		if err != nil {
			return err
		}
		t.command = c
	}
	t.found.waiting(t)
	if t.command != nil && t.plan.commandOut == nil {
		t.status.say("%s is process %d; what was seen follows when it ends", t.plan.command[0], t.command.cmd.Process.Pid)
	}
	t.status.say("probes attached: %d (%d gaps) in %d ms", t.probe.Sites(), t.found.gapCount, sinceExec(t.began).Milliseconds())
	return nil
}

// known lists the processes that we were told of.
func (t *tracer) known() []int {
	pids := slices.Sorted(maps.Keys(t.waiting))
	if t.command != nil {
		pids = append(pids, t.command.cmd.Process.Pid)
	}
	return pids
}

// resume lets the command run, now that everybody is listening.
func (t *tracer) resume() {
	if t.command == nil {
		return
	}
	if t.plan.atStart != nil {
		t.plan.atStart(t.command.cmd.Process.Pid)
	}
	t.command.resume()
}

// run carries events until it is time to stop, and prints what is wanted. It
// ends with ctx, after --duration, or with the command that was started.
func (t *tracer) run(ctx context.Context) error {
	until, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	t.stop = stop
	var others sync.WaitGroup
	others.Go(func() { t.found.watch(until, t) })
	quit := stop // of the live screen
	if t.command != nil {
		// Not canceled at the end: the command may outlive --duration.
		var asked context.Context
		asked, quit = context.WithCancel(ctx)
		go func() { t.command.wait(asked); stop() }()
	} else {
		context.AfterFunc(ctx, stop)
	}
	if d := t.plan.duration; d > 0 {
		timer := time.AfterFunc(d, stop)
		defer timer.Stop()
	}
	out := newOutput(t)
	t.meters.start(t)
	t.analyst = newAnalyst(t)
	var sinks []pipeline.Sink
	if t.stacks != nil {
		sinks = append(sinks, t.pythons, t.stacks) // before those that ask it
	}
	sinks = append(sinks, t.window, t.analyst, out)
	if t.meters != nil {
		sinks = append(sinks, t.meters.collector)
	}
	if t.recorder != nil {
		sinks = append(sinks, t.recorder.queue)
	}
	each := newSecond(t)
	defer each.close()
	done := make(chan error, 1)
	go func() {
		done <- pipeline.Run(until, pipeline.Config{
			Source: quietSource{t.probe, t, &others}, Sinks: sinks, Describe: t.fs.Describe, Alive: t.alive, Found: t.family, Ended: t.ended,
			EverySecond: each.add, Now: time.Now, Known: t.known(), Ready: t.resume,
		})
	}()
	out.show(until, quit) // returns at once unless there is a screen
	err := <-done
	t.resume() // also when the trace failed before it could
	stop()
	t.meters.stop()
	out.finish(ctx)
	return err
}

// missed says which calls no count contains: normally none.
func (t *tracer) missed() {
	all, err := t.probe.Missed()
	if err != nil {
		t.status.debugf("%v", err)
	}
	for _, m := range all {
		t.gap("%s of %v: %d nested too deep, %d without memory for the thread",
			plural(int(m.TooDeep+m.NoThread), "call", "calls"), m.Op, m.TooDeep, m.NoThread)
	}
	t.lostStacks()
}

// quietSource waits for those who attach probes before all are detached, and
// asks for what was missed before the last batch is written.
type quietSource struct {
	*probe.Probe
	t      *tracer
	others *sync.WaitGroup
}

func (q quietSource) Detach() error {
	q.others.Wait()
	defer q.t.missed()
	return q.Probe.Detach()
}

// alive tells a living process from one that reuses its number.
func (t *tracer) alive(p event.Process) bool {
	d, err := t.fs.Describe(int(p.PID))
	return err == nil && d.SinceBoot == p.SinceBoot
}

// family makes the kernel trace the processes that a traced one has started
// before it was met, such as data loader workers; later ones follow by
// themselves.
func (t *tracer) family(pid int) {
	for range 2 { // one may have been created while we looked
		all, err := t.fs.Family(pid)
		if err != nil {
			t.status.debugf("%v", err)
		}
		for _, child := range all {
			if err := t.probe.Target(child); err != nil {
				t.status.debugf("%v", err)
			}
		}
	}
}

// ended stops the trace when the last process given by --pid is gone.
func (t *tracer) ended(p pipeline.Process) {
	t.status.debugf("process %d (%s) ended", p.PID, p.Comm)
	if t.waiting[int(p.PID)] {
		delete(t.waiting, int(p.PID))
		if len(t.waiting) == 0 {
			t.status.say("process %d (%s) ended; so does the trace", p.PID, p.Comm)
			t.stop()
		}
	}
}

// close gives everything back. The store is closed last, with the totals.
func (t *tracer) close() error {
	var errs []error
	if t.recorder != nil {
		errs = append(errs, t.recorder.close())
	}
	t.stacks.Close()
	if t.pythons != nil {
		t.pythons.walks.Close()
	}
	if t.probe != nil {
		errs = append(errs, t.probe.Close())
	}
	return errors.Join(errs...)
}

// sinceExec is the time since the process was started, or else since began.
func sinceExec(began time.Time) time.Duration {
	if d, err := (proc.FS{}).Describe(os.Getpid()); err == nil {
		if s := time.Since(time.Unix(0, d.Start)); s > 0 && s < time.Minute {
			return s
		}
	}
	return time.Since(began)
}
