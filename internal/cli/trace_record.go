package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"ingero/internal/event"
	"ingero/internal/pipeline"
	"ingero/internal/probe"
	"ingero/internal/store"
	"ingero/internal/sysinfo"
)

// recorder writes batches to the store, in a goroutine of its own.
type recorder struct {
	writer  *store.Writer
	queue   *pipeline.Async
	t       *tracer
	path    string
	flush   time.Time
	gaps    int // of the tracer's, that the store has
	session store.Session
	machine chan sysinfo.Machine // the facts of this machine, once they are known
}

// queueEvents is how many events may wait for the disk: about 100 MB.
const queueEvents = 1 << 20

func newRecorder(t *tracer) (*recorder, error) {
	path, who, err := databasePath(t.env, t.plan.db)
	if err != nil {
		return nil, err
	}
	r := &recorder{t: t, path: path, flush: time.Now(), machine: make(chan sysinfo.Machine, 1)}
	r.session = store.Session{
		Version: versionText(), PIDFilter: t.plan.traceOptions.pids, Flags: strings.Join(os.Args[1:], " "), Rank: event.NoRank,
	}
	if r.writer, err = store.Create(path, store.Options{
		Node: t.plan.node, MaxBytes: t.plan.maxBytes, UID: who.UID, GID: who.GID, Session: r.session,
	}); err != nil {
		return nil, err
	}
	// nvidia-smi can take seconds: nobody waits for it.
	go func() { r.machine <- sysinfo.Describe(context.Background()) }()
	r.queue = pipeline.NewAsync(r, queueEvents, func(err error) {
		t.status.say("recording stopped: %s; the traced processes and the live view go on", oneLine(err))
		if !t.plan.json && !t.plan.verbose {
			if err := t.probe.SetEmit(probe.EmitNone); err != nil {
				t.status.debugf("%v", err)
			}
		}
	})
	return r, nil
}

// flushEvery bounds what a kill -9 can lose.
const flushEvery = 500 * time.Millisecond

// Take writes one batch.
func (r *recorder) Take(b *pipeline.Batch) error {
	r.writer.Append(b.Events)
	if len(b.Calls) > 0 {
		r.writer.Stats(b.Second, b.Calls)
	}
	for _, p := range b.Processes {
		r.writer.Process(store.ProcessRow(p))
	}
	if len(b.Ledger)+len(b.Pairs) > 0 {
		r.writer.Books(b.Second, b.Ledger, b.Pairs)
		r.writer.Drained(b.Second, b.Wall)
	}
	if b.Last {
		r.t.stacks.Close() // the last ones get their names
	}
	for _, s := range r.t.stacks.Fresh() {
		r.writer.Stack(*s)
	}
	r.incidents()
	for _, s := range b.Snapshots {
		r.writer.Snapshot(s)
	}
	for _, s := range b.GPU {
		r.writer.GPU(s)
	}
	r.describe(b)
	if now := time.Now(); b.Last || now.Sub(r.flush) >= flushEvery {
		r.flush = now
		return r.writer.Flush()
	}
	return nil
}

// incidents takes over what the analyst found.
func (r *recorder) incidents() {
	chains, places := r.t.analyst.take()
	for _, c := range chains {
		r.writer.Chain(c)
	}
	for _, p := range places {
		r.writer.Place(p)
	}
}

// describe keeps the session's row up to date with what became known.
func (r *recorder) describe(b *pipeline.Batch) {
	r.t.found.mu.Lock()
	gaps := slices.Clone(r.t.found.gaps[r.gaps:])
	r.t.found.mu.Unlock()
	for _, g := range gaps {
		r.writer.Gap(g)
	}
	r.gaps += len(gaps)
	for _, step := range b.Steps {
		r.writer.ClockStep(store.ClockStep(step))
	}
	r.t.meters.dropped(b.Dropped)
	for _, n := range b.Dropped {
		r.session.Lost += n
	}
	select {
	case m := <-r.machine:
		r.setMachine(m)
	default:
		if len(b.Calls) == 0 && !b.Last {
			return
		}
	}
	if r.t.cost.Call > 0 {
		share := r.t.window.Overhead(r.t.cost.Call, r.t.cost.Stack)
		r.session.Overhead = &share
	}
	r.writer.Session(r.session)
}

func (r *recorder) setMachine(m sysinfo.Machine) {
	s := &r.session
	s.CPUModel, s.CPUCores, s.MemTotal, s.Kernel, s.OSRelease = m.CPU, m.Cores, m.Memory, m.Kernel, m.OS
	s.GPUDriver = m.Driver.Version
	if len(m.GPUs) > 0 {
		s.GPUModel = fmt.Sprintf("%s, %d MiB", m.GPUs[0].Model, m.GPUs[0].Memory)
	}
	r.t.found.mu.Lock()
	defer r.t.found.mu.Unlock()
	for _, b := range r.t.found.libs {
		if slices.Contains(b.Libs, event.CUDART) && b.Build != "" {
			s.CUDAVersion = b.Build
		}
	}
}

func (r *recorder) close() error {
	r.queue.Close()
	return r.writer.Close()
}
