package store

import (
	"context"
	"strconv"
	"strings"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// rowWriter writes events as rows. It binds values itself: database/sql takes
// three times as long, since it allocates for every value.
type rowWriter struct {
	raw
	ctx     context.Context
	insert  uintptr // statement
	column  int32   // of the value bound last
	memory  uintptr // of C, for the texts of a row
	size    int
	id      []byte
	pending int
	chains  int // findings that are there already
}

// commitEvery is after how many rows a transaction ends.
const commitEvery = 1 << 18

// newRowWriter opens a database that has the table of events, and begins.
func newRowWriter(ctx context.Context, path string) (*rowWriter, error) {
	uri, err := dsn(path, "mode=rw")
	if err != nil {
		return nil, err
	}
	x := &rowWriter{raw: raw{tls: libc.NewTLS()}, ctx: ctx}
	if err := x.begin(uri); err != nil {
		x.close()
		return nil, err
	}
	return x, nil
}

func (x *rowWriter) begin(uri string) (err error) {
	if err := x.open(uri, sqlite3.SQLITE_OPEN_READWRITE); err != nil {
		return err
	}
	count := func(r row) error { x.chains = int(r.num(0)); return nil }
	if err := x.each(x.ctx, "SELECT count(*) FROM causal_chains", count); err != nil {
		x.chains = 0 // a recording of an older ingero may have no such table
	}
	for _, text := range append(fastPragmas[:len(fastPragmas):len(fastPragmas)], "BEGIN") {
		if err := x.exec(text); err != nil {
			return err
		}
	}
	x.insert, err = x.prepare("INSERT INTO events VALUES (?" + strings.Repeat(", ?", len(eventColumns)-1) + ")")
	return err
}

// close ends the connection; what was not committed is lost.
func (x *rowWriter) close() {
	if x.tls == nil {
		return
	}
	sqlite3.Xsqlite3_finalize(x.tls, x.insert)
	libc.Xfree(x.tls, x.memory)
	x.raw.close()
	x.tls = nil
}

func (x *rowWriter) exec(text string) error {
	return x.each(x.ctx, text, func(row) error { return nil })
}

func (x *rowWriter) number(v int64) {
	x.column++
	sqlite3.Xsqlite3_bind_int64(x.tls, x.insert, x.column, v)
}

// known is number, where negative is NULL.
func (x *rowWriter) known(v int64) {
	if v >= 0 {
		x.number(v)
		return
	}
	x.column++
	sqlite3.Xsqlite3_bind_null(x.tls, x.insert, x.column)
}

// text binds a text that lies at an offset in the memory of the row.
func (x *rowWriter) text(at, n int) {
	x.column++
	sqlite3.Xsqlite3_bind_text(x.tls, x.insert, x.column, x.memory+uintptr(at), int32(n), sqlite3.SQLITE_STATIC)
}

// texts copies the texts of a row to where SQLite can read them.
func (x *rowWriter) texts(e *Stored) {
	x.id = append(append(x.id[:0], e.Node...), ':')
	x.id = strconv.AppendInt(x.id, e.Seq, 10)
	if need := len(x.id) + len(e.Comm); need > x.size {
		libc.Xfree(x.tls, x.memory)
		x.size = 2*need + 256
		x.memory = libc.Xmalloc(x.tls, libc.Tsize_t(x.size))
	}
	b := unsafe.Slice((*byte)(address(x.memory)), x.size)
	copy(b[copy(b, x.id):], e.Comm)
}

// write adds a row, with the columns of eventColumns.
func (x *rowWriter) write(e *Stored) error {
	x.texts(e)
	x.column = 0
	x.text(0, len(x.id))
	x.number(e.Start)
	x.number(int64(e.PID))
	x.number(int64(e.TID))
	x.number(int64(e.Op.Source()))
	x.number(int64(e.Op.Code()))
	x.number(e.Dur)
	x.number(int64(e.GPU))
	x.number(int64(e.Arg0()))
	x.number(int64(e.Arg1()))
	x.number(int64(e.Ret))
	x.number(int64(e.Stack))
	x.text(0, len(e.Node)) // the id begins with it
	x.known(int64(e.Rank.Rank))
	x.known(int64(e.Rank.Local))
	x.known(int64(e.Rank.World))
	x.number(int64(e.Cgroup))
	x.text(len(x.id), len(e.Comm))
	x.number(int64(e.Bytes))
	x.number(int64(e.Handle))
	x.number(int64(e.Dir))
	x.number(int64(e.Depth))
	running := int64(-1)
	if e.Runnable >= 0 && e.Blocked >= 0 {
		running = max(e.Dur-e.Runnable-e.Blocked, 0)
	}
	x.known(running)
	x.known(e.Runnable)
	x.known(e.Blocked)
	rc := sqlite3.Xsqlite3_step(x.tls, x.insert)
	if rc != sqlite3.SQLITE_DONE {
		return x.failure(rc)
	}
	sqlite3.Xsqlite3_reset(x.tls, x.insert)
	if x.pending++; x.pending < commitEvery {
		return nil
	}
	x.pending = 0
	if err := x.exec("COMMIT"); err != nil {
		return err
	}
	return x.exec("BEGIN")
}
