package store

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// create makes a database in a directory of its own.
func create(t testing.TB, opts Options) (*Writer, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	opts.Node = "node-1"
	w, err := Create(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	return w, path
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, path string) *Reader {
	t.Helper()
	r, err := Open(path)
	must(t, err)
	return r
}

// ask returns the rows of a query.
func ask(t testing.TB, r *Reader, text string) [][]any {
	t.Helper()
	table, err := r.SQL(context.Background(), text, Limits{})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return table.Rows
}

func TestEventsComeBack(t *testing.T) {
	w, path := create(t, Options{})
	events := testEvents(10_000, 1)
	for part := range slices.Chunk(events, 700) {
		w.Append(part)
		must(t, w.Flush())
	}
	r := open(t, path)
	check := func(when string) {
		t.Helper()
		got, err := r.Events(context.Background(), Filter{}, len(events)+1)
		must(t, err)
		if len(got) != len(events) {
			t.Fatalf("%s: %d events, want %d", when, len(got), len(events))
		}
		for i := range got {
			if got[i].Event != events[i] || got[i].Seq != int64(i+1) || got[i].Node != "node-1" {
				t.Fatalf("%s: event %d: got %+v, want %+v", when, i, got[i], events[i])
			}
		}
	}
	check("while it records")
	must(t, w.Close())
	check("after it closed")
	for _, suffix := range []string{"-wal", "-shm", "-journal"} {
		if _, err := os.Stat(path + suffix); err == nil {
			t.Errorf("%s%s stays behind", path, suffix)
		}
	}
	if rows := ask(t, r, "SELECT count(*), max(n) FROM event_chunks"); rows[0][0] != int64(3) || rows[0][1] != int64(chunkEvents) {
		t.Errorf("chunks: %v", rows)
	}
}

func TestOpenChunkIsSealedWhenItIsOld(t *testing.T) {
	now := time.Unix(0, testStart)
	w, path := create(t, Options{Now: func() time.Time { return now }})
	for _, e := range testEvents(5, 1) { // at 0, 20, 40, 60 and 80 s
		w.Append([]event.Event{e})
		must(t, w.Flush())
		now = now.Add(20 * time.Second)
	}
	must(t, w.Close())
	rows := ask(t, open(t, path), "SELECT n, seq FROM event_chunks ORDER BY id")
	if len(rows) != 2 || rows[0][0] != int64(4) || rows[1][0] != int64(1) || rows[1][1] != int64(5) {
		t.Errorf("chunks (n, seq): %v", rows)
	}
}

func TestNewestEventsFiltered(t *testing.T) {
	w, path := create(t, Options{})
	events := testEvents(9000, 3)
	// A call that lasted long is recorded late but started early.
	events[8999].Start = events[10].Start
	w.Append(events)
	must(t, w.Close())
	r := open(t, path)
	filters := map[string]Filter{
		"all":    {},
		"window": {From: events[100].Start, To: events[5000].Start},
		"pid":    {PIDs: []uint32{4001, 4003}},
		"op":     {Ops: []event.Op{event.MakeOp(event.CUDA, 5)}},
		"none":   {PIDs: []uint32{}},
	}
	for name, f := range filters {
		var want []event.Event
		for _, e := range events {
			if e.Start >= f.From && e.Start < f.end() && f.hasPID(e.PID) && f.hasOp(e.Op) {
				want = append(want, e)
			}
		}
		slices.SortStableFunc(want, func(a, b event.Event) int { return int(a.Start - b.Start) })
		for _, limit := range []int{1, 20, 100_000} {
			got, err := r.Events(context.Background(), f, limit)
			must(t, err)
			tail := want[max(0, len(want)-limit):]
			if len(got) != len(tail) {
				t.Errorf("%s, limit %d: %d events, want %d", name, limit, len(got), len(tail))
				continue
			}
			for i := range got {
				if got[i].Event != tail[i] {
					t.Errorf("%s, limit %d: event %d is %+v, want %+v", name, limit, i, got[i], tail[i])
					break
				}
			}
		}
	}
}

// TestStatisticsAddUp compares every window with sums made by hand, over
// restarts in the middle of a second and of a minute.
func TestStatisticsAddUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	r := rand.New(rand.NewPCG(1, 1))
	const start, length = testStart / 1e9, 200
	bySecond := map[int64]uint64{}
	var w *Writer
	for s := int64(start); s < start+length; s++ {
		if w == nil {
			var err error
			w, err = Create(path, Options{Node: "node-1"})
			must(t, err)
		}
		for range 2 { // twice, as when a drain is split
			w.Stats(s, testStats(r, 2, 3))
			bySecond[s] += 2 * 3 * 1000
			must(t, w.Flush())
			if s%37 == 0 {
				must(t, w.Close())
				var err error
				w, err = Create(path, Options{Node: "node-1"})
				must(t, err)
			}
		}
	}
	must(t, w.Close())
	reader := open(t, path)
	windows := [][2]int64{{0, 0}, {start, start + length}, {start + 60, start + 120}, {start + 59, start + 121},
		{start + 5, start + 6}, {start + 61, start + 119}, {start + 7, start + 190}, {start + 300, start + 400}}
	for _, at := range windows {
		var want uint64
		for s, n := range bySecond {
			if s >= at[0] && (at[1] == 0 || s < at[1]) {
				want += n
			}
		}
		for _, perProcess := range []bool{false, true} {
			totals, err := reader.Totals(context.Background(), Filter{From: at[0] * 1e9, To: at[1] * 1e9}, perProcess)
			must(t, err)
			var got, nested, lost uint64
			for _, row := range totals.Rows {
				got += row.Hist.Count()
				nested += row.Nested
				lost += row.Lost
			}
			if got != want || nested != want/100 || lost != want/500 {
				t.Errorf("window %v: count %d nested %d lost %d, want %d", at, got, nested, lost, want)
			}
		}
	}
	rows := ask(t, reader, "SELECT sum(count), sum(stored), count(DISTINCT bucket), min(min_dur) > 0 FROM event_aggregates")
	if rows[0][0] != int64(length*12000) || rows[0][1] != int64(length*12*30) || rows[0][2] != int64(4) || rows[0][3] != int64(1) {
		t.Errorf("event_aggregates: %v", rows)
	}
}

func TestProcessesAndSession(t *testing.T) {
	w, path := create(t, Options{Session: Session{Version: "v1", GPUModel: "none"}})
	w.Process(ProcessRow{Process: event.Process{PID: 7, Start: 5, Comm: "a", Rank: event.NoRank}})
	must(t, w.Flush())
	w.Process(ProcessRow{Process: event.Process{PID: 7, Start: 5, Comm: "b", Rank: event.Rank{Rank: 1, Local: 1, World: 2}}, Ended: 9, Status: 256})
	w.Stats(1, []stats.Calls{{PID: 8, Start: 6, Op: event.MakeOp(event.CUDA, 1), Hist: new(stats.Histogram)}})
	w.Gap("no kernel events")
	w.Gap("no kernel events")
	share := 0.01
	w.Session(Session{Version: "v2", Overhead: &share, Lost: 3, Rank: event.NoRank})
	w.Snapshot(event.Snapshot{Time: 11, CPU: 50, MemAvail: 100})
	must(t, w.Close())
	r := open(t, path)
	got := ask(t, r, "SELECT pid, start, comm, rank, ended, exit_status FROM processes ORDER BY pid")
	if want := [][]any{{int64(7), int64(5), "b", int64(1), int64(9), int64(256)}, {int64(8), int64(6), "", nil, int64(0), nil}}; !slices.EqualFunc(got, want, slices.Equal[[]any]) {
		t.Errorf("processes %v, want %v", got, want)
	}
	sessions, err := r.Sessions(context.Background())
	must(t, err)
	if len(sessions) != 1 || sessions[0].Version != "v2" || sessions[0].Lost != 3 || *sessions[0].Overhead != 0.01 ||
		!slices.Equal(sessions[0].Gaps, []string{"no kernel events"}) || sessions[0].Killed || sessions[0].Stopped == 0 {
		t.Errorf("sessions %+v", sessions)
	}
	if rows := ask(t, r, "SELECT timestamp, cpu_pct, mem_avail FROM system_snapshots"); len(rows) != 1 || rows[0][1] != 50.0 {
		t.Errorf("snapshots %v", rows)
	}
}

func TestTablesAreStrictAndPlain(t *testing.T) {
	w, path := create(t, Options{})
	must(t, w.Close())
	db, err := sql.Open("sqlite", path)
	must(t, err)
	defer db.Close()
	var loose, version int
	must(t, db.QueryRow("SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND NOT strict AND name NOT LIKE 'sqlite%'").Scan(&loose))
	must(t, db.QueryRow("SELECT value FROM schema_info WHERE key = 'version'").Scan(&version))
	if loose != 0 || version != SchemaVersion() {
		t.Errorf("%d tables are not STRICT, version %d", loose, version)
	}
	var names int
	must(t, db.QueryRow("SELECT count(*) FROM sources s JOIN ops o ON s.id = o.source_id WHERE s.name = 'cuda' AND o.name = 'cudaMalloc' AND o.op_id = 1").Scan(&names))
	if names != 1 {
		t.Errorf("%d rows for cudaMalloc in ops", names)
	}
}

func TestBadFilesAreRefusedAndLeftAlone(t *testing.T) {
	foreign := func(text string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			uri, err := dsn(path, "mode=rwc")
			must(t, err)
			db, err := sql.Open("sqlite", uri)
			must(t, err)
			_, err = db.Exec(text)
			must(t, err)
			must(t, db.Close())
		}
	}
	write := func(b string) func(*testing.T, string) {
		return func(t *testing.T, path string) { must(t, os.WriteFile(path, []byte(b), 0o644)) }
	}
	cases := []struct {
		name    string
		prepare func(t *testing.T, path string)
		want    error
		text    string
	}{
		{"text", write(strings.Repeat("hello, world\n", 1000)), ErrNotOurs, "not an SQLite database"},
		{"short", write("x"), ErrNotOurs, "not an SQLite database"},
		{"foreign", foreign("CREATE TABLE t(a)"), ErrNotOurs, "another program"},
		{"newer", foreign("PRAGMA application_id = 1231972210; PRAGMA user_version = 999; CREATE TABLE t(a)"), ErrNewer, "upgrade ingero"},
		{"directory", func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o755)) }, nil, "is a directory"},
		{"damaged", func(t *testing.T, path string) {
			w, err := Create(path, Options{Node: "n"})
			must(t, err)
			w.Append(testEvents(100, 1))
			must(t, w.Close())
			b, err := os.ReadFile(path)
			must(t, err)
			for i := 100; i < len(b); i++ {
				b[i] = 0xee
			}
			must(t, os.WriteFile(path, b, 0o644))
		}, ErrDamaged, "damaged"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "a ?%20#.db")
			c.prepare(t, path)
			before := hashes(t, dir)
			check := func(what string, err error) {
				t.Helper()
				if err == nil || (c.want != nil && !errors.Is(err, c.want)) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "\n") {
					t.Errorf("%s: error %q, want one of %v with %q", what, err, c.want, c.text)
				}
			}
			_, err := Open(path)
			check("Open", err)
			_, err = Create(path, Options{Node: "n"})
			check("Create", err)
			sameFiles(t, before, hashes(t, dir))
		})
	}
}

func TestMissingPathsAreNotMade(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "no.db")); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("Open: %v", err)
	}
	if _, err := Create(filepath.Join(dir, "no", "no.db"), Options{Node: "n"}); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("Create: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("made %v", left)
	}
	w, err := Create(filepath.Join(dir, ".ingero", "yes.db"), Options{Node: "n", UID: os.Getuid(), GID: os.Getgid()})
	must(t, err)
	must(t, w.Close())
}
