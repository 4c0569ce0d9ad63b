package trace

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ingero/internal/event"
	"ingero/test/workload"
)

// A million launches as fast as they go, through both libraries.
func TestMillionLaunches(t *testing.T) {
	for name, args := range map[string]string{
		"1-thread":    "--count 1000000",
		"8-threads":   "--count 125000 --threads 8",
		"2-processes": "--count 500000 --processes 2",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			a := b.trace(b.libs()...)
			truth := b.workload(append(strings.Fields(args), "--bench", "cudaLaunchKernel", "--kernel-ns", "0")...)
			a.stop()
			b.agree(truth)
			if truth.Calls["cudaLaunchKernel"] != 1_000_000 || truth.Calls["cuLaunchKernel"] != 1_000_000 {
				t.Errorf("the workload made %v", truth.Calls)
			}
			if n := b.sql("SELECT count(*) FROM events WHERE source IN (1, 4)"); uint64(n) != b.query().Coverage.Recorded {
				t.Errorf("%v events stored, coverage says %d", n, b.query().Coverage.Recorded)
			}
		})
	}
}

func TestRecordAllLosesNothing(t *testing.T) {
	b := newBox(t)
	a := b.trace(append(b.libs(), "--record-all")...)
	truth := b.workload("--bench", "cudaLaunchKernel", "--count", "500000", "--kernel-ns", "0")
	a.stop()
	b.agree(truth)
	if c := b.query().Coverage; c.Lost != 0 || c.Recorded != c.Calls {
		t.Errorf("coverage %+v, want every call recorded", c)
	}
	var want uint64
	for _, row := range event.Calls {
		want += truth.Calls[row.Exports()[0]]
	}
	if n := b.sql("SELECT count(*) FROM events WHERE source IN (1, 4)"); uint64(n) != want || want < 1_000_000 {
		t.Errorf("%v events stored, want %d", n, want)
	}
}

// 'trace -- COMMAND' sees the first call and hands the exit status on.
func TestCommand(t *testing.T) {
	b := newBox(t)
	for name, command := range map[string][]string{
		"C":      {b.sim("workload"), "--steps", "30", "--alloc-bytes", "1000"},
		"static": {b.sim("workload-static"), "--steps", "30"},
		"late":   {b.sim("workload-late"), "--steps", "30", "--late-dlopen-ms", "50"},
		"python": {"python3", b.sim("train.py"), "--lib-dir", b.dir, "--steps", "30"},
		"script": {"sh", "-c", "sleep 0.1; exec " + b.sim("workload") + " --steps 30"},
	} {
		t.Run(name, func(t *testing.T) {
			b := &box{T: t, dir: b.dir, db: filepath.Join(t.TempDir(), "test.db")}
			a := b.start(append([]string{"--"}, command...)...)
			if status := a.wait(); status != 0 {
				t.Fatalf("exit status %d:\n%s", status, a.said())
			}
			var truth workload.Truth
			if err := json.Unmarshal(a.stdout.Bytes(), &truth); err != nil {
				t.Fatalf("%v in %q", err, a.stdout.String())
			}
			b.agree(truth)
		})
	}
	for want, command := range map[int]string{7: "exit 7", 128 + 9: "kill -9 $$"} {
		if status := b.start("--", "sh", "-c", command).wait(); status != want {
			t.Errorf("%s: exit status %d, want %d", command, status, want)
		}
	}
}

// With --json, standard output is JSON and nothing else, also when the
// command itself prints.
func TestJSON(t *testing.T) {
	b := newBox(t)
	a := b.start("--json", "--node", "n7", "--", b.sim("workload"), "--steps", "5", "--copy-bytes", "4096", "--fail")
	if status := a.wait(); status != 0 {
		t.Fatalf("exit status %d:\n%s", status, a.said())
	}
	seen := map[string]int{}
	for lines := bufio.NewScanner(bytes.NewReader(a.stdout.Bytes())); lines.Scan(); {
		var e struct {
			Timestamp        time.Time
			PID, TID         int
			Comm, Source, Op string
			DurationNS       int64 `json:"duration_ns"`
			Duration         string
			Bytes            uint64
			Handle           string
			RetCode          int    `json:"ret_code"`
			RunningNS        *int64 `json:"running_ns"`
			RunnableNS       *int64 `json:"runnable_ns"`
			BlockedNS        *int64 `json:"blocked_ns"`
			Node             string
			Rank             *int
		}
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		if err := d.Decode(&e); err != nil {
			t.Fatalf("%v in %q", err, lines.Text())
		}
		if e.Node != "n7" || e.PID == 0 || e.Comm == "" || time.Since(e.Timestamp) > time.Minute || !strings.HasPrefix(e.Handle, "0x") {
			t.Errorf("odd event %s", lines.Text())
		}
		if e.Source != "host" && (e.RunningNS == nil || *e.RunningNS+*e.RunnableNS+*e.BlockedNS != e.DurationNS) {
			t.Errorf("the parts do not add up in %s", lines.Text())
		}
		if e.Op == "cudaStreamSync" && *e.BlockedNS > e.DurationNS/2 {
			seen["waits that blocked"]++
		}
		if e.Op == "cudaMemcpy" && e.Bytes == 4096 {
			seen["copies of 4096"]++
		}
		if e.RetCode != 0 {
			seen["failed"]++
		}
		seen[e.Source]++
	}
	for _, want := range []string{"cuda", "driver", "host", "copies of 4096", "failed", "waits that blocked"} {
		if seen[want] == 0 {
			t.Errorf("no %s event in %v", want, seen)
		}
	}
	if !strings.Contains(a.said(), `"calls"`) {
		t.Error("the command's own output is not on standard error")
	}
}

// A process that starts while we trace is found by itself: its libraries
// have never been seen before.
func TestLateStarter(t *testing.T) {
	b := newBox(t)
	a := b.trace()
	truth := b.workload("--steps", "30", "--start-delay-ms", "500", "--preload")
	a.stop()
	b.agree(truth)
}

func TestTargets(t *testing.T) {
	b := newBox(t)
	first, second := b.launch("--steps", "40", "--wait-stdin", "--preload"), b.launch("--steps", "30", "--wait-stdin", "--preload")
	for _, r := range []*workload.Run{first, second} {
		if err := r.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	a := b.trace("--pid", strconv.Itoa(first.PID))
	for _, r := range []*workload.Run{first, second} {
		if err := r.Go(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	if status := a.wait(); status != 0 { // ends with its only process
		t.Fatalf("exit status %d:\n%s", status, a.said())
	}
	truth, err := first.Wait()
	if err != nil {
		t.Fatal(err)
	}
	b.agree(truth)
	for _, op := range b.query("--per-process").Ops {
		if int(op.PID) != first.PID {
			t.Errorf("%s of process %d, want only %d", op.Op, op.PID, first.PID)
		}
	}
}

// The time from exec to attached probes; the promise is one second.
func TestStartIsQuick(t *testing.T) {
	b := newBox(t)
	began := time.Now()
	a := b.start(append(b.libs(), "--user", b.user)...)
	line := a.await("probes attached")
	took := time.Since(began)
	a.stop()
	t.Logf("%s; %v seen from outside", line, took.Round(time.Millisecond))
	if took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if _, err := os.Stat(b.db); err != nil {
		t.Error(err)
	}
}
