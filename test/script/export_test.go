package script

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ingero/internal/event"
	"ingero/internal/store"
)

// manyEvents makes a recording that takes a while to export.
func manyEvents(t *testing.T, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "many.db")
	w, err := store.Create(path, store.Options{Node: "node-1", Session: store.Session{Version: "test", Rank: event.NoRank}})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	batch := make([]event.Event, 4096)
	for done := 0; done < n; done += len(batch) {
		for i := range batch {
			at += 10_000
			batch[i] = event.Event{Start: at, Dur: 5000, PID: 101, TID: 101, Op: event.MakeOp(event.CUDA, 3), Handle: uint64(i), Comm: "python3", Rank: event.NoRank, Runnable: -1, Blocked: -1}
		}
		w.Append(batch)
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// ingero returns a command that is a process of its own.
func ingero(t *testing.T, stderr *bytes.Buffer, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), "RUN_INGERO=1", "SUDO_USER=")
	cmd.Stderr = stderr
	return cmd
}

func leftIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

// Ctrl+C in the middle leaves the old file as it was, and no other.
func TestExportInterrupted(t *testing.T) {
	db := manyEvents(t, 2_000_000)
	for _, format := range []string{"perfetto", "chrome", "sqlite"} {
		t.Run(format, func(t *testing.T) {
			dir := t.TempDir()
			out := filepath.Join(dir, "out")
			if err := os.WriteFile(out, []byte("old"), 0o644); err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			cmd := ingero(t, &stderr, "export", "--format", format, "-d", db, "-o", out)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- cmd.Wait() }()
			// In the middle is when the temporary file has grown.
			for grown := false; !grown; time.Sleep(time.Millisecond) {
				select {
				case err := <-done:
					t.Fatalf("it ended before it was interrupted: %v, %s", err, &stderr)
				default:
				}
				temp, _ := filepath.Glob(filepath.Join(dir, ".out.*.tmp"))
				for _, name := range temp {
					info, err := os.Stat(name)
					grown = grown || err == nil && info.Size() > 100_000
				}
			}
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err == nil || !strings.Contains(stderr.String(), "interrupted; nothing was written") {
				t.Errorf("%v, %s", err, &stderr)
			}
			if b, err := os.ReadFile(out); err != nil || string(b) != "old" {
				t.Errorf("the old file is now %d bytes, %v", len(b), err)
			}
			if left := leftIn(t, dir); len(left) != 1 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// A disk that is full, for real: a file system of 8 MB.
func TestExportDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small file system: sudo -E make test")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("needs to mount a small file system: %v", err)
	}
	defer syscall.Unmount(dir, 0)
	db := manyEvents(t, 200_000)
	for _, format := range []string{"perfetto", "chrome", "sqlite"} {
		var stderr bytes.Buffer
		err := ingero(t, &stderr, "export", "--format", format, "-d", db, "-o", filepath.Join(dir, "out")).Run()
		if err == nil || !strings.Contains(stderr.String(), "the disk is full; give -o a path on another disk") {
			t.Errorf("%s: %v, %s", format, err, &stderr)
		}
		if left := leftIn(t, dir); len(left) != 0 {
			t.Errorf("%s left behind: %q", format, left)
		}
	}
	// The same compressed does fit.
	var stderr bytes.Buffer
	if err := ingero(t, &stderr, "export", "-d", db, "-o", filepath.Join(dir, "out.pftrace.gz")).Run(); err != nil {
		t.Errorf("%v, %s", err, &stderr)
	}
}

// A reader that goes away is no error.
func TestExportReaderLeaves(t *testing.T) {
	db := manyEvents(t, 200_000)
	var stderr bytes.Buffer
	cmd := ingero(t, &stderr, "export", "--format", "chrome", "-d", db, "-o", "-")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	out.Close()
	// Either it saw that nobody reads, or the kernel told it first.
	if err := cmd.Wait(); err != nil && !strings.Contains(fmt.Sprint(err), "broken pipe") || stderr.Len() > 0 {
		t.Errorf("%v, %s", err, &stderr)
	}
}
