package store

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"

	"ingero/internal/event"
)

// Rows say what the virtual table of the recording says, column by column.
func TestCopyRows(t *testing.T) {
	path, all := recordOverlapping(t, 5000)
	r, err := Open(path)
	must(t, err)
	f := Filter{From: all[1000].Start, PIDs: []uint32{4001, 4002}, Ops: []event.Op{event.MakeOp(event.CUDA, 3), event.MakeOp(event.CUDA, 1)}}
	out := filepath.Join(t.TempDir(), "rows.db")
	var told uint64
	n, _, err := r.CopyRows(t.Context(), out, f, func(_ int64, events uint64) { told = events })
	must(t, err)
	want, err := r.SQL(t.Context(), "SELECT * FROM events WHERE "+f.where("timestamp")+" ORDER BY id", Limits{})
	must(t, err)
	if int(n) != len(want.Rows) || told != n || n == 0 {
		t.Fatalf("%d events copied, told of %d, want %d", n, told, len(want.Rows))
	}
	db, err := sql.Open("sqlite", out)
	must(t, err)
	defer db.Close()
	rows, err := db.Query("SELECT * FROM events ORDER BY id")
	must(t, err)
	defer rows.Close()
	for i := 0; rows.Next(); i++ {
		got, dest := make([]any, len(want.Columns)), make([]any, len(want.Columns))
		for k := range got {
			dest[k] = &got[k]
		}
		must(t, rows.Scan(dest...))
		for k := range got {
			if got[k] != want.Rows[i][k] {
				t.Fatalf("row %d: %s is %v, want %v", i, want.Columns[k], got[k], want.Rows[i][k])
			}
		}
	}
	must(t, rows.Err())
}

func TestCopyRowsStops(t *testing.T) {
	path, _ := recordOverlapping(t, 20_000)
	r, err := Open(path)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	_, _, err = r.CopyRows(ctx, filepath.Join(t.TempDir(), "rows.db"), Filter{}, func(int64, uint64) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v after it was canceled", err)
	}
}

func TestHarmless(t *testing.T) {
	for text, want := range map[string]bool{
		"CREATE TABLE a (b INTEGER)":                   true,
		"create table a (b INTEGER) STRICT":            true,
		"CREATE TABLE a (b); ATTACH '/tmp/x' AS y":     false,
		"CREATE VIRTUAL TABLE a USING fts5(b)":         false,
		"DROP TABLE a":                                 false,
		"CREATE TRIGGER a AFTER INSERT ON b BEGIN END": false,
	} {
		if got := harmless("table", text); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	if harmless("trigger", "CREATE TRIGGER a") {
		t.Error("a trigger is copied")
	}
}
