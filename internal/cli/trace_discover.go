package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"ingero/internal/event"
	"ingero/internal/probe"
	"ingero/internal/proc"
)

// discovery finds the files to probe: those that are there at the start, and
// those that come later.
type discovery struct {
	mappings *probe.Mappings

	lasting map[proc.FileID]bool // files that stay probed while nobody maps them

	mu       sync.Mutex // guards what follows: the screen reads it
	gaps     []string   // what could not be traced, for the store
	gapCount int
	libs     []proc.Binary         // attached, for the header
	rows     map[proc.FileID][]int // of the table, probed in each file
	procs    []event.Process       // CUDA processes found at the start
	foreign  int                   // CUDA processes of users who are not traced
}

// attachKnown attaches to the libraries of running processes, to those that
// are installed, and to those the user named.
func (d *discovery) attachKnown(t *tracer) error {
	d.rows = map[proc.FileID][]int{}
	var err error
	// Listen first, look second: what is loaded in between is seen twice, not missed.
	if d.mappings, err = probe.WatchMappings(); err != nil {
		t.gap("libraries loaded later are found only by looking once a second: %v", err)
	}
	d.lasting = map[proc.FileID]bool{}
	for _, b := range t.plan.libs {
		if err := d.attach(t, b); err != nil {
			return fmt.Errorf("--cuda-lib: %w", err)
		}
		d.lasting[b.ID] = true
	}
	for _, pid := range t.plan.pids {
		if err := d.target(t, pid); err != nil {
			return err
		}
	}
	if t.plan.uid != nil {
		if err := d.scan(t); err != nil {
			return err
		}
	}
	for _, b := range proc.Installed() {
		d.lasting[b.ID] = true
		if err := d.attach(t, b); err != nil {
			t.status.debugf("%v", err)
		}
	}
	return nil
}

// target attaches to a process given by --pid, which must use CUDA.
func (d *discovery) target(t *tracer, pid int) error {
	p, err := t.fs.Describe(pid)
	if err != nil {
		return err
	}
	libs, err := t.fs.CUDA(pid)
	if err != nil {
		return fmt.Errorf("look at process %d: %w", pid, err)
	}
	if len(libs) == 0 && len(t.plan.libs) == 0 {
		return fmt.Errorf("process %d (%s) does not use CUDA: it maps neither libcudart nor libcuda; "+
			"to trace it once it does, use --user %d, or name its library with --cuda-lib", pid, p.Comm, p.UID)
	}
	if err := t.probe.Target(pid); err != nil {
		return err
	}
	t.lookAtStacks(pid)
	t.family(pid)
	d.procs = append(d.procs, p)
	for _, b := range libs {
		if err := d.attach(t, b); err != nil {
			t.gap("%v", err)
		}
	}
	return nil
}

// scan attaches to every CUDA process of the traced user.
func (d *discovery) scan(t *tracer) error {
	pids, err := t.fs.Processes()
	if err != nil {
		return err
	}
	d.foreign = 0
	for _, pid := range pids {
		if t.wants(pid) {
			d.look(t, pid)
		} else if libs, err := t.fs.CUDA(pid); err == nil && len(libs) > 0 {
			d.foreign++
		}
	}
	return nil
}

// processes lists the CUDA processes found so far.
func (d *discovery) processes() []event.Process {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.procs)
}

// waiting says what we wait for when nothing is there to trace yet.
func (d *discovery) waiting(t *tracer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t.plan.uid == nil || len(d.procs) > 0 {
		return
	}
	name := fmt.Sprintf("user %d", *t.plan.uid)
	if u, err := user.LookupId(fmt.Sprint(*t.plan.uid)); err == nil {
		name = u.Username
	}
	t.status.say("no CUDA process of %s yet: waiting for one", name)
	if d.foreign > 0 {
		t.status.say("%s of other users: trace them with --user NAME or --pid", plural(d.foreign, "CUDA process", "CUDA processes"))
	}
}

// look attaches to whatever one process maps.
func (d *discovery) look(t *tracer, pid int) {
	libs, err := t.fs.CUDA(pid)
	if err != nil && !errors.Is(err, proc.ErrGone) {
		t.status.debugf("look at process %d: %v", pid, err)
	}
	if len(libs) == 0 {
		return
	}
	t.lookAtStacks(pid)
	d.mu.Lock()
	if p, err := t.fs.Describe(pid); err == nil && !slices.ContainsFunc(d.procs, func(q event.Process) bool {
		return q.PID == p.PID && q.SinceBoot == p.SinceBoot
	}) {
		d.procs = append(d.procs, p)
	}
	d.mu.Unlock()
	for _, b := range libs {
		if err := d.attach(t, b); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.gap("%v", err)
		}
	}
}

// lookLate attaches to what a process has just mapped. Its calls so far were
// not seen, and that is said.
func (d *discovery) lookLate(t *tracer, pid int) {
	d.mu.Lock()
	before := len(d.libs)
	d.mu.Unlock()
	d.look(t, pid)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range d.libs[min(before, len(d.libs)):] {
		d.note(t, "%s was first seen in process %d and probed at %s; its calls in the few ms before are missing",
			b.Path, pid, time.Now().Format("15:04:05.000"))
	}
}

// attach probes one file and notes what it lacks.
func (d *discovery) attach(t *tracer, b proc.Binary) error {
	a, err := t.probe.Attach(b)
	if err != nil || a.Again {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.libs = append(d.libs, b)
	d.rows[b.ID] = a.Rows
	for _, err := range a.Failed {
		d.note(t, "%v", err)
	}
	d.gapCount += len(a.Missing)
	t.status.debugf("%s: %d calls probed, %d not exported", b.Path, a.Sites, len(a.Missing))
	if len(a.Missing) > 0 && a.Sites > 0 {
		names := make([]string, len(a.Missing))
		for i, row := range a.Missing {
			names[i] = event.Calls[row].Name
		}
		d.gaps = append(d.gaps, fmt.Sprintf("%s does not export %s", b.Path, strings.Join(names, ", ")))
	}
	return nil
}

// gap notes something that could not be traced, and says it once.
func (t *tracer) gap(format string, args ...any) {
	t.found.mu.Lock()
	defer t.found.mu.Unlock()
	t.found.note(t, format, args...)
}

func (d *discovery) note(t *tracer, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if slices.Contains(d.gaps, text) {
		return
	}
	d.gaps = append(d.gaps, text)
	d.gapCount++
	t.status.say("not traced: %s", text)
}

// gapTexts says what could not be traced so far.
func (d *discovery) gapTexts() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.gaps)
}

// probes returns how many functions are probed, by source.
func (d *discovery) probes() map[event.Source]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	counts := map[event.Source]int{}
	for _, rows := range d.rows {
		for _, row := range rows {
			counts[event.Calls[row].ID.Source()]++
		}
	}
	return counts
}

// wants reports whether the process is one to trace.
func (t *tracer) wants(pid int) bool {
	if t.probe.Traced(pid) {
		return true
	}
	if t.plan.uid == nil {
		return false
	}
	uid, err := t.fs.UID(pid)
	return err == nil && uid == *t.plan.uid
}

// watch attaches to files that are mapped while we trace.
func (d *discovery) watch(ctx context.Context, t *tracer) {
	if d.mappings == nil {
		d.rescan(ctx, t)
		return
	}
	defer d.mappings.Close()
	seen := map[probe.FileKey]bool{}
	unused, next := map[proc.FileID]bool{}, time.Now().Add(sweepEvery)
	for ctx.Err() == nil {
		if now := time.Now(); now.After(next) {
			unused, next = d.sweep(t, unused), now.Add(sweepEvery)
		}
		pids := map[int]bool{}
		lost := d.mappings.Lost
		err := d.mappings.Wait(100*time.Millisecond, func(m probe.Mapping) {
			// A file is looked into once, unless its name says CUDA.
			if (!seen[m.File] || proc.IsCUDA(m.Path)) && t.wants(m.PID) {
				seen[m.File] = true
				pids[m.PID] = true
			}
		})
		if err != nil && !errors.Is(err, syscall.EINTR) {
			t.status.say("%v", err)
			return
		}
		if d.mappings.Lost != lost {
			if err := d.scan(t); err != nil {
				t.status.debugf("%v", err)
			}
		}
		if len(seen) > 1<<16 {
			clear(seen)
		}
		for pid := range pids {
			d.lookLate(t, pid)
		}
	}
}

// sweepEvery is how often we look for files that nobody maps any more.
const sweepEvery = 30 * time.Second

// sweep takes the probes off files that no process has mapped at two sweeps
// in a row: a file system must be free to go, and on a node where pods come
// and go they would pile up. A file that is installed, or that the user named,
// stays probed, for the next process that maps it. It returns the files found
// unused this time.
func (d *discovery) sweep(t *tracer, before map[proc.FileID]bool) map[proc.FileID]bool {
	pids, err := t.fs.Processes()
	if err != nil {
		return nil
	}
	used := map[proc.FileID]bool{}
	for _, pid := range pids {
		libs, err := t.fs.CUDA(pid)
		if err != nil {
			continue // gone, or hidden from us: then it never showed us a file
		}
		for _, b := range libs {
			used[b.ID] = true
		}
	}
	unused := map[proc.FileID]bool{}
	d.mu.Lock()
	libs := slices.Clone(d.libs)
	d.mu.Unlock()
	for _, b := range libs {
		if used[b.ID] || d.lasting[b.ID] {
			continue
		}
		if !before[b.ID] {
			unused[b.ID] = true
			continue
		}
		if err := t.probe.DetachFile(b.ID); err != nil {
			t.status.debugf("detach from %s: %v", b.Path, err)
		}
		t.status.debugf("nobody maps %s any more: no longer probed", b.Path)
		d.mu.Lock()
		d.libs = slices.DeleteFunc(d.libs, func(x proc.Binary) bool { return x.ID == b.ID })
		delete(d.rows, b.ID)
		d.mu.Unlock()
	}
	return unused
}

// rescan is what is left where perf does not tell of new mappings.
func (d *discovery) rescan(ctx context.Context, t *tracer) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := d.scan(t); err != nil {
				t.status.debugf("%v", err)
			}
		}
	}
}
