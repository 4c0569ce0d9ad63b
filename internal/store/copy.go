package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// CopyRows writes what the filter chooses into a new database at path, in which
// the events are plain rows, in the order of their start, so that any program
// that reads SQLite can read them. They have no index, which would take most of
// the time. The file is missing or empty. Events says how many events were copied,
// chains how many incidents; progress is called now and then with the time up to
// which events are copied.
//
// The copy is not to be recorded into. A full disk is reported as ErrDiskFull or
// syscall.ENOSPC.
func (r *Reader) CopyRows(ctx context.Context, path string, f Filter, progress func(at int64, events uint64)) (events uint64, chains int, err error) {
	out, err := openCopy(ctx, path, "rwc")
	if err != nil {
		return 0, 0, explainCopy(ctx, path, err)
	}
	root, later, err := r.copyTables(ctx, out, f)
	if err = errors.Join(err, out.Close()); err == nil {
		events, err = r.copyEvents(ctx, path, root, f, progress)
	}
	if err == nil {
		chains, err = finishCopy(ctx, path, later)
	}
	return events, chains, explainCopy(ctx, path, err)
}

// copyEvents fills the table whose root page is given.
func (r *Reader) copyEvents(ctx context.Context, path string, root uint32, f Filter, progress func(at int64, events uint64)) (events uint64, err error) {
	t, err := openTree(path, root)
	if err != nil {
		return 0, err
	}
	defer t.close()
	x := &rowWriter{tree: t}
	err = r.Each(ctx, f, func(batch []Stored) error {
		for i := range batch {
			if err := x.write(&batch[i]); err != nil {
				return err
			}
		}
		events += uint64(len(batch))
		progress(batch[len(batch)-1].Start, events)
		return nil
	})
	if err != nil {
		return events, err
	}
	return events, t.finish()
}

// finishCopy makes indexes and views, and counts the incidents.
func finishCopy(ctx context.Context, path string, later []string) (chains int, err error) {
	out, err := openCopy(ctx, path, "rw")
	if err != nil {
		return 0, err
	}
	defer out.Close()
	for _, text := range later {
		if _, err := out.ExecContext(ctx, text); err != nil {
			return 0, err
		}
	}
	if err := out.QueryRowContext(ctx, "SELECT count(*) FROM causal_chains").Scan(&chains); err != nil {
		chains = 0 // a recording of an older ingero may have no such table
	}
	return chains, out.Close()
}

func explainCopy(ctx context.Context, path string, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if primary, _ := sqliteCode(err); primary != 0 {
		return explain("write", path, err)
	}
	return err
}

// openCopy opens a file that is thrown away if it is not finished, so that
// nothing need be safe before.
func openCopy(ctx context.Context, path, mode string) (*sql.DB, error) {
	uri, err := dsn(path, "mode="+mode)
	if err != nil {
		return nil, err
	}
	out, err := sql.Open("sqlite", uri)
	if err != nil {
		return nil, err
	}
	out.SetMaxOpenConns(1)
	for _, s := range []string{"PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF", "PRAGMA locking_mode = EXCLUSIVE"} {
		if _, err := out.ExecContext(ctx, s); err != nil {
			return nil, errors.Join(err, out.Close())
		}
	}
	return out, nil
}

// copyTables makes every table and fills them, but for the events. It returns the
// root page of their table, and the statements that make indexes and views,
// which come last.
func (r *Reader) copyTables(ctx context.Context, out *sql.DB, f Filter) (root uint32, later []string, err error) {
	for _, s := range []string{fmt.Sprintf("PRAGMA application_id = %d", rowsID), eventTable()} {
		if _, err := out.ExecContext(ctx, s); err != nil {
			return 0, nil, err
		}
	}
	if err := out.QueryRowContext(ctx, "SELECT rootpage FROM sqlite_schema WHERE name = 'events'").Scan(&root); err != nil {
		return 0, nil, err
	}
	type object struct{ kind, name, text string }
	var objects []object
	err = r.do(ctx, func(ctx context.Context, c *readConn) error {
		objects = objects[:0]
		rows, err := c.QueryContext(ctx, "SELECT type, name, tbl_name, sql FROM main.sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var o object
			var table string
			if err := rows.Scan(&o.kind, &o.name, &table, &o.text); err != nil {
				return err
			}
			if table != "event_chunks" && table != "event_digests" && table != "events" && harmless(o.kind, o.text) {
				objects = append(objects, o)
			}
		}
		return rows.Err()
	})
	if err != nil {
		return 0, nil, err
	}
	for _, o := range objects {
		if o.kind != "table" {
			later = append(later, o.text)
			continue
		}
		if _, err := out.ExecContext(ctx, o.text); err != nil {
			return 0, nil, err
		}
		if err := r.copyTable(ctx, out, o.name, f); err != nil {
			return 0, nil, fmt.Errorf("copy %s: %w", o.name, err)
		}
	}
	return root, later, nil
}

// harmless reports whether a statement of a schema, which may be hostile, makes
// what it says and nothing else.
func harmless(kind, text string) bool {
	words := strings.Fields(strings.ToUpper(text))
	return oneStatement(text) == nil && len(words) > 2 && words[0] == "CREATE" && words[1] == strings.ToUpper(kind) &&
		slices.Contains([]string{"table", "index", "view"}, kind)
}

// quoted is a name in SQL.
func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// copiedBy says how the rows of a table are chosen: the columns with the time and
// its unit in ns, and with the process.
var copiedBy = map[string]struct {
	time    string
	unit    int64
	process string
}{
	"call_stats": {"second", 1e9, "process"}, "call_stats_minute": {"minute", 1e9, "process"},
	"ledger": {"second", 1e9, "process"}, "ledger_minute": {"minute", 1e9, "process"},
	"waits": {"second", 1e9, "process"}, "waits_minute": {"minute", 1e9, "process"},
	"drains": {"second", 1e9, ""}, "threads": {"", 0, "process"}, "processes": {"", 0, "id"},
	"system_snapshots": {"timestamp", 1, ""}, "gpu_samples": {"timestamp", 1, ""},
	"causal_chains": {"detected_at", 1, ""}, "event_aggregates": {"bucket", 1, ""},
}

func (r *Reader) copyTable(ctx context.Context, out *sql.DB, name string, f Filter) error {
	cond := []string{"1"}
	by := copiedBy[name]
	if by.time != "" {
		span := int64(1)
		if by.time == "minute" {
			span = 60
		}
		if f.From > 0 {
			cond = append(cond, fmt.Sprintf("%s > %d", by.time, floorDiv(f.From, by.unit)-span))
		}
		if f.To > 0 {
			cond = append(cond, fmt.Sprintf("%s <= %d", by.time, floorDiv(f.To-1, by.unit)))
		}
	}
	if by.process != "" && f.PIDs != nil {
		cond = append(cond, by.process+" IN (SELECT id FROM main.processes WHERE pid IN ("+join(f.PIDs)+"))")
	}
	tx, err := out.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	err = r.do(ctx, func(ctx context.Context, c *readConn) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+quoted(name)); err != nil {
			return err
		}
		rows, err := c.QueryContext(ctx, "SELECT * FROM main."+quoted(name)+" WHERE "+strings.Join(cond, " AND "))
		if err != nil {
			return err
		}
		defer rows.Close()
		return copyRows(ctx, tx, name, rows)
	})
	if err != nil {
		return err
	}
	return tx.Commit()
}

func copyRows(ctx context.Context, tx *sql.Tx, name string, rows *sql.Rows) error {
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	insert, err := tx.PrepareContext(ctx, "INSERT INTO "+quoted(name)+" VALUES (?"+strings.Repeat(", ?", len(columns)-1)+")")
	if err != nil {
		return err
	}
	defer insert.Close()
	values, dest := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		dest[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		if _, err := insert.ExecContext(ctx, values...); err != nil {
			return err
		}
	}
	return rows.Err()
}

// eventTable is the statement that makes the table of events.
func eventTable() string {
	var columns []string
	for _, c := range eventColumns {
		columns = append(columns, c.name+" "+c.kind)
	}
	return "CREATE TABLE events (" + strings.Join(columns, ", ") + ") STRICT"
}
