package export

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
	"ingero/internal/store"
)

// testBegin is a whole minute.
var testBegin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// testSeconds is how long the recording is that all tests share.
var testSeconds int64

var (
	opMalloc, opLaunch, opCopy, opSync = event.MakeOp(event.CUDA, 1), event.MakeOp(event.CUDA, 3), event.MakeOp(event.CUDA, 7), event.MakeOp(event.CUDA, 5)
	opDriver, opRead, opExit, opGap    = event.MakeOp(event.Driver, 1), event.MakeOp(event.IO, 1), event.MakeOp(event.Host, 6), event.MakeOp(event.Host, 14)
)

func TestMain(m *testing.M) {
	flag.Int64Var(&testSeconds, "seconds", 90, "length of the recording that all tests share; 11000 are 2 million events")
	dir, err := os.MkdirTemp("", "ingero-export-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	recordingPath = filepath.Join(dir, "run.db")
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

var (
	recordingPath string
	recordOnce    = sync.OnceValue(func() error { return makeRecording(recordingPath) })
)

// record opens the recording that all tests share.
func record(t *testing.T) *store.Reader {
	t.Helper()
	if err := recordOnce(); err != nil {
		t.Fatal(err)
	}
	r, err := store.Open(recordingPath)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// makeRecording makes a recording with all that an export can show: two ranks with two
// threads each, nested calls of which some overlap by a little, gaps, requests to
// a disk that overlap, the end of a process, ledgers, wakers, findings, figures.
func makeRecording(path string) error {
	now := testBegin
	w, err := store.Create(path, store.Options{Node: "node-1", Now: func() time.Time { return now }, Session: store.Session{Version: "test", Rank: event.NoRank}})
	if err != nil {
		return err
	}
	born := testBegin.Add(-time.Hour).UnixNano()
	for rank, pid := range []uint32{100, 200} {
		w.Process(store.ProcessRow{Process: event.Process{PID: pid, Start: born, Comm: "python3", Cmdline: "python3 train.py", Rank: event.Rank{Rank: int32(rank), Local: int32(rank), World: 2}}})
	}
	w.Stack(event.Stack{Hash: 7, PID: 100, Frames: []event.Frame{
		{IP: 0x1000, Symbol: "cudaStreamSynchronize+0x0", File: "libcudart.so.12"},
		{PyFile: "train.py", PyFunc: "step", PyLine: 6}, {PyFile: "train.py", PyFunc: "<module>", PyLine: 9},
	}})
	w.Stack(event.Stack{Hash: 8, PID: 100, Frames: []event.Frame{
		{IP: 0x2000, Symbol: "cudaMalloc+0x0", File: "libcudart.so.12"}, {IP: 0x3000, Symbol: "at::empty(long)+0x1f", File: "libtorch.so", Source: "empty.cpp", Line: 12},
	}})
	r := rand.New(rand.NewPCG(3, 4))
	counts := map[[2]uint32]*stats.Calls{}
	for s := range testSeconds {
		at := testBegin.Add(time.Duration(s) * time.Second)
		clear(counts)
		events := secondOfEvents(r, at.UnixNano())
		if s == testSeconds-1 {
			events = append(events, event.Event{Start: at.UnixNano() + 999e6, PID: 200, TID: 200, Op: opExit, Ret: 9, Comm: "python3", Rank: event.NoRank, Runnable: -1, Blocked: -1})
		}
		for i := range events {
			countEvent(counts, &events[i], born)
		}
		var all []stats.Calls
		for _, c := range counts {
			all = append(all, *c)
		}
		w.Stats(at.Unix(), all)
		w.Append(events)
		ledger, pairs := secondOfBooks(r, born)
		w.Books(at.Unix(), ledger, pairs)
		w.Drained(at.Unix(), 1e9)
		w.Snapshot(event.Snapshot{Time: at.UnixNano() + 1, CPU: 47.5, Mem: 12, MemAvail: 11000, Load: 1.5, PSICPU: 3, PSIMem: 0, PSIIO: -1})
		w.GPU(event.GPUSample{Time: at.UnixNano() + 2, Util: 80, MemUsed: 1000, MemTotal: 2000, SMClock: -1, MemClock: -1, Power: 250, Temp: 60})
		now = at.Add(time.Second)
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if err := recordFindings(w); err != nil {
		return err
	}
	return w.Close()
}

func countEvent(counts map[[2]uint32]*stats.Calls, e *event.Event, born int64) {
	k := [2]uint32{e.PID, uint32(e.Op)}
	c := counts[k]
	if c == nil {
		c = &stats.Calls{PID: e.PID, Start: born, Op: e.Op, Hist: &stats.Histogram{}}
		counts[k] = c
	}
	c.Hist.Add(uint64(e.Dur))
	c.Recorded++
	c.Bytes += e.Bytes
}

// secondOfEvents are in the order in which they end.
func secondOfEvents(r *rand.Rand, at int64) (all []event.Event) {
	for _, pid := range []uint32{100, 200} {
		for _, tid := range []uint32{pid, pid + 1} {
			base := event.Event{PID: pid, TID: tid, Comm: "python3", Rank: event.Rank{Rank: int32(pid/100) - 1, Local: 0, World: 2}, Runnable: -1, Blocked: -1}
			free := at + int64(r.IntN(1000))
			add := func(op event.Op, dur int64, depth uint8, change func(*event.Event)) {
				e := base
				e.Op, e.Start, e.Dur, e.Depth = op, free, dur, depth
				change(&e)
				all = append(all, e)
			}
			for range 20 {
				dur := 2000 + int64(r.IntN(5000))
				late := int64(r.IntN(2)) * 100 // the driver's clock is a little ahead, so to say
				add(opDriver, dur-1000+late*20, 1, func(e *event.Event) { e.Start += 500; e.Handle = 0xfff0 })
				add(opLaunch, dur, 0, func(e *event.Event) { e.Handle = 0xabc0 })
				free += dur + int64(r.IntN(300))
			}
			add(opMalloc, 9000, 0, func(e *event.Event) { e.Bytes, e.Handle, e.Stack, e.Ret = 1<<20, 0x7f00_0000_0000, 8, 2 })
			free += 9000
			add(opCopy, 4000, 0, func(e *event.Event) { e.Bytes, e.Handle, e.Dir = 4096, 0x10, event.HostToDevice })
			free += 4000
			wait := 4_000_000 + int64(r.IntN(1e6))
			add(opSync, wait, 0, func(e *event.Event) { e.Handle, e.Stack, e.Runnable, e.Blocked = 0x10, 7, 1000, wait-2000 })
			free += wait - int64(r.IntN(2))*150 // the gap begins before the wait has ended
			add(opGap, 3e6, 0, func(e *event.Event) { e.Stack, e.Runnable, e.Blocked = 8, 2e6, 5e5 })
		}
		for i := range int64(3) { // at the same time
			all = append(all, event.Event{Start: at + 1000*i, Dur: 5e6 + 1e6*(i%2), PID: pid, TID: pid, Op: opRead, Bytes: 4096, Handle: 8 << 20, Comm: "python3", Rank: event.NoRank, Runnable: -1, Blocked: -1})
		}
	}
	return all
}

func secondOfBooks(r *rand.Rand, born int64) (ledger []stats.Ledger, pairs []stats.Pair) {
	for _, pid := range []uint32{100, 200} {
		for _, tid := range []uint32{pid, pid + 1} {
			left := uint64(1e9 + 2e6 - r.IntN(4e6)) // drains are not exactly a second apart
			for _, place := range []event.Op{opSync, 0} {
				l := stats.Ledger{PID: pid, TID: tid, Start: born, Comm: "python3", Place: place}
				for _, s := range []event.State{event.Running, event.Runnable, event.Lock, event.GPUWait} {
					l.NS[s] = uint64(r.IntN(100e6))
					l.Count[s] = 3
					left -= l.NS[s]
				}
				if place == 0 {
					l.NS[event.Sleep] = left
				}
				ledger = append(ledger, l)
			}
		}
		pairs = append(pairs, stats.Pair{PID: pid, TID: pid, State: event.Lock, OtherPID: pid, OtherTID: pid + 1, OtherComm: "python3", NS: 40e6, Count: 2},
			stats.Pair{PID: pid, TID: pid, State: event.GPUWait, OtherPID: 9, OtherTID: 9, OtherComm: "kworker", NS: 3e6, Count: 1})
	}
	return ledger, pairs
}

func recordFindings(w *store.Writer) error {
	for i, severity := range []string{"HIGH", "MEDIUM", "LOW"} {
		from := testBegin.Add(time.Duration(20+10*i) * time.Second)
		to := from.Add(8 * time.Second)
		detail, err := json.Marshal(map[string]any{
			"id": "node-1:x" + severity, "severity": severity, "node": "node-1", "pid": 100, "comm": "python3", "started_at": from, "ended_at": to,
			"cause":   map[string]any{"kind": "cpu_contention", "summary": "hog (PID 9) ran where python3 wanted to", "culprits": []any{}},
			"symptom": map[string]any{"op": "cudaStreamSync", "pid": 100}, "impact": map[string]any{"lost_ns": 3_000_000_000, "share": 0.375},
			"fixes": []any{map[string]any{"text": "Let the thief give way", "command": "renice -n 19 -p 9"}},
		})
		if err != nil {
			return err
		}
		w.Chain(store.Chain{ID: "node-1:x" + severity, Kind: "cpu_contention", Severity: severity, PID: 100, Started: from.UnixNano(), Ended: to.UnixNano(),
			Summary: "hog ran", RootCause: "hog (PID 9) ran where python3 wanted to", Op: "cudaStreamSync", LostNS: 3e9, Share: 0.375, Detail: detail})
	}
	return nil
}
