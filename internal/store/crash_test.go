package store

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ingero/internal/event"
)

// The test binary is its own writer in another process: see TestMain.
const (
	writerPath  = "STORE_TEST_WRITER"  // record into this database
	writerLimit = "STORE_TEST_MAXFILE" // limit the size of files to this
)

func TestMain(m *testing.M) {
	if path := os.Getenv(writerPath); path != "" {
		if err := writeForever(path); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// writeForever records events and statistics as fast as a busy job makes
// them, flushes every 10 ms, and prints how many events were flushed. It ends
// when its input does.
func writeForever(path string) error {
	w, err := Create(path, Options{Node: "node-1"})
	if err != nil {
		return err
	}
	if os.Getenv(writerLimit) != "" {
		if err := limitFiles(os.Getenv(writerLimit)); err != nil {
			return err
		}
	}
	ended := make(chan struct{})
	go func() {
		bufio.NewReader(os.Stdin).ReadString('\n')
		close(ended)
	}()
	g := newGenerator(uint64(time.Now().UnixNano()))
	g.at = time.Now().UnixNano()
	batch := make([]event.Event, 500)
	for n := 0; ; {
		for i := range batch {
			g.next(&batch[i])
			batch[i].Start = time.Now().UnixNano()
		}
		w.Append(batch)
		n += len(batch)
		stats := testStats(g.r, 1, 1)
		w.Stats(time.Now().Unix(), stats)
		ledger, pairs := testBooks(g.r, 4000, testStart-1e9)
		w.Books(time.Now().Unix(), ledger, pairs)
		if err := w.Flush(); err != nil {
			fmt.Println("flush:", err)
			fmt.Println("close:", w.Close())
			return nil
		}
		fmt.Println(n)
		select {
		case <-ended:
			return w.Close()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// startWriter starts a writer in another process and waits until it has
// flushed at least n events.
func startWriter(t *testing.T, path string, n int, env ...string) (cmd *exec.Cmd, lines *bufio.Scanner) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), writerPath+"="+path), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	lines = bufio.NewScanner(out)
	for lines.Scan() {
		if done, err := strconv.Atoi(lines.Text()); err != nil {
			t.Fatalf("writer: %s", lines.Text())
		} else if done >= n {
			return cmd, lines
		}
	}
	t.Fatal("the writer ended")
	return nil, nil
}

func TestKilledWriterLosesLessThanASecond(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	ctx := context.Background()
	total := 0
	for round := range 8 {
		cmd, lines := startWriter(t, path, 500*(1+rand.IntN(20)))
		time.Sleep(time.Duration(rand.IntN(10_000)) * time.Microsecond) // any moment will do
		killed := time.Now()
		must(t, cmd.Process.Kill())
		flushed := 0
		for lines.Scan() {
			if n, err := strconv.Atoi(lines.Text()); err == nil {
				flushed = n
			}
		}
		cmd.Wait()
		before := hashes(t, filepath.Dir(path))
		r := open(t, path)
		if got := ask(t, r, "SELECT count(*) FROM events")[0][0].(int64); int(got) < total+flushed {
			t.Errorf("round %d: %d events, but %d were flushed", round, got, total+flushed)
		} else {
			total = int(got)
		}
		last, err := r.Events(ctx, Filter{}, 1)
		must(t, err)
		if missing := killed.Sub(time.Unix(0, last[0].Start)); missing > time.Second {
			t.Errorf("round %d: the last %v are missing", round, missing)
		}
		totals, err := r.Totals(ctx, Filter{}, false)
		must(t, err)
		var calls uint64
		for _, row := range totals.Rows {
			calls += row.Hist.Count()
		}
		if calls != uint64(total/500*1000) { // 1000 calls for every 500 events
			t.Errorf("round %d: %d calls, want %d", round, calls, total/500*1000)
		}
		if rows := ask(t, r, "SELECT * FROM pragma_integrity_check"); rows[0][0] != "ok" {
			t.Errorf("round %d: %v", round, rows)
		}
		sameFiles(t, before, hashes(t, filepath.Dir(path)))
	}
	// The next writer cleans up.
	w, err := Create(path, Options{Node: "node-1"})
	must(t, err)
	must(t, w.Close())
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("files left: %v", files)
	}
	sessions, err := open(t, path).Sessions(ctx)
	must(t, err)
	for i, s := range sessions {
		if s.Killed != (i < 8) || s.Stopped < s.Started {
			t.Errorf("session %d: %+v", i, s)
		}
	}
}

func TestReadersWorkWhileAWriterWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	_, lines := startWriter(t, path, 500)
	r := open(t, path)
	last := int64(0)
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		n := ask(t, r, "SELECT count(*) FROM events")[0][0].(int64)
		if n < last {
			t.Fatalf("%d events after %d", n, last)
		}
		last = n
		if _, err := r.Totals(context.Background(), Filter{}, true); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Events(context.Background(), Filter{}, 10); err != nil {
			t.Fatal(err)
		}
		// Calls and ledger of a second are written together.
		for _, p := range books(t, r, Filter{}) {
			for _, s := range p.Seconds {
				if len(s.Calls) == 0 || len(s.Ledger) == 0 || len(s.Pairs) == 0 {
					t.Fatalf("second %d: %d calls, %d ledgers, %d pairs", s.At, len(s.Calls), len(s.Ledger), len(s.Pairs))
				}
			}
		}
		if !lines.Scan() || strings.HasPrefix(lines.Text(), "flush") {
			t.Fatalf("the writer failed: %s", lines.Text())
		}
	}
	if last <= 500 {
		t.Errorf("never saw more than %d events", last)
	}
}

func TestSecondWriterIsToldTheFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	cmd, _ := startWriter(t, path, 500)
	_, err := Create(path, Options{Node: "node-1"})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("(PID %d)", cmd.Process.Pid)) {
		t.Errorf("error %v, want PID %d", err, cmd.Process.Pid)
	}
}
