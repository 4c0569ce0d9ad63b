package store

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ingero/internal/event"
)

// testDatabase has 10,000 events and a minute of statistics.
func testDatabase(t *testing.T) (*Reader, []event.Event) {
	t.Helper()
	w, path := create(t, Options{})
	events := testEvents(10_000, 5)
	events[3].Rank = event.NoRank
	w.Append(events)
	must(t, w.Close())
	return open(t, path), events
}

func TestEventsInSQL(t *testing.T) {
	r, events := testDatabase(t)
	count := func(keep func(e *event.Event) bool) int64 {
		n := int64(0)
		for i := range events {
			if keep(&events[i]) {
				n++
			}
		}
		return n
	}
	mid := events[5000].Start
	launch := func(e *event.Event) bool { return e.Op == event.MakeOp(event.CUDA, 3) }
	cases := []struct {
		where string
		keep  func(*event.Event) bool
	}{
		{"1", func(*event.Event) bool { return true }},
		{"source = 1 AND op = 3", launch},
		{"op = 3 AND source IN (1, 4)", launch},
		{"pid = 4001", func(e *event.Event) bool { return e.PID == 4001 }},
		{"pid IN (4001, 4002) AND duration > 5000", func(e *event.Event) bool { return (e.PID == 4001 || e.PID == 4002) && e.Dur > 5000 }},
		{"timestamp >= (SELECT timestamp FROM events WHERE id = 'node-1:5001')", func(e *event.Event) bool { return e.Start >= mid }},
		{"timestamp < 1e30", func(*event.Event) bool { return true }},
		{"pid = '4001'", func(e *event.Event) bool { return e.PID == 4001 }},
		{"pid = 4001.5", func(*event.Event) bool { return false }},
		{"duration > 4999.5 AND duration <= 5000.5", func(e *event.Event) bool { return e.Dur == 5000 }},
		{"pid = NULL", func(*event.Event) bool { return false }},
		{"rank IS NULL", func(e *event.Event) bool { return e.Rank.Rank < 0 }},
		{"comm = 'python3' AND world_size = 4", func(e *event.Event) bool { return e.Comm == "python3" && e.Rank.World == 4 }},
		{"arg0 = bytes AND bytes > 0", func(e *event.Event) bool { return e.Bytes > 0 }},
		{"arg0 = handle AND op = 3", launch},
		{"direction = 1 AND arg1 = 1", func(e *event.Event) bool { return e.Op.Class() == event.Copy && e.Dir == 1 }},
		{"node = 'node-1' AND depth = 0 AND ret_code = 0 AND stack_hash = 0 AND cgroup_id = 4711", func(*event.Event) bool { return true }},
		{"gpu_id = local_rank", func(e *event.Event) bool { return int32(e.GPU) == e.Rank.Local }},
		{"tid - pid = 100", func(e *event.Event) bool { return e.TID-e.PID == 100 }},
	}
	for _, c := range cases {
		if got := ask(t, r, "SELECT count(*) FROM events WHERE "+c.where)[0][0]; got != count(c.keep) {
			t.Errorf("WHERE %s: %v rows, want %d", c.where, got, count(c.keep))
		}
	}
	rows := ask(t, r, "SELECT s.name, o.name, count(*) FROM events e JOIN sources s ON e.source = s.id JOIN ops o ON o.source_id = e.source AND o.op_id = e.op GROUP BY e.source, e.op ORDER BY 3 DESC LIMIT 1")
	if want := []any{"cuda", "cudaLaunchKernel", count(launch)}; !slices.Equal(rows[0], want) {
		t.Errorf("got %v, want %v", rows[0], want)
	}
	// Two scans at once, and a scan inside a scan.
	if got := ask(t, r, "SELECT count(*) FROM events a JOIN events b ON a.id = b.id WHERE a.timestamp < (SELECT min(timestamp) + 1000000 FROM events) AND b.timestamp < (SELECT min(timestamp) + 1000000 FROM events)"); got[0][0].(int64) < 10 {
		t.Errorf("join: %v", got)
	}
}

func TestSQLOnlyReads(t *testing.T) {
	r, _ := testDatabase(t)
	dir := filepath.Dir(r.Path())
	before := hashes(t, dir)
	other := filepath.Join(t.TempDir(), "other.db")
	for _, text := range []string{
		"DELETE FROM call_stats", "INSERT INTO sources VALUES (99, 'a', 'b')", "UPDATE sources SET name = ''",
		"DROP TABLE sources", "CREATE TABLE t(a)", "CREATE TEMP TABLE t(a)", "CREATE VIRTUAL TABLE temp.x USING ingero_chunks(1)",
		"CREATE VIRTUAL TABLE temp.x USING fts5(a)", "DELETE FROM events", "ATTACH '" + other + "' AS o", "DETACH main",
		"VACUUM INTO '" + other + "'", "VACUUM", "PRAGMA journal_mode = DELETE", "PRAGMA query_only = 0", "PRAGMA writable_schema = 1",
		"PRAGMA user_version = 5", "PRAGMA wal_checkpoint", "PRAGMA temp_store_directory = '/'", "REINDEX", "ANALYZE",
		"BEGIN IMMEDIATE", "SAVEPOINT a", "SELECT load_extension('x')", "SELECT * FROM pragma_journal_mode('delete')",
		"EXPLAIN DELETE FROM sources", "WITH a AS (SELECT 1) DELETE FROM sources", "INSERT INTO sqlite_dbpage VALUES (1, x'00')",
		"SELECT 1; DELETE FROM sources", "/* */", "", " ; ",
	} {
		if table, err := r.SQL(context.Background(), text, Limits{}); err == nil {
			t.Errorf("%s: allowed, %v", text, table.Rows)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than a line: %v", text, err)
		}
	}
	sameFiles(t, before, hashes(t, dir))
	if _, err := os.Stat(other); err == nil {
		t.Errorf("%s was made", other)
	}
	for _, text := range []string{
		"SELECT 1;", "SELECT ';' -- ; a\n;", "SELECT 1 /* ; */ ;;", `SELECT "name" AS "a;b" FROM [sources]`, "VALUES (1)",
		"EXPLAIN QUERY PLAN SELECT * FROM events", "PRAGMA table_info(sessions)", "PRAGMA user_version", "SELECT 'it''s; fine'",
		"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 5) SELECT max(x) FROM c", "SELECT json_array_length('[1]')",
	} {
		if _, err := r.SQL(context.Background(), text, Limits{}); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestHostileSQLIsStopped(t *testing.T) {
	r, _ := testDatabase(t)
	forever := "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
	cases := []struct{ name, text, want string }{
		{"before the first row", forever + "SELECT max(x) FROM c", "stopped after"},
		{"after the first row", forever + "SELECT x FROM c WHERE x = 1", "stopped after"},
		{"product of events", "SELECT count(*) FROM events a, events b WHERE a.duration > b.duration + 1", "stopped after"},
		{"growing text", "SELECT group_concat(hex(zeroblob(50000))) FROM (SELECT 1 FROM events LIMIT 50)", "1 MiB"},
		{"big blob", "SELECT zeroblob(1000000000)", "1 MiB"},
		{"big number format", "SELECT printf('%1000000000d', 1)", "1 MiB"},
		{"deep", "SELECT " + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000), "wrong"},
		{"unknown table", "SELECT * FROM nowhere", "no such table: nowhere"},
		{"syntax", "SELEC 1", "syntax error"},
	}
	for _, c := range cases {
		start := time.Now()
		_, err := r.SQL(context.Background(), c.text, Limits{Timeout: 300 * time.Millisecond})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("%s: took %v", c.name, d)
		}
	}
	table, err := r.SQL(context.Background(), forever+"SELECT x FROM c", Limits{Rows: 100})
	if err != nil || len(table.Rows) != 100 || table.Truncated == "" {
		t.Errorf("row limit: %v, %v", table, err)
	}
	table, err = r.SQL(context.Background(), forever+"SELECT zeroblob(500000) FROM c", Limits{Bytes: 1 << 20})
	if err != nil || len(table.Rows) != 2 || table.Truncated == "" {
		t.Errorf("size limit: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.SQL(ctx, "SELECT 1", Limits{}); err == nil {
		t.Error("answered for nobody")
	}
}

func TestDamagedChunksAreErrors(t *testing.T) {
	w, path := create(t, Options{})
	w.Append(testEvents(5000, 1))
	must(t, w.Flush())
	// Same size, so that only the contents are wrong.
	_, err := w.conn.ExecContext(context.Background(), "UPDATE event_chunks SET data = zeroblob(length(data)) WHERE id = 2")
	must(t, err)
	must(t, w.Close())
	r := open(t, path)
	for _, text := range []string{"SELECT sum(duration) FROM events", "SELECT count(*) FROM events WHERE pid = 1"} {
		if _, err := r.SQL(context.Background(), text, Limits{}); err == nil || !strings.Contains(err.Error(), "damaged chunk") {
			t.Errorf("%s: error %v", text, err)
		}
	}
	if _, err := r.Events(context.Background(), Filter{}, 10); err == nil || !strings.Contains(err.Error(), "damaged chunk") {
		t.Errorf("Events: error %v", err)
	}
}
