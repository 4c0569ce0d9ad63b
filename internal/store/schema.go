package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strconv"

	"ingero/internal/event"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// appID marks our files in SQLite's header: "Ingr".
const appID = 0x496e6772

// rowsID marks copies whose events are plain rows: "IngR".
const rowsID = 0x496e6752

// migrations returns the text of every migration in order; the version of a
// schema is the number of those applied.
func migrations() ([]string, error) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	slices.Sort(names)
	texts := make([]string, len(names))
	for i, name := range names {
		b, err := migrationFiles.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read migration: %w", err)
		}
		texts[i] = string(b)
	}
	return texts, nil
}

// SchemaVersion is the version this program writes and the newest it reads.
func SchemaVersion() int {
	texts, err := migrations()
	if err != nil {
		panic(err) // the files are part of the program
	}
	return len(texts)
}

// queryer is what *sql.DB, *sql.Conn and *sql.Tx have in common.
type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// kind is what an SQLite file turns out to be.
type kind int

const (
	kindEmpty     kind = iota // no tables yet
	kindOurs                  // readable by us
	kindRecording             // made by ingero 0.8 to 0.17
)

// identify says what the database is; foreign and newer ones are errors.
func identify(ctx context.Context, q queryer, path string) (kind, error) {
	var app, version, tables, events, info int
	err := q.QueryRowContext(ctx, `SELECT
		(SELECT application_id FROM pragma_application_id),
		(SELECT user_version FROM pragma_user_version),
		(SELECT count(*) FROM sqlite_schema),
		(SELECT count(*) FROM pragma_table_info('events') WHERE name IN ('timestamp', 'duration', 'source', 'op')),
		(SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('schema_info', 'sources', 'ops'))`).
		Scan(&app, &version, &tables, &events, &info)
	switch {
	case err != nil:
		return 0, explain("open database", path, err)
	case app == appID && version > SchemaVersion():
		return 0, fmt.Errorf("open database %s: %w (schema %d, this program knows %d); upgrade ingero",
			path, ErrNewer, version, SchemaVersion())
	case app == appID && version > 0:
		return kindOurs, nil
	case app == rowsID:
		return 0, fmt.Errorf("open database %s: a copy for other programs, by 'ingero export --format sqlite'; read it with sqlite3, or give --db the recording it was made from", path)
	case tables == 0:
		return kindEmpty, nil
	case app == 0 && events == 4 && info == 3:
		return kindRecording, nil
	}
	return 0, fmt.Errorf("open database %s: an SQLite database of another program, %w; give another path with --db",
		path, ErrNotOurs)
}

// migrate brings the schema up to date, one transaction for each step.
func migrate(ctx context.Context, c *sql.Conn) error {
	texts, err := migrations()
	if err != nil {
		return err
	}
	var version int
	if err := c.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	for i := version; i < len(texts); i++ {
		tx, err := c.BeginTx(ctx, nil)
		if err != nil {
			return fmt.Errorf("begin migration %d: %w", i+1, err)
		}
		if err := apply(ctx, tx, texts[i], i+1); err != nil {
			return fmt.Errorf("apply migration %d: %w", i+1, rollback(tx, err))
		}
		if err := tx.Commit(); err != nil {
			return fmt.Errorf("commit migration %d: %w", i+1, err)
		}
	}
	return writeTables(ctx, c)
}

func apply(ctx context.Context, tx *sql.Tx, text string, version int) error {
	for _, s := range []string{
		text,
		fmt.Sprintf("PRAGMA application_id = %d", appID),
		fmt.Sprintf("PRAGMA user_version = %d", version),
	} {
		if _, err := tx.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// rollback undoes tx and returns the error that made it necessary.
func rollback(tx *sql.Tx, err error) error {
	if e := tx.Rollback(); e != nil && e != sql.ErrTxDone {
		return fmt.Errorf("%w (and roll back: %w)", err, e)
	}
	return err
}

var schemaNotes = []struct{ key, value string }{
	{"timestamp_unit", "nanoseconds (Unix epoch), always the start"},
	{"duration_unit", "nanoseconds"},
	{"arg0_note", "bytes for calls that move or take memory, else the handle: function, pointer, stream or graph"},
	{"arg1_note", "direction of a copy (cudaMemcpyKind), pointer of an allocation"},
	{"ret_code_note", "the library's return code, 0 is success"},
	{"events_note", "'events' is a virtual table that ingero makes from event_chunks; use 'ingero query'. It is a sample: totals come from call_stats and event_aggregates"},
	{"ledger_note", "where the time of every thread went, by second (ledger) and minute (ledger_minute): all rows of a process add up to what its threads lived; tid 0 sums up idle threads; 'ledger_view' has the names"},
	{"waits_note", "who cost whom time: wakers of a thread (tid not 0), thieves of the CPU (runnable) and rivals on a disk; 'waits_view' has the names"},
	{"incidents_note", "causal_chains: started_at to ended_at (0 while it goes on), lost_ns and share of the feeders' time; detail is the chain as in 'explain --json'"},
	{"gpu_note", "gpu_samples and system_snapshots: NULL is not known; psi_* is percent of the time since the snapshot before in which some task waited"},
	{"stack_note", "stack_traces: hash is events.stack_hash; frames, innermost first: i address, s symbol, f file, pf, pfn and pl file, function and line of Python"},
	{"example_query", "SELECT e.id, s.name AS source, o.name AS op, e.duration/1000 AS dur_us, e.pid FROM events e JOIN sources s ON e.source = s.id JOIN ops o ON e.source = o.source_id AND e.op = o.op_id ORDER BY e.timestamp DESC LIMIT 20"},
}

// writeTables fills the tables that explain the numbers used in the others,
// so that plain SQL can join them. They follow the program's own tables.
func writeTables(ctx context.Context, c *sql.Conn) error {
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	put := func(text string, args ...any) {
		if err == nil {
			_, err = tx.ExecContext(ctx, text, args...)
		}
	}
	event.Sources(func(s event.Source, name, description string) {
		put("INSERT OR REPLACE INTO sources VALUES (?, ?, ?)", int(s), name, description)
	})
	for _, o := range event.Ops() {
		put("INSERT OR REPLACE INTO ops VALUES (?, ?, ?, ?, ?)",
			int(o.ID.Source()), int(o.ID.Code()), o.Name, o.Class.String(), o.Description)
	}
	for s := range event.States {
		put("INSERT OR REPLACE INTO states VALUES (?, ?)", int(s), s.String())
	}
	for _, n := range schemaNotes {
		put("INSERT OR REPLACE INTO schema_info VALUES (?, ?)", n.key, n.value)
	}
	put("INSERT OR REPLACE INTO schema_info VALUES ('version', ?)", strconv.Itoa(SchemaVersion()))
	if err != nil {
		return fmt.Errorf("write the tables of operations: %w", rollback(tx, err))
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("write the tables of operations: %w", err)
	}
	return nil
}
