package store

import (
	"context"
	"fmt"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// raw is a connection that reads without database/sql and the driver, which
// take twice as long as SQLite itself where a question needs hundreds of
// thousands of rows: they lock and allocate for every value. It is used by
// one goroutine.
type raw struct {
	tls *libc.TLS
	db  uintptr
}

// rawError is what SQLite reported.
type rawError struct {
	code int // extended
	text string
}

// Error returns SQLite's text.
func (e *rawError) Error() string { return fmt.Sprintf("%s (%d)", e.text, e.code) }

// rawWait is how long to wait for a lock, in ms; readers wait for moments only.
const rawWait = 2000

// openRaw opens the file as c does; close it after use.
func (c *readConn) openRaw() (*raw, error) {
	r := &raw{tls: libc.NewTLS()}
	if err := r.open(c.uri, sqlite3.SQLITE_OPEN_READONLY); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *raw) open(uri string, flags int32) error {
	name, err := libc.CString(uri)
	if err != nil {
		return err
	}
	defer libc.Xfree(r.tls, name)
	out := r.tls.Alloc(8)
	defer r.tls.Free(8)
	// No mutex: this goroutine is alone with the connection.
	rc := sqlite3.Xsqlite3_open_v2(r.tls, name, out, flags|sqlite3.SQLITE_OPEN_URI|sqlite3.SQLITE_OPEN_NOMUTEX, 0)
	r.db = pointerAt(out)
	if rc != sqlite3.SQLITE_OK {
		return r.failure(rc)
	}
	sqlite3.Xsqlite3_busy_timeout(r.tls, r.db, rawWait)
	return nil
}

func (r *raw) close() {
	if r.db != 0 {
		sqlite3.Xsqlite3_close_v2(r.tls, r.db)
	}
	r.tls.Close()
}

func (r *raw) failure(rc int32) error {
	e := &rawError{int(rc), "out of memory"}
	if r.db != 0 {
		e.code = int(sqlite3.Xsqlite3_extended_errcode(r.tls, r.db))
		e.text = libc.GoString(sqlite3.Xsqlite3_errmsg(r.tls, r.db))
	}
	return e
}

// prepare returns a statement, to be finalized.
func (r *raw) prepare(text string) (stmt uintptr, err error) {
	sql, err := libc.CString(text)
	if err != nil {
		return 0, err
	}
	defer libc.Xfree(r.tls, sql)
	out := r.tls.Alloc(8)
	defer r.tls.Free(8)
	if rc := sqlite3.Xsqlite3_prepare_v2(r.tls, r.db, sql, -1, out, 0); rc != sqlite3.SQLITE_OK {
		return 0, r.failure(rc)
	}
	return pointerAt(out), nil
}

// each calls f for every row of the answer.
func (r *raw) each(ctx context.Context, text string, f func(row) error) error {
	stmt, err := r.prepare(text)
	if err != nil {
		return err
	}
	defer sqlite3.Xsqlite3_finalize(r.tls, stmt)
	x := row{r.tls, stmt}
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		switch rc := sqlite3.Xsqlite3_step(r.tls, x.stmt); rc {
		case sqlite3.SQLITE_ROW:
			if err := f(x); err != nil {
				return err
			}
		case sqlite3.SQLITE_DONE:
			return nil
		default:
			return r.failure(rc)
		}
	}
}

// row is the current row of an answer.
type row struct {
	tls  *libc.TLS
	stmt uintptr
}

// num returns a column of integers; NULL is 0.
func (x row) num(i int) int64 { return sqlite3.Xsqlite3_column_int64(x.tls, x.stmt, int32(i)) }

// blob returns a column of bytes or text, valid until the next row.
func (x row) blob(i int) []byte {
	p := sqlite3.Xsqlite3_column_blob(x.tls, x.stmt, int32(i))
	n := sqlite3.Xsqlite3_column_bytes(x.tls, x.stmt, int32(i))
	if p == 0 || n <= 0 {
		return nil
	}
	return unsafe.Slice((*byte)(address(p)), n)
}

func pointerAt(p uintptr) uintptr { return *(*uintptr)(address(p)) }

// address is a pointer to memory of SQLite, which Go's collector neither
// moves nor frees.
func address(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }
