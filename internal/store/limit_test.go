package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ingero/internal/event"
)

// limitFiles makes every write beyond a size fail, as on a broken disk.
func limitFiles(size string) error {
	n, err := strconv.ParseUint(size, 10, 64)
	if err != nil {
		return err
	}
	return unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: n})
}

// diskSize returns the size of a database with its log.
func diskSize(path string) (db, all int64) {
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(path + suffix); err == nil {
			all += info.Size()
			if suffix == "" {
				db = info.Size()
			}
		}
	}
	return db, all
}

func TestOldDataGivesWayAtTheLimit(t *testing.T) {
	const limit = 4 << 20
	w, path := create(t, Options{MaxBytes: limit})
	g := newGenerator(1)
	batch := make([]event.Event, 3000)
	const rounds = 300
	for round := range rounds { // 900,000 events, some 13 MB
		for i := range batch {
			g.next(&batch[i])
		}
		w.Append(batch)
		w.Stats(testStart/1e9+int64(round), testStats(g.r, 2, 10))
		must(t, w.Flush())
		if db, all := diskSize(path); db > limit*105/100 || all > limit*125/100 {
			t.Fatalf("round %d: %d bytes, %d with the log; the limit is %d", round, db, all, limit)
		}
	}
	must(t, w.Close())
	r := open(t, path)
	rows := ask(t, r, "SELECT sum(length(data)), min(seq), max(seq + n) FROM event_chunks")
	if got := rows[0][2]; got != int64(rounds*len(batch)+1) {
		t.Errorf("the newest event is missing: %v", got)
	}
	if share := float64(rows[0][0].(int64)) / limit; share < 0.6 {
		t.Errorf("only %.0f %% of the space is used for events", share*100)
	}
	if rows[0][1] == int64(1) {
		t.Error("nothing was dropped")
	}
	got, err := r.Events(context.Background(), Filter{}, 1)
	if err != nil || got[0].Event != batch[len(batch)-1] {
		t.Errorf("newest event %+v, %v", got, err)
	}
	// Statistics by the minute outlive the oldest events.
	if rows := ask(t, r, "SELECT max(second), (SELECT count(DISTINCT minute) FROM call_stats_minute) FROM call_stats"); rows[0][0] != int64(testStart/1e9+rounds-1) || rows[0][1] != int64(rounds/60-1) {
		t.Errorf("statistics: %v", rows)
	}
}

func TestStatisticsGiveWayWhereTheyTakeTheSpace(t *testing.T) {
	const limit = 2 << 20
	w, path := create(t, Options{MaxBytes: limit})
	r := rand.New(rand.NewPCG(1, 1))
	const seconds = 600
	for s := range int64(seconds) {
		w.Append(testEvents(10, uint64(s)))
		w.Stats(testStart/1e9+s, testStats(r, 2, 5))
		must(t, w.Flush())
		if db, _ := diskSize(path); db > limit*105/100 {
			t.Fatalf("second %d: %d bytes, the limit is %d", s, db, limit)
		}
	}
	must(t, w.Close())
	rd := open(t, path)
	rows := ask(t, rd, "SELECT (SELECT min(second) FROM call_stats), (SELECT min(minute) FROM call_stats_minute), (SELECT count(*) FROM events)")
	if rows[0][0].(int64) < testStart/1e9+60 || rows[0][1] != int64(testStart/1e9) {
		t.Errorf("oldest second, oldest minute, events: %v", rows)
	}
	// What was dropped by the second is still there by the minute.
	totals, err := rd.Totals(context.Background(), Filter{From: testStart + 30e9, To: testStart + (seconds-30)*1e9}, false)
	must(t, err)
	var calls uint64
	for _, row := range totals.Rows {
		calls += row.Hist.Count()
	}
	if want := uint64((seconds - 30) * 2 * 5 * 1000); calls != want {
		t.Errorf("%d calls, want %d: from the whole first minute on", calls, want)
	}
}

func TestLoweredLimitShrinksTheFile(t *testing.T) {
	w, path := create(t, Options{})
	w.Append(testEvents(400_000, 1))
	must(t, w.Close())
	big, _ := diskSize(path)
	w, err := Create(path, Options{Node: "node-1", MaxBytes: 2 << 20})
	must(t, err)
	for i := range 20 {
		w.Snapshot(event.Snapshot{Time: int64(i + 1)})
		must(t, w.Flush())
	}
	must(t, w.Close())
	if small, _ := diskSize(path); small > (2<<20)*105/100 {
		t.Errorf("%d bytes, was %d", small, big)
	}
}

// fullDisk mounts a small file system, or skips the test.
func fullDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("needs to mount a small file system (%v): sudo -E go test ./internal/store", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "test.db")
}

func TestFullDiskIsReportedAndLeavesTheDatabaseSound(t *testing.T) {
	path := fullDisk(t)
	w, err := Create(path, Options{Node: "node-1"})
	must(t, err)
	flushed := 0
	for err == nil && flushed < 10_000_000 {
		w.Append(testEvents(5000, uint64(flushed)))
		if err = w.Flush(); err == nil {
			flushed += 5000
		}
	}
	if !errors.Is(err, ErrDiskFull) || !strings.Contains(err.Error(), "free some space") || strings.Contains(err.Error(), "\n") {
		t.Fatalf("after %d events: %v", flushed, err)
	}
	r := open(t, path)
	if got := ask(t, r, "SELECT count(*) FROM events")[0][0]; got != int64(flushed) {
		t.Errorf("%v events, want %d", got, flushed)
	}
	// Memory stays bounded while the disk is full, and the loss is counted.
	for range 1100 {
		w.Append(testEvents(chunkEvents, 1))
	}
	if w.Dropped() == 0 || len(w.sealed) > maxSealed {
		t.Errorf("%d chunks wait, %d events dropped", len(w.sealed), w.Dropped())
	}
	if err := w.Close(); !errors.Is(err, ErrDiskFull) {
		t.Errorf("Close: %v", err)
	}
	if got := ask(t, open(t, path), "SELECT count(*) FROM events")[0][0]; got != int64(flushed) {
		t.Errorf("after Close: %v events, want %d", got, flushed)
	}
	if _, err := Create(filepath.Join(filepath.Dir(path), "second.db"), Options{Node: "n"}); !errors.Is(err, ErrDiskFull) {
		t.Errorf("Create on a full disk: %v", err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(path), "second.db")); err == nil {
		t.Error("a database that could not be made stays behind")
	}
}

func TestFailingWritesAreReported(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	_, lines := startWriter(t, path, 500, writerLimit+"=1000000")
	var failed, closed string
	for lines.Scan() {
		if s, ok := strings.CutPrefix(lines.Text(), "flush: "); ok {
			failed = s
		}
		if s, ok := strings.CutPrefix(lines.Text(), "close: "); ok {
			closed = s
		}
	}
	if !strings.Contains(failed, "write "+path) || closed == "" || closed == "<nil>" {
		t.Errorf("flush: %q, close: %q", failed, closed)
	}
	if rows := ask(t, open(t, path), "SELECT * FROM pragma_integrity_check"); rows[0][0] != "ok" {
		t.Errorf("%v", rows)
	}
}

func TestReadOnlyDirectoryIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_RDONLY, ""); err != nil {
		t.Skipf("needs to mount a file system (%v): sudo -E go test ./internal/store", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	if _, err := Create(filepath.Join(dir, "test.db"), Options{Node: "n"}); err == nil || !strings.Contains(err.Error(), "--db") {
		t.Errorf("error %v", err)
	}
}

// Readers can tell a writer that lives from one that was killed.
func TestInUse(t *testing.T) {
	w, path := create(t, Options{})
	r := open(t, path)
	if is, err := r.InUse(); !is || err != nil {
		t.Errorf("while it is written: %v, %v", is, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if is, err := r.InUse(); is || err != nil {
		t.Errorf("after that: %v, %v", is, err)
	}
}
