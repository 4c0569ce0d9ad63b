package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
	"ingero/internal/store"
)

// exportSize is about how large the recording is that is exported, in bytes.
const exportSize = 1 << 30

// export prints how fast a recording of 1 GB is exported in every format, and
// how much memory that takes. What is written goes to /dev/null, or into a
// file where the format needs one.
func (b *bench) export(int) error {
	db := filepath.Join(b.dir, "export.db")
	if err := makeLarge(db); err != nil {
		return err
	}
	info, err := os.Stat(db)
	if err != nil {
		return err
	}
	fmt.Printf("\nexport of a recording of %.2f GB, with a second for each 40,000 calls\n", float64(info.Size())/1e9)
	fmt.Printf("%-12s %12s %10s %12s %12s %14s %12s\n", "format", "events", "seconds", "events/s", "CPU, s", "events/CPU s", "memory, MB")
	for _, format := range []string{"perfetto", "chrome", "pprof", "folded", "speedscope", "sqlite"} {
		events, args := largeEvents, []string{"export", "--format", format, "-d", db, "-o", "/dev/null"}
		if format == "sqlite" { // rows take ten times the room
			events /= 10
			args[len(args)-1] = filepath.Join(b.dir, "export.sqlite")
			args = append(args, "--from", largeStart.Format(time.RFC3339), "--to", largeStart.Add(time.Duration(events/largeRate)*time.Second).Format(time.RFC3339))
		}
		cmd := exec.Command(b.bin, args...)
		begin := time.Now()
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("export as %s: %w\n%s", format, err, out)
		}
		took := time.Since(begin).Seconds()
		used, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		if !ok {
			return errors.New("no resource usage on this system")
		}
		if format == "sqlite" { // whole seconds of it, so not just a tenth
			if _, err := fmt.Sscanf(strings.ReplaceAll(string(out), ",", ""), " Exported %d events", &events); err != nil {
				return fmt.Errorf("read %q: %w", out, err)
			}
		}
		cpu := (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
		fmt.Printf("%-12s %12d %10.1f %12.0f %12.1f %14.0f %12.0f\n", format, events, took, float64(events)/took, cpu, float64(events)/cpu, float64(used.Maxrss)/1024)
	}
	return nil
}

// Of a job with two processes of four threads each, that launches kernels, copies
// and waits; every call is recorded.
const (
	largeEvents  = exportSize / 9 // as many bytes as an event takes
	largeThreads = 8
	largeRate    = 40_000 // events a second
)

var largeStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func makeLarge(path string) error {
	start := largeStart
	now := start
	w, err := store.Create(path, store.Options{Node: "node-1", Now: func() time.Time { return now }, Session: store.Session{Version: "bench", Rank: event.NoRank}})
	if err != nil {
		return err
	}
	born := start.Add(-time.Hour).UnixNano()
	for p := range uint32(2) {
		w.Process(store.ProcessRow{Process: event.Process{PID: 4000 + 1000*p, Start: born, Comm: "python3", Rank: event.Rank{Rank: int32(p), Local: int32(p), World: 2}}})
	}
	for i := range uint64(500) {
		s := event.Stack{Hash: i + 1, PID: 4000}
		for f := range 30 {
			s.Frames = append(s.Frames, event.Frame{IP: 0x7f0000000000 + i*64 + uint64(f), Symbol: fmt.Sprintf("function_%d+0x10", (int(i)*7+f*f)%2000), File: "libtorch_cuda.so"})
		}
		w.Stack(s)
	}
	r := rand.New(rand.NewPCG(1, 1))
	var free [largeThreads]int64
	batch := make([]event.Event, 0, 8192)
	for second := 0; second*largeRate < largeEvents; second++ {
		at := start.Add(time.Duration(second) * time.Second)
		for i := range largeRate / 2 {
			batch = appendCall(batch, r, at.UnixNano()+int64(i)*(1e9/(largeRate/2)), &free)
			if len(batch) > 8000 {
				w.Append(batch)
				batch = batch[:0]
			}
		}
		w.Books(at.Unix(), largeLedger(born), nil)
		w.Snapshot(event.Snapshot{Time: at.UnixNano(), CPU: 40 + 20*r.Float64(), Mem: 50, MemAvail: 8000, Load: 2})
		now = at.Add(time.Second)
		if err := w.Flush(); err != nil {
			return err
		}
	}
	w.Append(batch)
	return w.Close()
}

// appendCall appends a runtime call and the driver's call within it, one after
// the other in its thread.
func appendCall(batch []event.Event, r *rand.Rand, at int64, free *[largeThreads]int64) []event.Event {
	t := r.IntN(largeThreads)
	at = max(at, free[t])
	dur := int64(2000 + 4000*r.ExpFloat64())
	runtime, driver := event.MakeOp(event.CUDA, 3), event.MakeOp(event.Driver, 1)
	handle := 0x7f0000000000 + uint64(r.IntN(1<<12))*4096
	var bytes uint64
	runnable, blocked := int64(0), int64(0)
	if r.IntN(3) == 0 {
		runnable = r.Int64N(dur)
	}
	switch k := r.IntN(20); {
	case k == 0:
		runtime, driver, dur, blocked = event.MakeOp(event.CUDA, 5), 0, dur*20, dur*15
	case k < 4:
		runtime, driver, bytes = event.MakeOp(event.CUDA, 7), event.MakeOp(event.Driver, 3), r.Uint64N(1<<24)
	}
	pid := uint32(4000 + 1000*(t%2))
	e := event.Event{
		Start: at, Dur: dur, PID: pid, TID: pid + uint32(t/2), Op: runtime, Bytes: bytes, Handle: handle, Dir: event.HostToDevice,
		Stack: uint64(r.IntN(500)) + 1, Comm: "python3", Cgroup: 4711, Rank: event.Rank{Rank: int32(t % 2), Local: int32(t % 2), World: 2},
		Runnable: runnable, Blocked: blocked,
	}
	free[t] = at + dur + 500
	if driver != 0 {
		in := e
		in.Op, in.Depth, in.Start, in.Dur = driver, 1, at+300, dur-600
		batch = append(batch, in)
	}
	return append(batch, e)
}

func largeLedger(born int64) (all []stats.Ledger) {
	for t := range uint32(largeThreads) {
		pid := 4000 + 1000*(t%2)
		for i, place := range []event.Op{0, event.MakeOp(event.CUDA, 3), event.MakeOp(event.CUDA, 5)} {
			l := stats.Ledger{PID: pid, TID: pid + t/2, Start: born, Comm: "python3", Place: place}
			l.NS[event.Running], l.NS[event.Runnable], l.NS[event.GPUWait] = 200e6, 50e6, 100e6-uint64(i)*16_666_667
			l.Count[event.Running] = 1000
			all = append(all, l)
		}
	}
	return all
}
