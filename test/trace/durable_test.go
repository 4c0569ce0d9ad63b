package trace

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// kill -9 of the agent at any moment leaves a database that opens, with at
// most the last second missing, and a job that goes on.
func TestKillAgent(t *testing.T) {
	for _, after := range []time.Duration{700 * time.Millisecond, 1600 * time.Millisecond, 2500 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			b := newBox(t)
			a := b.trace(b.libs()...)
			r := b.launch("--steps", "0", "--gap-us", "1000", "--kernel-ns", "1000")
			// Until the database holds events of the job, then a while more.
			b.until("events of the job", func() bool { return b.try("SELECT count(*) FROM events WHERE source = 1") > 0 })
			time.Sleep(after)
			if err := a.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			killed := time.Now()
			a.wait()
			newest := b.sql("SELECT max(timestamp + duration) FROM events WHERE source IN (1, 4)")
			if lost := killed.Sub(time.Unix(0, int64(newest))); lost > time.Second {
				t.Errorf("the last %v are missing", lost)
			}
			newest = b.sql("SELECT max(second) FROM call_stats")
			if lost := killed.Sub(time.Unix(int64(newest)+1, 0)); lost > 2*time.Second {
				t.Errorf("the last %v of the statistics are missing", lost)
			}
			if err := r.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if truth, err := r.Wait(); err != nil || truth.Steps == 0 {
				t.Errorf("the job did not survive: %v", err)
			}
			// The next trace goes on in the same database.
			before := b.sql("SELECT count(*) FROM events")
			a = b.trace(b.libs()...)
			b.workload("--steps", "10")
			a.stop()
			if n := b.sql("SELECT count(*) FROM sessions"); n != 2 {
				t.Errorf("%v sessions, want 2", n)
			}
			if n := b.sql("SELECT count(*) FROM events"); n <= before {
				t.Errorf("%v events after another trace, %v before", n, before)
			}
		})
	}
}

// try is sql that may fail while the database is not there yet.
func (b *box) try(text string) float64 {
	out, err := exec.Command(bin, "query", "--json", "-d", b.db, text).Output()
	if err != nil {
		return 0
	}
	var table struct{ Rows [][]any }
	if err := json.Unmarshal(out, &table); err != nil || len(table.Rows) == 0 {
		return 0
	}
	n, _ := table.Rows[0][0].(float64)
	return n
}

func (b *box) until(what string, ok func() bool) {
	b.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("waited in vain for %s", what)
		}
	}
}

// kill -9 of the traced process ends its trace cleanly.
func TestKillWorkload(t *testing.T) {
	b := newBox(t)
	r := b.launch("--steps", "0", "--wait-stdin", "--preload")
	if err := r.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	a := b.trace("--pid", fmt.Sprint(r.PID))
	if err := r.Go(); err != nil {
		t.Fatal(err)
	}
	b.until("events of the job", func() bool { return b.try("SELECT count(*) FROM events WHERE source = 1") > 0 })
	if err := r.Signal(os.Kill); err != nil {
		t.Fatal(err)
	}
	r.Wait()
	if status := a.wait(); status != 0 {
		t.Fatalf("exit status %d:\n%s", status, a.said())
	}
	if n := b.sql("SELECT count(*) FROM processes WHERE ended IS NOT NULL AND exit_status = 9"); n != 1 {
		t.Errorf("%v processes killed by signal 9, want 1\n%s", n, b.run("query", "-d", b.db, "SELECT * FROM processes"))
	}
	if n := b.sql("SELECT count(*) FROM sessions WHERE stopped_at > started_at"); n != 1 {
		t.Errorf("%v sessions ended, want 1", n)
	}
	if n := b.sql("SELECT count(*) FROM events WHERE source = 3 AND op = 6"); n != 1 {
		t.Errorf("%v process_exit events, want 1", n)
	}
}

// A full disk stops the recording with a clear message, and nothing else.
func TestFullDisk(t *testing.T) {
	b := newBox(t)
	disk := filepath.Join(b.dir, "disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("needs the right to mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	b.db = filepath.Join(disk, "small.db")
	a := b.trace(append(b.libs(), "--record-all")...)
	r := b.launch("--steps", "0", "--launches", "40", "--gap-us", "1000", "--kernel-ns", "0")
	line := a.await("recording stopped")
	if !strings.Contains(line, "disk is full") {
		t.Errorf("said %q", line)
	}
	if err := r.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	truth, err := r.Wait()
	if err != nil {
		t.Errorf("the job did not survive: %v", err)
	}
	if err := a.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	a.wait()
	if n := b.sql("SELECT count(*) FROM events"); n == 0 {
		t.Error("what was recorded before is gone")
	}
	// The live view went on: its last screen has the exact count.
	if want := fmt.Sprint(truth.Calls["cudaLaunchKernel"]); !strings.Contains(strings.ReplaceAll(a.stdout.String(), ",", ""), want) {
		t.Errorf("no %s in the last screen:\n%s", want, a.stdout.String())
	}
}

// Readers work while the writer writes.
func TestReadWhileRecording(t *testing.T) {
	b := newBox(t)
	a := b.trace(b.libs()...)
	r := b.launch("--steps", "0", "--gap-us", "1000", "--kernel-ns", "1000")
	var last uint64
	b.until("growing totals", func() bool {
		if b.try("SELECT count(*) FROM call_stats") == 0 {
			return false
		}
		n := b.query("--limit", "5").Coverage.Calls
		grew := last > 0 && n > last
		last = n
		return grew
	})
	if err := r.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	truth, err := r.Wait()
	if err != nil {
		t.Fatal(err)
	}
	a.stop()
	b.agree(truth)
	for _, left := range []string{b.db + "-wal", b.db + "-shm"} {
		if _, err := os.Stat(left); err == nil {
			t.Errorf("%s was left behind", left)
		}
	}
}
