package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// Options of a Writer.
type Options struct {
	Node     string  // name of this machine; empty: the host name
	MaxBytes int64   // size to stay below by dropping the oldest data; 0: no limit
	UID, GID int     // who gets what is created; 0: whoever runs this
	Session  Session // first description of the session

	// Now is the wall clock; nil: time.Now.
	Now func() time.Time
}

// homeDir is the directory of the default database. It is made if it is
// missing; a missing directory of any other name is more likely a mistake.
const homeDir = ".ingero"

const (
	// minLimit is the smallest size limit that leaves room to work: an empty
	// database, its log and one flush.
	minLimit = 1 << 20
	// pageSize suits blobs of some 50 KB better than SQLite's 4096.
	pageSize = 8192
	// maxSealed bounds the memory that chunks take which cannot be written,
	// about 4 million events.
	maxSealed = 1024
	// sealAfter bounds the age of an open chunk, which is written again by
	// every flush that has more events for it.
	sealAfter = 60 * time.Second
)

// Writer records into one database. Its methods are called from one
// goroutine. Data given to it is kept in memory until Flush.
type Writer struct {
	path  string
	opts  Options
	lock  *os.File
	conn  *sql.Conn
	db    *sql.DB
	stmts map[string]*sql.Stmt
	enc   *encoder

	// Events: the open chunk, and full ones that wait to be written.
	open     []event.Event
	openedAt time.Time
	openID   int64 // row of the open chunk; 0 until it is first written
	openSeq  int64
	changed  bool // open has events that are not in the database
	sealed   []chunkRow
	nextID   int64
	dropped  uint64

	stats     map[cell]*stats.Calls
	processes map[processKey]*processState
	byPID     map[uint32][]*processState
	snapshots []event.Snapshot
	gpus      []event.GPUSample
	ledger    map[ledgerKey]*stats.Ledger
	waits     map[waitKey]waitSum
	threads   map[threadKey]*threadState // whose names are not stored yet
	chains    map[string]Chain
	stacks    map[uint64]event.Stack
	places    map[placeKey]Place
	drains    map[int64]int64 // ns, by second
	session   Session
	sessionID int64
	described bool // the session row is up to date

	dirty      map[int64]bool // minutes with seconds newer than their roll-up
	newest     int64          // newest second with statistics
	chunkBytes int64          // space of all stored chunks
	maxChains  int            // incidents to keep
	chainCount int            // incidents that may be stored, at least as many as there are
}

type chunkRow struct {
	id, first, last, seq int64
	n                    int
	data                 []byte
	digest               []byte // nil: none
}

type cell struct {
	second int64
	key    processKey
	op     event.Op
}

type processKey struct {
	pid   uint32
	start int64
}

type processState struct {
	id      int64 // row; 0 until it is written
	row     ProcessRow
	changed bool
	known   bool // described by Process, not only met in statistics
	counted bool // met in statistics
	met     bool // met in the ledger, before anything else was said of it
	moved   bool // its start is not the one that is stored
	threads map[uint32]*threadState
}

// Create opens the database at path for recording, making it if it is
// missing, and starts a session. It refuses files that are not ours, are
// newer, are recordings of an older ingero or have another writer; then
// nothing is created or changed.
func Create(path string, opts Options) (*Writer, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Node == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("find the name of this node: %w; give it with --node", err)
		}
		opts.Node = host
	}
	if opts.MaxBytes > 0 {
		opts.MaxBytes = max(opts.MaxBytes, minLimit)
	}
	if dir := filepath.Dir(path); filepath.Base(dir) == homeDir {
		if err := makeDir(dir, opts.UID, opts.GID); err != nil {
			return nil, err
		}
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if err := refuse(path); err != nil {
		return nil, err
	}
	lock, made, err := claim(path)
	if err != nil {
		return nil, err
	}
	w := &Writer{
		path: path, opts: opts, lock: lock, session: opts.Session, stmts: map[string]*sql.Stmt{},
		open:  make([]event.Event, 0, chunkEvents),
		stats: map[cell]*stats.Calls{}, processes: map[processKey]*processState{}, dirty: map[int64]bool{},
		byPID: map[uint32][]*processState{}, ledger: map[ledgerKey]*stats.Ledger{}, waits: map[waitKey]waitSum{},
		threads: map[threadKey]*threadState{}, chains: map[string]Chain{}, maxChains: mostChains,
		places: map[placeKey]Place{}, stacks: map[uint64]event.Stack{}, drains: map[int64]int64{},
	}
	if err := w.start(made); err != nil {
		w.abandon()
		if made {
			for _, suffix := range []string{"", "-wal", "-shm"} {
				os.Remove(path + suffix)
			}
		}
		return nil, err
	}
	return w, nil
}

// refuse reports why an existing file cannot be recorded into.
func refuse(path string) error {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return nil // claim says what is wrong, if anything
	}
	r, err := Open(path)
	if errors.Is(err, errEmpty) {
		return nil // perhaps the start of a writer that was killed
	}
	if err != nil {
		return err
	}
	if r.kind == kindRecording {
		return fmt.Errorf("record into %s: it is %w, which is only read; give another path with --db", path, ErrOld)
	}
	return nil
}

// makeDir makes dir, if it is missing, and hands it to its user.
func makeDir(dir string, uid, gid int) error {
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("make the directory of the database: %w; give another path with --db", err)
	}
	return give(dir, uid, gid)
}

func give(path string, uid, gid int) error {
	if uid == 0 && gid == 0 {
		return nil
	}
	if err := os.Lchown(path, uid, gid); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("give %s to its user: %w", path, err)
	}
	return nil
}

// start opens the database, brings its schema up to date, picks up where the
// last session ended and begins a new one.
func (w *Writer) start(made bool) error {
	ctx := context.Background()
	uri, err := dsn(w.path, "mode=rw")
	if err != nil {
		return err
	}
	connector, err := sqlite.NewConnector(uri)
	if err != nil {
		return explain("open database", w.path, err)
	}
	w.db = sql.OpenDB(connector)
	if w.conn, err = w.db.Conn(ctx); err != nil {
		return explain("open database", w.path, err)
	}
	if err := w.configure(ctx); err != nil {
		return explain("create database", w.path, err)
	}
	if err := migrate(ctx, w.conn); err != nil {
		return explain("create database", w.path, err)
	}
	if w.enc, err = newEncoder(); err != nil {
		return err
	}
	if err := w.resume(ctx); err != nil {
		return explain("open database", w.path, err)
	}
	if err := w.beginSession(ctx); err != nil {
		return explain("write", w.path, err)
	}
	// Whatever happens next, the file alone is a database of ours.
	if err := w.checkpoint(ctx, "PASSIVE"); err != nil {
		return err
	}
	if !made {
		return nil // SQLite gives the log files to the owner of the database
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := give(w.path+suffix, w.opts.UID, w.opts.GID); err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) configure(ctx context.Context) error {
	checkpoint := 1000 // pages
	if w.opts.MaxBytes > 0 {
		// The log counts towards what the user sees on disk.
		checkpoint = min(checkpoint, max(16, int(w.opts.MaxBytes/50/pageSize)))
	}
	for _, s := range []string{
		// Both take effect only in a new file, before anything else.
		fmt.Sprintf("PRAGMA page_size = %d", pageSize),
		"PRAGMA auto_vacuum = INCREMENTAL", // a lowered limit can shrink the file
		"PRAGMA busy_timeout = 2000",       // ms; readers lock for moments only
		"PRAGMA journal_mode = WAL",        // readers never wait
		"PRAGMA synchronous = NORMAL",      // a crash of the machine may cost the last seconds, never the file
		fmt.Sprintf("PRAGMA wal_autocheckpoint = %d", checkpoint),
		fmt.Sprintf("PRAGMA journal_size_limit = %d", 2*checkpoint*pageSize), // the log shrinks again after a slow reader
	} {
		if _, err := w.conn.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// resume finds where the last session stopped.
func (w *Writer) resume(ctx context.Context) error {
	var lastMinute int64
	err := w.conn.QueryRowContext(ctx, fmt.Sprintf(`SELECT
		(SELECT coalesce(max(id), 0) + 1 FROM event_chunks),
		(SELECT coalesce(sum(length(data) / %d + 1), 0) * %d FROM event_chunks),
		coalesce((SELECT seq + n FROM event_chunks WHERE node = ? ORDER BY id DESC LIMIT 1), 1),
		(SELECT max(coalesce((SELECT max(second) FROM call_stats), 0), coalesce((SELECT max(second) FROM ledger), 0))),
		(SELECT max(coalesce((SELECT max(minute) FROM call_stats_minute), -60), coalesce((SELECT max(minute) FROM ledger_minute), -60))),
		(SELECT count(*) FROM causal_chains)`, pageRoom, pageSize), w.opts.Node).
		Scan(&w.nextID, &w.chunkBytes, &w.openSeq, &w.newest, &lastMinute, &w.chainCount)
	if err != nil {
		return err
	}
	// Minutes that were not over, or not yet rolled up when the writer died.
	rows, err := w.conn.QueryContext(ctx, `SELECT second / 60 * 60 FROM call_stats WHERE second >= ?1
		UNION SELECT second / 60 * 60 FROM ledger WHERE second >= ?1 UNION SELECT second / 60 * 60 FROM waits WHERE second >= ?1`, lastMinute+60)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var minute int64
		if err := rows.Scan(&minute); err != nil {
			return err
		}
		w.dirty[minute] = true
	}
	return rows.Err()
}

// abandon releases everything without writing.
func (w *Writer) abandon() error {
	var errs []error
	for _, s := range w.stmts {
		errs = append(errs, s.Close())
	}
	if w.conn != nil {
		errs = append(errs, w.conn.Close())
	}
	if w.db != nil {
		errs = append(errs, w.db.Close())
	}
	// Last, since closing any descriptor of the file drops SQLite's locks.
	errs = append(errs, w.lock.Close())
	return errors.Join(errs...)
}

// Close writes what is left, ends the session and folds the log into the
// database, so that one file remains. It returns even if the disk is full;
// the database then stays as the last successful Flush left it.
func (w *Writer) Close() error {
	w.seal()
	err := w.Flush()
	if err == nil {
		err = w.endSession(context.Background())
	}
	if err == nil {
		err = w.checkpoint(context.Background(), "TRUNCATE")
	}
	return errors.Join(err, w.abandon())
}

// checkpoint moves the log into the database, as far as readers let it.
func (w *Writer) checkpoint(ctx context.Context, mode string) error {
	var busy, pages, moved int
	err := w.conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint("+mode+")").Scan(&busy, &pages, &moved)
	if err != nil {
		return explain("write", w.path, err)
	}
	return nil
}
