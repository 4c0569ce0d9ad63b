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

// started is an export that is in its middle: much of what it is to write is there.
type started struct {
	dir    string // with a file "out", which is old
	cmd    *exec.Cmd
	done   chan error
	stderr bytes.Buffer
}

func startExport(t *testing.T, format, db string) *started {
	t.Helper()
	x := &started{dir: filepath.Join(t.TempDir(), "exports"), done: make(chan error, 1)}
	if err := os.Mkdir(x.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(x.dir, "out")
	if err := os.WriteFile(out, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	x.cmd = ingero(t, &x.stderr, "export", "--format", format, "-d", db, "-o", out)
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { x.done <- x.cmd.Wait() }()
	for grown := false; !grown; time.Sleep(time.Millisecond) {
		select {
		case err := <-x.done:
			t.Fatalf("it ended before its middle: %v, %s", err, &x.stderr)
		default:
		}
		temp, _ := filepath.Glob(filepath.Join(x.dir, ".out.*.tmp"))
		for _, name := range temp {
			info, err := os.Stat(name)
			grown = grown || err == nil && info.Size() > 2_000_000
		}
	}
	return x
}

// kept checks that the old file is as it was.
func (x *started) kept(t *testing.T) {
	t.Helper()
	if b, err := os.ReadFile(filepath.Join(x.dir, "out")); err != nil || string(b) != "old" {
		t.Errorf("the old file is now %d bytes, %v", len(b), err)
	}
}

var fileFormats = []string{"perfetto", "chrome", "sqlite"}

// What ends an export in its middle leaves the old file as it was.
func TestExportEnds(t *testing.T) {
	db := manyEvents(t, 1_000_000)
	for _, format := range fileFormats {
		t.Run("Ctrl+C/"+format, func(t *testing.T) {
			x := startExport(t, format, db)
			if err := x.cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			if err := <-x.done; err == nil || !strings.Contains(x.stderr.String(), "interrupted; nothing was written") {
				t.Errorf("%v, %s", err, &x.stderr)
			}
			x.kept(t)
			if left := leftIn(t, x.dir); len(left) != 1 {
				t.Errorf("left behind: %q", left)
			}
		})
		// Nobody can tidy up after that, but under its name is no half file, and the
		// next export is not disturbed.
		t.Run("kill -9/"+format, func(t *testing.T) {
			x := startExport(t, format, db)
			if err := x.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			<-x.done
			x.kept(t)
			out := filepath.Join(x.dir, "out")
			if err := ingero(t, &x.stderr, "export", "--format", "folded", "--value", "time", "-d", db, "-o", out).Run(); err != nil {
				t.Errorf("the next one: %v, %s", err, &x.stderr)
			}
			if b, err := os.ReadFile(out); err != nil || !strings.Contains(string(b), "cudaLaunchKernel") {
				t.Errorf("the next one wrote %q, %v", b, err)
			}
		})
		t.Run("the folder vanishes/"+format, func(t *testing.T) {
			x := startExport(t, format, db)
			if err := os.RemoveAll(x.dir); err != nil {
				t.Fatal(err)
			}
			if err := <-x.done; err == nil || !strings.Contains(x.stderr.String(), "export to "+filepath.Join(x.dir, "out")+": ") {
				t.Errorf("%v, %s", err, &x.stderr)
			}
			if _, err := os.Stat(x.dir); !os.IsNotExist(err) {
				t.Errorf("it made the folder again: %v", err)
			}
		})
	}
}

// Into a file system that is read-only nothing is written, and it is said.
func TestExportReadOnly(t *testing.T) {
	dir := smallDisk(t, "size=8m")
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	db := manyEvents(t, 4096)
	for _, format := range fileFormats {
		var stderr bytes.Buffer
		err := ingero(t, &stderr, "export", "--format", format, "-d", db, "-o", filepath.Join(dir, "out")).Run()
		if err == nil || !strings.Contains(stderr.String(), "read-only file system") {
			t.Errorf("%s: %v, %s", format, err, &stderr)
		}
	}
}

// smallDisk mounts a file system of its own.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small file system: sudo -E make test")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("needs to mount a small file system: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, 0) })
	return dir
}

// A disk that is full, for real: a file system of 8 MB.
func TestExportDiskFull(t *testing.T) {
	dir := smallDisk(t, "size=8m")
	out := filepath.Join(dir, "out")
	if err := os.WriteFile(out, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	db := manyEvents(t, 200_000)
	for _, format := range fileFormats {
		var stderr bytes.Buffer
		err := ingero(t, &stderr, "export", "--format", format, "-d", db, "-o", out).Run()
		if err == nil || !strings.Contains(stderr.String(), "the disk is full; give -o a path on another disk") {
			t.Errorf("%s: %v, %s", format, err, &stderr)
		}
		if b, err := os.ReadFile(out); err != nil || string(b) != "old" {
			t.Errorf("%s: the old file is now %d bytes, %v", format, len(b), err)
		}
		if left := leftIn(t, dir); len(left) != 1 {
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
