// Package store keeps what was traced in one SQLite file and answers from it.
// A Writer records; a Reader never creates or changes a file and also reads
// the recordings of ingero 0.8 to 0.17.
//
// Individual events are kept as columnar chunks (chunk.go) that SQL sees as
// the virtual table "events" (vtab.go). Everything else is plain tables.
package store

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"ingero/internal/event"
)

// What can be wrong with a database; wrapped in errors that name the file
// and say what to do.
var (
	ErrDiskFull = errors.New("the disk is full")
	ErrNotOurs  = errors.New("not a database of ingero")
	ErrNewer    = errors.New("written by a newer ingero")
	ErrOld      = errors.New("a recording of ingero 0.8 to 0.17")
	ErrDamaged  = errors.New("the database is damaged")
	ErrInUse    = errors.New("another ingero is recording into it")
)

// ProcessRow is a process and how it ended.
type ProcessRow struct {
	event.Process
	Ended  int64 // unix ns; 0 while it lives
	Status int32 // as from wait(2); meaningful once Ended is set
}

// Session describes one run of the agent.
type Session struct {
	GPUModel, GPUDriver string
	CPUModel            string
	CPUCores            int
	MemTotal            int64 // MB
	Kernel, OSRelease   string
	CUDAVersion         string
	PythonVersion       string
	Version             string // of ingero
	PIDFilter, Flags    string
	Rank                event.Rank
	Overhead            *float64 // share of the traced processes' time; nil when not measured
	Lost                uint64   // events lost by the agent itself, not those that stats.Calls counts
	Gaps                []string // what could not be traced
	ClockSteps          []ClockStep
}

// ClockStep is a jump of the wall clock against the monotonic clock.
type ClockStep struct {
	At    int64 `json:"at"`    // unix ns, after the jump
	Delta int64 `json:"delta"` // ns; positive is forward
}

// dsn builds the URI of a database file. Escaping keeps '?' and '%' in a
// path from being read as parameters.
func dsn(path, params string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find the database: %w", err)
	}
	return "file://" + (&url.URL{Path: abs}).EscapedPath() + "?" + params, nil
}

// sqliteCode returns the primary and the extended SQLite result code of err,
// or 0 if err does not come from SQLite.
func sqliteCode(err error) (primary, extended int) {
	if e := (*sqlite.Error)(nil); errors.As(err, &e) {
		return e.Code() & 0xff, e.Code()
	}
	if e := (*rawError)(nil); errors.As(err, &e) {
		return e.code & 0xff, e.code
	}
	return 0, 0
}

// explain turns an error of SQLite into one that says what to do about it.
// Verb says what was attempted, as in "write".
func explain(verb, path string, err error) error {
	code, _ := sqliteCode(err)
	switch code {
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%s %s: %w; free some space or give --db a path on another disk", verb, path, ErrDiskFull)
	case sqlite3.SQLITE_IOERR:
		return fmt.Errorf("%s %s: the disk reported an error (%w); check the disk and the file system", verb, path, err)
	case sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%s %s: not an SQLite database (%w); give another path with --db", verb, path, ErrNotOurs)
	case sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("%s %s: %w; move it away, or try sqlite3's .recover on a copy", verb, path, ErrDamaged)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return fmt.Errorf("%s %s: %w; check the permissions of the file and its directory", verb, path, err)
	case sqlite3.SQLITE_BUSY:
		return fmt.Errorf("%s %s: %w; close the program that keeps it locked", verb, path, err)
	}
	return fmt.Errorf("%s %s: %w", verb, path, err)
}
