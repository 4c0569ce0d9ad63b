package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// Flush writes everything that is new in one transaction and drops old data
// if the database has grown to its limit. Call it about twice a second. If
// it fails nothing is written, the data stays in memory for the next try
// (events up to a bound, see Dropped), and the error says what to do; it is
// ErrDiskFull if the disk is full.
func (w *Writer) Flush() error {
	if w.conn == nil {
		return errors.New("write database: it is closed")
	}
	ctx := context.Background()
	if len(w.open) > 0 && w.opts.Now().Sub(w.openedAt) >= sealAfter {
		w.seal()
	}
	chunks := w.sealed
	if w.changed {
		chunks = append(chunks[:len(chunks):len(chunks)], w.pack())
	}
	if len(chunks) == 0 && w.idle() && w.described && !w.anyProcess() {
		return nil
	}
	if err := w.write(ctx, chunks); err != nil {
		return explain("write", w.path, err)
	}
	return nil
}

// idle reports whether nothing but events may be pending.
func (w *Writer) idle() bool {
	return len(w.stats)+len(w.ledger)+len(w.waits)+len(w.snapshots)+len(w.gpus)+len(w.chains)+len(w.places)+len(w.stacks)+len(w.drains) == 0
}

func (w *Writer) anyProcess() bool {
	for _, p := range w.processes {
		if p.changed {
			return true
		}
	}
	return false
}

func (w *Writer) writeChunk(ctx context.Context, c *chunkRow) error {
	if _, err := w.exec(ctx, "INSERT OR REPLACE INTO event_chunks VALUES (?, ?, ?, ?, ?, ?, ?)",
		c.id, w.opts.Node, c.first, c.last, c.n, c.seq, c.data); err != nil {
		return err
	}
	if c.digest == nil { // an open chunk may have had one
		_, err := w.exec(ctx, "DELETE FROM event_digests WHERE chunk = ?", c.id)
		return err
	}
	_, err := w.exec(ctx, "INSERT OR REPLACE INTO event_digests VALUES (?, ?)", c.id, c.digest)
	return err
}

// write stores chunks and all that is pending. What it changes in w, it
// changes after the commit.
func (w *Writer) write(ctx context.Context, chunks []chunkRow) (err error) {
	if _, err := w.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			// SQLite may have rolled back already, for a full disk it does.
			w.conn.ExecContext(ctx, "ROLLBACK")
		}
	}()
	bytes, err := w.prune(ctx, chunks)
	if err != nil {
		return err
	}
	for i := range chunks {
		if err := w.writeChunk(ctx, &chunks[i]); err != nil {
			return err
		}
	}
	ids, err := w.writeProcesses(ctx)
	if err != nil {
		return err
	}
	newest, dirty, err := w.writeStats(ctx, ids)
	if err != nil {
		return err
	}
	newest, booked, err := w.writeBooks(ctx, ids, newest)
	if err != nil {
		return err
	}
	dirty = append(dirty, booked...)
	rolled, err := w.rollUp(ctx, newest, dirty)
	if err != nil {
		return err
	}
	for _, more := range []func(context.Context) error{w.writeMachine, w.writeStacks} {
		if err := more(ctx); err != nil {
			return err
		}
	}
	incidents, err := w.writeChains(ctx)
	if err != nil {
		return err
	}
	if err := w.describe(ctx); err != nil {
		return err
	}
	if _, err := w.exec(ctx, "COMMIT"); err != nil {
		return err
	}
	w.chainCount = incidents
	w.committed(bytes, ids, newest, dirty, rolled)
	return nil
}

func (w *Writer) committed(bytes int64, ids map[processKey]int64, newest int64, dirty, rolled []int64) {
	w.chunkBytes = bytes
	clear(w.sealed) // let the packed chunks go
	w.sealed, w.changed, w.described = w.sealed[:0], false, true
	for key, id := range ids {
		p := w.processes[key]
		p.id, p.changed, p.moved = id, false, false
	}
	for key, p := range w.processes {
		if p.row.Ended != 0 && w.opts.Now().UnixNano()-p.row.Ended > int64(sealAfter) {
			w.forget(key)
		}
	}
	w.newest = newest
	for _, m := range dirty {
		w.dirty[m] = true
	}
	for _, m := range rolled {
		delete(w.dirty, m)
	}
	clear(w.stats)
	clear(w.places)
	clear(w.stacks)
	clear(w.drains)
	clear(w.threads)
	clear(w.ledger)
	clear(w.waits)
	clear(w.chains)
	w.snapshots, w.gpus = w.snapshots[:0], w.gpus[:0]
}

// exec runs a statement, prepared at its first use.
func (w *Writer) exec(ctx context.Context, text string, args ...any) (sql.Result, error) {
	s, err := w.prepare(ctx, text)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args...)
}

func (w *Writer) prepare(ctx context.Context, text string) (*sql.Stmt, error) {
	if s := w.stmts[text]; s != nil {
		return s, nil
	}
	s, err := w.conn.PrepareContext(ctx, text)
	if err == nil {
		w.stmts[text] = s
	}
	return s, err
}

// writeProcesses stores changed processes and returns the rows of all that
// are changed or new.
func (w *Writer) writeProcesses(ctx context.Context) (map[processKey]int64, error) {
	ids := map[processKey]int64{}
	for key, p := range w.processes {
		if !p.changed {
			continue
		}
		id, err := w.writeProcess(ctx, p)
		if err != nil {
			return nil, err
		}
		ids[key] = id
	}
	return ids, nil
}

func (w *Writer) writeProcess(ctx context.Context, p *processState) (id int64, err error) {
	r := &p.row
	if p.moved {
		// Unless an earlier session knows the process: then that row is it.
		if _, err := w.exec(ctx, "UPDATE OR IGNORE processes SET start = ? WHERE id = ?", r.Start, p.id); err != nil {
			return 0, err
		}
	}
	if !p.known {
		// Met in statistics only: keep what an earlier session may know.
		if _, err := w.exec(ctx, `INSERT INTO processes (node, pid, start, comm) VALUES (?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET comm = excluded.comm WHERE comm = ''`,
			w.opts.Node, r.PID, r.Start, r.Comm); err != nil {
			return 0, err
		}
	} else {
		var status any
		if r.Ended != 0 {
			status = r.Status
		}
		rank, local, world := rankArgs(r.Rank)
		if _, err := w.exec(ctx, `INSERT INTO processes (node, pid, start, ppid, comm, cmdline, uid, cgroup_id, container,
				rank, local_rank, world_size, ended, exit_status) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (node, pid, start) DO UPDATE SET ppid = excluded.ppid, comm = excluded.comm,
				cmdline = excluded.cmdline, uid = excluded.uid, cgroup_id = excluded.cgroup_id,
				container = excluded.container, rank = excluded.rank, local_rank = excluded.local_rank,
				world_size = excluded.world_size, ended = excluded.ended, exit_status = excluded.exit_status`,
			w.opts.Node, r.PID, r.Start, r.PPID, r.Comm, r.Cmdline, r.UID, int64(r.Cgroup), r.Container,
			rank, local, world, r.Ended, status); err != nil {
			return 0, err
		}
		if _, err := w.exec(ctx, "INSERT OR REPLACE INTO process_names VALUES (?, ?, ?)",
			r.PID, r.Comm, w.opts.Now().UnixNano()); err != nil {
			return 0, err
		}
	}
	s, err := w.prepare(ctx, "SELECT id FROM processes WHERE node = ? AND pid = ? AND start = ?")
	if err != nil {
		return 0, err
	}
	err = s.QueryRowContext(ctx, w.opts.Node, r.PID, r.Start).Scan(&id)
	return id, err
}

// rankArgs turns unknown ranks, -1, into NULL.
func rankArgs(r event.Rank) (rank, local, world any) {
	null := func(v int32) any {
		if v < 0 {
			return nil
		}
		return v
	}
	return null(r.Rank), null(r.Local), null(r.World)
}

const statColumns = "source, op, count, nested, errors, sum_ns, min_ns, max_ns, bytes, recorded, lost, histogram"

// writeStats stores the pending seconds. It returns the newest second of all
// and the minutes that changed.
func (w *Writer) writeStats(ctx context.Context, ids map[processKey]int64) (newest int64, dirty []int64, err error) {
	newest = w.newest
	for at, s := range w.stats {
		id := w.processes[at.key].id
		if fresh, ok := ids[at.key]; ok {
			id = fresh
		}
		if err := w.writeCell(ctx, "call_stats", "second", at.second, id, s); err != nil {
			return 0, nil, err
		}
		newest = max(newest, at.second)
		dirty = append(dirty, at.second/60*60)
	}
	return newest, dirty, nil
}

// writeCell inserts one row, adding up with the row that is there already.
func (w *Writer) writeCell(ctx context.Context, table, period string, at, process int64, s *stats.Calls) error {
	insert := "INSERT OR IGNORE INTO " + table + " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
	res, err := w.exec(ctx, insert, cellArgs(at, process, s)...)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return err
	}
	read, err := w.prepare(ctx, "SELECT "+statColumns+" FROM "+table+" WHERE "+period+" = ? AND process = ? AND source = ? AND op = ?")
	if err != nil {
		return err
	}
	old, err := scanStat(read.QueryRowContext(ctx, at, process, int(s.Op.Source()), int(s.Op.Code())))
	if err != nil {
		return err
	}
	old.Add(s)
	_, err = w.exec(ctx, "REPLACE INTO "+table+" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", cellArgs(at, process, &old)...)
	return err
}

func cellArgs(at, process int64, s *stats.Calls) []any {
	least := int64(0)
	first := true
	s.Hist.Each(func(bucket int, _ uint64) {
		if first {
			least, first = int64(min(stats.Middle(bucket), s.Hist.Max())), false
		}
	})
	return []any{at, process, int(s.Op.Source()), int(s.Op.Code()),
		int64(s.Hist.Count()), int64(s.Nested), int64(s.Errors), int64(s.Hist.Sum()), least, int64(s.Hist.Max()),
		int64(s.Bytes), int64(s.Recorded), int64(s.Lost), s.Hist.AppendTo(nil)}
}

// scanStat reads statColumns, after other columns if dest names some.
func scanStat(row interface{ Scan(...any) error }, dest ...any) (stats.Calls, error) {
	var source, op uint8
	var count, sum, least, most int64
	var blob sql.RawBytes
	var keep []byte
	var target any = &blob
	if _, single := row.(*sql.Row); single {
		target = &keep // a Row does not scan into memory it will reuse
	}
	s := stats.Calls{Hist: new(stats.Histogram)}
	var nested, errs, bytes, recorded, lost int64
	if err := row.Scan(append(dest, &source, &op, &count, &nested, &errs, &sum, &least, &most, &bytes, &recorded, &lost, target)...); err != nil {
		return s, err
	}
	if keep == nil {
		keep = blob
	}
	if err := s.Hist.MergeEncoded(keep); err != nil {
		return s, fmt.Errorf("%w: statistics of %s: %w", ErrDamaged, event.MakeOp(event.Source(source), op), err)
	}
	s.Op = event.MakeOp(event.Source(source), op)
	s.Nested, s.Errors, s.Bytes = uint64(nested), uint64(errs), uint64(bytes)
	s.Recorded, s.Lost = uint64(recorded), uint64(lost)
	return s, nil
}

// beginSession closes sessions whose writer died and opens ours.
func (w *Writer) beginSession(ctx context.Context) error {
	// The last thing a dead writer stored is the best known end.
	if _, err := w.conn.ExecContext(ctx, `UPDATE sessions SET killed = 1, stopped_at = max(started_at, coalesce((SELECT max(t) FROM (
			SELECT max(last_ns) AS t FROM event_chunks UNION ALL SELECT (max(second) + 1) * 1000000000 FROM call_stats
			UNION ALL SELECT (max(second) + 1) * 1000000000 FROM ledger
			UNION ALL SELECT max(timestamp) FROM system_snapshots)), 0))
		WHERE stopped_at = 0`); err != nil {
		return err
	}
	res, err := w.conn.ExecContext(ctx, "INSERT INTO sessions (started_at, node, agent_pid) VALUES (?, ?, ?)",
		w.opts.Now().UnixNano(), w.opts.Node, os.Getpid())
	if err != nil {
		return err
	}
	// What still went on is no longer watched.
	if _, err := w.conn.ExecContext(ctx, `UPDATE causal_chains SET ended_at = max(started_at, detected_at,
			coalesce((SELECT max(stopped_at) FROM sessions), 0)) WHERE ended_at = 0 AND started_at <> 0 AND node = ?`, w.opts.Node); err != nil {
		return err
	}
	if w.sessionID, err = res.LastInsertId(); err != nil {
		return err
	}
	return w.describe(ctx)
}

// describe brings the session's row up to date.
func (w *Writer) describe(ctx context.Context) error {
	if w.described {
		return nil
	}
	s := &w.session
	gaps, err := json.Marshal(append([]string{}, s.Gaps...))
	if err != nil {
		return err
	}
	steps, err := json.Marshal(append([]ClockStep{}, s.ClockSteps...))
	if err != nil {
		return err
	}
	rank, local, world := rankArgs(s.Rank)
	_, err = w.exec(ctx, `UPDATE sessions SET gpu_model = ?, gpu_driver = ?, cpu_model = ?, cpu_cores = ?, mem_total = ?,
		kernel = ?, os_release = ?, cuda_ver = ?, python_ver = ?, ingero_ver = ?, pid_filter = ?, flags = ?,
		rank = ?, local_rank = ?, world_size = ?, overhead_share = ?, lost = ?, gaps = ?, clock_steps = ? WHERE id = ?`,
		s.GPUModel, s.GPUDriver, s.CPUModel, s.CPUCores, s.MemTotal, s.Kernel, s.OSRelease, s.CUDAVersion,
		s.PythonVersion, s.Version, s.PIDFilter, s.Flags, rank, local, world, s.Overhead,
		int64(s.Lost+w.dropped), string(gaps), string(steps), w.sessionID)
	return err
}

func (w *Writer) endSession(ctx context.Context) error {
	if _, err := w.exec(ctx, "UPDATE sessions SET stopped_at = ? WHERE id = ?", w.opts.Now().UnixNano(), w.sessionID); err != nil {
		return explain("write", w.path, err)
	}
	return nil
}
