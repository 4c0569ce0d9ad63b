package store

import (
	"database/sql"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// newTable makes a database with an empty table, and one more behind it.
func newTable(t *testing.T, pageSize int) (path string, root uint32) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "tree.db")
	db, err := sql.Open("sqlite", path)
	must(t, err)
	defer db.Close()
	for _, s := range []string{
		fmt.Sprintf("PRAGMA page_size = %d", pageSize), "CREATE TABLE t (num INTEGER, maybe INTEGER, word TEXT) STRICT",
		"CREATE TABLE other (a TEXT PRIMARY KEY) STRICT", "INSERT INTO other VALUES ('still here')",
	} {
		_, err := db.Exec(s)
		must(t, err)
	}
	must(t, db.QueryRow("SELECT rootpage FROM sqlite_schema WHERE name = 't'").Scan(&root))
	return path, root
}

type treeRow struct {
	num, maybe int64 // maybe < 0: NULL
	word       string
}

func fill(t *testing.T, path string, root uint32, rows []treeRow) {
	t.Helper()
	tree, err := openTree(path, root)
	must(t, err)
	x := &rowWriter{tree: tree}
	for _, r := range rows {
		x.number(r.num)
		x.known(r.maybe)
		x.text([]byte(r.word))
		must(t, x.end())
	}
	must(t, tree.finish())
}

// sameRows checks that SQLite reads what was written, in order, by each way down the
// tree.
func sameRows(t *testing.T, db *sql.DB, want []treeRow) {
	t.Helper()
	rows, err := db.Query("SELECT rowid, num, coalesce(maybe, -1), word FROM t")
	must(t, err)
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		var id int64
		var r treeRow
		must(t, rows.Scan(&id, &r.num, &r.maybe, &r.word))
		if n >= len(want) || id != int64(n+1) || r != want[n] {
			t.Fatalf("row %d is %d %d %d and %d bytes", n, id, r.num, r.maybe, len(r.word))
		}
	}
	must(t, rows.Err())
	if n != len(want) {
		t.Fatalf("%d rows, want %d", n, len(want))
	}
	for _, i := range []int{0, n / 3, n / 2, n - 1} {
		if n == 0 {
			break
		}
		var num int64
		must(t, db.QueryRow("SELECT num FROM t WHERE rowid = ?", i+1).Scan(&num))
		if num != want[i].num {
			t.Errorf("row %d by its rowid: %d, want %d", i, num, want[i].num)
		}
	}
}

// SQLite finds nothing wrong with a tree of any height, rows of any length and
// numbers of any size, and can go on with it.
func TestTree(t *testing.T) {
	edges := []int64{0, 1, -1, 2, 127, 128, -128, -129, 1<<15 - 1, 1 << 15, -1 << 15, 1<<23 - 1, 1 << 23, -1<<23 - 1,
		math.MaxInt32, math.MinInt32, 1 << 31, 1<<47 - 1, 1 << 47, -1 << 47, -1<<47 - 1, math.MaxInt64, math.MinInt64}
	for _, c := range []struct{ pageSize, rows, longest int }{
		{512, 0, 10}, {512, 1, 10}, {512, 1, 5000}, {512, 10, 100}, {512, 10_000, 150}, {512, 40_000, 30},
		{4096, 400, 20_000}, {4096, 30_000, 200}, {32768, 3000, 70_000},
	} {
		t.Run(fmt.Sprintf("%d rows of up to %d in pages of %d", c.rows, c.longest, c.pageSize), func(t *testing.T) {
			path, root := newTable(t, c.pageSize)
			r := rand.New(rand.NewPCG(1, uint64(c.rows)))
			rows := make([]treeRow, c.rows)
			for i := range rows {
				rows[i] = treeRow{edges[r.IntN(len(edges))], r.Int64()>>r.IntN(64) - int64(r.IntN(2)), strings.Repeat("x", r.IntN(c.longest+1))}
				rows[i].maybe = max(rows[i].maybe, -1)
			}
			fill(t, path, root, rows)
			db, err := sql.Open("sqlite", path)
			must(t, err)
			defer db.Close()
			var verdict, other string
			must(t, db.QueryRow("PRAGMA integrity_check").Scan(&verdict))
			must(t, db.QueryRow("SELECT a FROM other").Scan(&other))
			if verdict != "ok" || other != "still here" {
				t.Errorf("SQLite says %q, the other table has %q", verdict, other)
			}
			sameRows(t, db, rows)
			_, err = db.Exec("INSERT INTO t VALUES (1, 2, 'more'); CREATE INDEX t_num ON t(num); DELETE FROM t WHERE rowid % 2 = 1; VACUUM")
			must(t, err)
			must(t, db.QueryRow("PRAGMA integrity_check").Scan(&verdict))
			if verdict != "ok" {
				t.Errorf("after changes SQLite says %q", verdict)
			}
		})
	}
}

// The page with the bytes that SQLite locks is left out, also by rows that go on
// over it.
func TestTreeAroundTheLock(t *testing.T) {
	const pageSize, lockPage = 4096, lockedByte/4096 + 1
	for _, longest := range []int{300, 30_000} {
		path, root := newTable(t, pageSize)
		// As if other tables took the 1 GB below, of which the disk keeps nothing.
		must(t, os.Truncate(path, (lockPage-4)*pageSize))
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		must(t, err)
		_, err = f.WriteAt([]byte{0, (lockPage - 4) >> 16, (lockPage - 4) >> 8 & 0xff, (lockPage - 4) & 0xff}, filePages)
		must(t, err)
		var rows []treeRow
		for i := range 200 {
			rows = append(rows, treeRow{int64(i), -1, strings.Repeat("y", longest-i)})
		}
		fill(t, path, root, rows)
		head := make([]byte, pageSize)
		_, err = f.ReadAt(head, lockedByte)
		must(t, err)
		must(t, f.Close())
		if strings.Trim(string(head), "\x00") != "" {
			t.Error("the page is used")
		}
		db, err := sql.Open("sqlite", path)
		must(t, err)
		sameRows(t, db, rows)
		must(t, db.Close())
	}
}
