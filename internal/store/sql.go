package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"modernc.org/libc"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Limits bound what a question in SQL may cost. Zero values take the
// defaults.
type Limits struct {
	Timeout time.Duration // default 30 s
	Rows    int           // default 10,000
	Bytes   int           // of all values of the answer; default 64 MiB
}

func (l *Limits) defaults() {
	if l.Timeout <= 0 {
		l.Timeout = 30 * time.Second
	}
	if l.Rows <= 0 {
		l.Rows = 10_000
	}
	if l.Bytes <= 0 {
		l.Bytes = 64 << 20
	}
}

// Table is the answer to a question in SQL. Values are nil, int64, float64,
// string or []byte.
type Table struct {
	Columns   []string
	Rows      [][]any
	Truncated string // why rows are missing at the end; empty if none are
}

// engineLimits keep a single step of a hostile statement small in memory
// and, since SQLite can be stopped only between steps, in time.
var engineLimits = map[int]int{
	sqlite3.SQLITE_LIMIT_LENGTH:              1 << 20, // bytes of a text or blob
	sqlite3.SQLITE_LIMIT_SQL_LENGTH:          1 << 20,
	sqlite3.SQLITE_LIMIT_COLUMN:              500,
	sqlite3.SQLITE_LIMIT_COMPOUND_SELECT:     100,
	sqlite3.SQLITE_LIMIT_EXPR_DEPTH:          200,
	sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1000,
	sqlite3.SQLITE_LIMIT_ATTACHED:            0,
	sqlite3.SQLITE_LIMIT_WORKER_THREADS:      0,
}

// readPragmas may be asked for; those that take an argument only name a
// table or an index with it.
var readPragmas = map[string]bool{
	"table_info": true, "table_xinfo": true, "table_list": true, "index_list": true, "index_info": true,
	"index_xinfo": true, "foreign_key_list": true, "database_list": true, "function_list": true,
	"collation_list": true, "module_list": true, "pragma_list": true, "compile_options": true,
	"integrity_check": true, "quick_check": true,
	"user_version": false, "application_id": false, "page_count": false, "page_size": false,
	"freelist_count": false, "schema_version": false, "encoding": false, "journal_mode": false,
}

// authorize lets SQL read the database and nothing else.
func authorize(action sqlite.AuthorizerActionCode, arg1, arg2, _, _ string) sqlite.AuthorizerReturnCode {
	switch action {
	case sqlite.AuthSelect, sqlite.AuthRead, sqlite.AuthRecursive:
		return sqlite.AuthorizerOK
	case sqlite.AuthFunction:
		// arg2 is the name. These reach for files or for settings.
		switch strings.ToLower(arg2) {
		case "load_extension", "fts3_tokenizer", "fts5", "readfile", "writefile", "edit":
			return sqlite.AuthorizerDeny
		}
		return sqlite.AuthorizerOK
	case sqlite.AuthPragma:
		takesName, known := readPragmas[strings.ToLower(arg1)]
		if known && (takesName || arg2 == "") {
			return sqlite.AuthorizerOK
		}
	}
	return sqlite.AuthorizerDeny
}

// SQL answers a single statement that reads. The table "events" is there as
// DESIGN says, in recordings of an older ingero too. The engine refuses
// everything that writes, attaches, loads or changes settings, and stops at
// the limits.
func (r *Reader) SQL(ctx context.Context, text string, limits Limits) (*Table, error) {
	limits.defaults()
	if err := oneStatement(text); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, limits.Timeout)
	defer cancel()
	var t *Table
	err := r.do(ctx, func(ctx context.Context, c *readConn) error {
		src, done, err := r.attach(ctx, c)
		if err != nil {
			return err
		}
		defer done()
		if err := restrict(c.Conn); err != nil {
			return err
		}
		if t, err = run(ctx, c.Conn, text, limits); err != nil && src.err != nil && ctx.Err() == nil {
			return fmt.Errorf("read events: %w", src.err)
		}
		return err
	})
	if err != nil {
		return nil, explainSQL(ctx, err, limits)
	}
	return t, nil
}

// attach makes "events" on c, whatever kind of database it is.
func (r *Reader) attach(ctx context.Context, c *readConn) (*source, func(), error) {
	if r.kind == kindRecording {
		err := attachRecording(ctx, c)
		return &source{}, func() {}, err
	}
	return attachEvents(ctx, c)
}

func restrict(c *sql.Conn) error {
	for id, v := range engineLimits {
		if _, err := sqlite.Limit(c, id, v); err != nil {
			return fmt.Errorf("set limits: %w", err)
		}
	}
	return c.Raw(func(conn any) error {
		a, ok := conn.(sqlite.AuthorizerRegisterer)
		if !ok {
			return errors.New("set the authorizer: this SQLite has none")
		}
		return a.RegisterAuthorizer(authorize)
	})
}

func run(ctx context.Context, c *sql.Conn, text string, limits Limits) (*Table, error) {
	stop, err := interruptAtEnd(ctx, c)
	if err != nil {
		return nil, err
	}
	defer stop()
	rows, err := c.QueryContext(ctx, text)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	t := &Table{Rows: [][]any{}}
	if t.Columns, err = rows.Columns(); err != nil {
		return nil, err
	}
	size := 0
	for rows.Next() {
		if len(t.Rows) == limits.Rows {
			t.Truncated = fmt.Sprintf("only the first %d rows; add LIMIT, or aggregate", limits.Rows)
			break
		}
		row, dest := make([]any, len(t.Columns)), make([]any, len(t.Columns))
		for i := range row {
			dest[i] = &row[i]
		}
		if err := rows.Scan(dest...); err != nil {
			return nil, err
		}
		for _, v := range row {
			size += 16
			switch x := v.(type) {
			case string:
				size += len(x)
			case []byte:
				size += len(x)
			}
		}
		if size > limits.Bytes {
			t.Truncated = fmt.Sprintf("only the first %d rows, %d MiB; ask for fewer or shorter columns", len(t.Rows), limits.Bytes>>20)
			break
		}
		t.Rows = append(t.Rows, row)
	}
	if t.Truncated == "" {
		return t, rows.Err()
	}
	return t, nil
}

// interruptAtEnd stops the engine when ctx ends. The driver does so itself
// only until the first row; a statement can run without end after that one
// as well. Stop must be called before c is closed.
func interruptAtEnd(ctx context.Context, c *sql.Conn) (stop func(), err error) {
	var db uintptr
	err = c.Raw(func(conn any) error {
		// The handle is not exported; a test fails if it moves.
		f := reflect.Indirect(reflect.ValueOf(conn)).FieldByName("db")
		if f.Kind() != reflect.Uintptr {
			return errors.New("limit the time of a query: the SQLite driver hides its handle")
		}
		db = uintptr(f.Uint())
		return nil
	})
	if err != nil {
		return nil, err
	}
	ended, finished := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(finished)
		select {
		case <-ended:
		case <-ctx.Done():
			tls := libc.NewTLS()
			defer tls.Close()
			sqlite3.Xsqlite3_interrupt(tls, db)
		}
	}()
	return func() {
		close(ended)
		<-finished
	}, nil
}

// StatementError is a statement that the engine refused or stopped: whoever
// wrote it can do better.
type StatementError struct{ text string }

func (e StatementError) Error() string { return e.text }

// explainSQL says in the user's words why the engine refused or stopped.
func explainSQL(ctx context.Context, err error, limits Limits) error {
	code, _ := sqliteCode(err)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return StatementError{fmt.Sprintf("the query was stopped after %v; narrow it (timestamp BETWEEN ...) or raise --timeout", limits.Timeout)}
	case ctx.Err() != nil:
		return fmt.Errorf("the query was stopped: %w", ctx.Err())
	case code == sqlite3.SQLITE_AUTH || code == sqlite3.SQLITE_READONLY || strings.Contains(err.Error(), "modif"):
		return StatementError{"only reading is allowed: this statement writes, attaches a file or changes a setting"}
	case code == sqlite3.SQLITE_TOOBIG:
		return StatementError{"a text or blob grew beyond 1 MiB; make it shorter (substr) or aggregate less into one value"}
	case code == sqlite3.SQLITE_ERROR:
		text := strings.TrimSuffix(strings.TrimPrefix(err.Error(), "SQL logic error: "), " (1)")
		return StatementError{fmt.Sprintf("the query is wrong: %s; the tables are listed by \"SELECT name, sql FROM sqlite_schema\"", text)}
	}
	return err
}

// oneStatement refuses text with nothing to run or more than one statement:
// answers to all but the last would be lost.
func oneStatement(text string) error {
	ended, any := false, false
	for i := 0; i < len(text); i++ {
		switch ch := text[i]; {
		case ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r' || ch == '\f':
			continue
		case ch == ';':
			ended = any
			continue
		case strings.HasPrefix(text[i:], "--"):
			i += skipTo(text[i:], "\n")
			continue
		case strings.HasPrefix(text[i:], "/*"):
			i += 1 + skipTo(text[i+1:], "*/")
			continue
		case ch == '\'' || ch == '"' || ch == '`':
			i += 1 + skipTo(text[i+1:], string(ch)) // a doubled quote is two texts in a row
		case ch == '[':
			i += skipTo(text[i:], "]")
		}
		if ended {
			return StatementError{"the query holds more than one statement; ask one at a time"}
		}
		any = true
	}
	if !any {
		return StatementError{"the query is empty; give a SELECT statement"}
	}
	return nil
}

// skipTo returns the index of the last byte of the first end in s, or of s.
func skipTo(s, end string) int {
	if k := strings.Index(s, end); k >= 0 {
		return k + len(end) - 1
	}
	return len(s)
}
