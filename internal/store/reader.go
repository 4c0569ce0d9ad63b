package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	sqlite3 "modernc.org/sqlite/lib"
)

// Reader answers from a database without creating or changing any file, also
// while a Writer records into it and after a Writer was killed. It holds
// nothing open between questions and may be used by many goroutines.
type Reader struct {
	name string // as given
	path string // without symbolic links: the log lies beside the real file
	kind kind
}

// minSQLite is the size of the smallest SQLite file, one small page; SQLite
// itself takes shorter ones for new databases, whatever is in them.
const minSQLite = 512

var errEmpty = errors.New("the database is empty")

// Open checks that path is a database that can be read: one of ours or a
// recording of ingero 0.8 to 0.17. There is nothing to close.
func Open(path string) (*Reader, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("open database: %s does not exist; record one with 'sudo ingero trace' or give another path with --db", path)
	case err != nil:
		return nil, fmt.Errorf("open database: %w; give another path with --db", err)
	case info.IsDir():
		return nil, fmt.Errorf("open database: %s is a directory; give --db the path of a file", path)
	case !info.Mode().IsRegular(): // a pipe would never answer
		return nil, fmt.Errorf("open database: %s is not a regular file; give another path with --db", path)
	case info.Size() > 0 && info.Size() < minSQLite:
		return nil, fmt.Errorf("open database %s: not an SQLite database (%w); give another path with --db", path, ErrNotOurs)
	}
	r := &Reader{name: path, path: path}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		r.path = real
	}
	err = r.do(context.Background(), func(ctx context.Context, c *readConn) error {
		r.kind, err = identify(ctx, c, path)
		return err
	})
	if err != nil {
		return nil, err
	}
	if r.kind == kindEmpty {
		return nil, fmt.Errorf("open database %s: %w; record with 'sudo ingero trace' or give another path with --db", path, errEmpty)
	}
	return r, nil
}

// Path returns the path the Reader was opened with.
func (r *Reader) Path() string { return r.name }

// Recording reports whether this is a recording of an older ingero, which
// knows less: totals by the minute, percentiles of stored events only.
func (r *Reader) Recording() bool { return r.kind == kindRecording }

// params returns how to open the file so that nothing is created: without a
// log nobody can be writing and SQLite may treat the file as immutable; with
// one, its index must be used as it is, or be rebuilt in memory.
func (r *Reader) params() (params string, immutable bool) {
	if _, err := os.Stat(r.path + "-wal"); err != nil {
		return "immutable=1&_query_only=1", true
	}
	return "mode=ro&readonly_shm=1&_query_only=1&_busy_timeout=2000", false
}

// readConn is a connection for one question.
type readConn struct {
	*sql.Conn
	uri string // opens another one alike
}

// do runs f on a connection of its own, and again if the file changed in a
// way that f could not see; f starts anew each time.
func (r *Reader) do(ctx context.Context, f func(context.Context, *readConn) error) error {
	for try := 1; ; try++ {
		params, immutable := r.params()
		before, err := os.Stat(r.path)
		if err != nil {
			return fmt.Errorf("open database: %w", err)
		}
		err = r.once(ctx, params, f)
		if ctx.Err() != nil || try == 5 {
			return err
		}
		after, statErr := os.Stat(r.path)
		if statErr != nil {
			return err
		}
		_, nowImmutable := r.params()
		switch {
		case immutable && (after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime())):
			// A writer that began meanwhile may have moved pages under us.
		case !immutable && nowImmutable && err != nil:
			// The writer ended and took its log along before we had it open.
		default:
			return err
		}
	}
}

// read is do for an answer; what is said in an error.
func read[T any](ctx context.Context, r *Reader, what string, f func(context.Context, *readConn) (T, error)) (T, error) {
	var all, none T
	err := r.do(ctx, func(ctx context.Context, c *readConn) (err error) {
		all, err = f(ctx, c)
		return err
	})
	if err != nil {
		return none, fmt.Errorf("read %s: %w", what, err)
	}
	return all, nil
}

func (r *Reader) once(ctx context.Context, params string, f func(context.Context, *readConn) error) error {
	uri, err := dsn(r.path, params)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector{uri})
	defer db.Close()
	c, err := db.Conn(ctx)
	if err != nil {
		return r.explain(err)
	}
	defer c.Close()
	return r.explain(f(ctx, &readConn{c, uri}))
}

// explain names the file in errors that come from SQLite; all others carry
// what the user needs already.
func (r *Reader) explain(err error) error {
	code, _ := sqliteCode(err)
	switch code {
	case 0, sqlite3.SQLITE_INTERRUPT:
		return err
	case sqlite3.SQLITE_CANTOPEN:
		_, walErr := os.Stat(r.path + "-wal")
		_, shmErr := os.Stat(r.path + "-shm")
		if walErr == nil && shmErr != nil {
			return fmt.Errorf("open database %s: its log %[1]s-wal cannot be read without %[1]s-shm; copy all three files together, or run 'touch %[1]s-shm'", r.path)
		}
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_READONLY,
		sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY:
	default:
		return err // a mistake in a query, not in the file
	}
	return explain("open database", r.path, err)
}
