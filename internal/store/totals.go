package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// Filter narrows a question. The zero value means everything.
type Filter struct {
	From, To int64      // unix ns, From <= t < To; To 0 has no end
	PIDs     []uint32   // of these processes; nil: all
	Ops      []event.Op // of these operations; nil: all
}

func (f *Filter) end() int64 {
	if f.To == 0 {
		return math.MaxInt64
	}
	return f.To
}

func (f *Filter) hasPID(pid uint32) bool { return f.PIDs == nil || slices.Contains(f.PIDs, pid) }
func (f *Filter) hasOp(op event.Op) bool { return f.Ops == nil || slices.Contains(f.Ops, op) }

// Total is what happened to one operation, of all processes or of one.
type Total struct {
	stats.Calls
	Comm, Node string // of the process, if rows are per process
}

// Totals are exact: they do not come from the recorded events.
type Totals struct {
	Rows []Total // ordered by process, then the operation's number

	// Sampled is set for recordings of an older ingero: distributions and
	// errors are of stored events only, and losses are not known.
	Sampled bool
}

// Coverage is how well a period was watched.
type Coverage struct {
	Lost     uint64   // events the agent lost; those that stats.Calls counts are not included
	Overhead *float64 // share of the traced processes' time; nil: not measured
	Gaps     []string // what was not seen
}

// process is a row of processes.
type process struct {
	pid        uint32
	start      int64
	comm, node string
}

type totalKey struct {
	process int64 // 0 when processes are summed up
	op      event.Op
}

// Totals sums up the window, which is widened to whole seconds. Where the
// seconds have been dropped to save space, it is widened to whole minutes.
func (r *Reader) Totals(ctx context.Context, f Filter, perProcess bool) (*Totals, error) {
	var t *Totals
	err := r.do(ctx, func(ctx context.Context, c *readConn) (err error) {
		if r.kind == kindRecording {
			t, err = recordingTotals(ctx, c, f, perProcess)
			return err
		}
		t, err = readTotals(ctx, c, f, perProcess)
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(t.Rows, func(a, b Total) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.PID, b.PID), cmp.Compare(a.Start, b.Start), cmp.Compare(a.Op, b.Op))
	})
	return t, nil
}

func readTotals(ctx context.Context, c *readConn, f Filter, perProcess bool) (*Totals, error) {
	processes, err := readProcesses(ctx, c)
	if err != nil {
		return nil, err
	}
	parts, err := plan(ctx, c, f)
	if err != nil {
		return nil, err
	}
	sums := map[totalKey]*stats.Calls{}
	for _, p := range parts {
		if err := sumUp(ctx, c, p, f, perProcess, processes, sums); err != nil {
			return nil, err
		}
	}
	t := &Totals{}
	for k, s := range sums {
		p := processes[k.process]
		s.PID, s.Start = p.pid, p.start
		t.Rows = append(t.Rows, Total{*s, p.comm, p.node})
	}
	return t, nil
}

func readProcesses(ctx context.Context, c *readConn) (map[int64]process, error) {
	rows, err := c.QueryContext(ctx, "SELECT id, pid, start, comm, node FROM processes")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer rows.Close()
	all := map[int64]process{}
	for rows.Next() {
		var id int64
		var p process
		if err := rows.Scan(&id, &p.pid, &p.start, &p.comm, &p.node); err != nil {
			return nil, fmt.Errorf("list processes: %w", err)
		}
		all[id] = p
	}
	return all, rows.Err()
}

// part is a range of rows in one of the tables of statistics.
type part struct {
	table, period string
	from, to      int64 // unix s, from <= t < to
}

// plan splits the window: whole minutes that are rolled up come from the
// minutes, the edges and what is newer from the seconds.
func plan(ctx context.Context, c *readConn, f Filter) ([]part, error) {
	var oldest, rolled int64
	err := c.QueryRowContext(ctx, `SELECT
		coalesce((SELECT min(second) FROM call_stats), 1 << 60),
		coalesce((SELECT max(minute) + 60 FROM call_stats_minute), 0)`).Scan(&oldest, &rolled)
	if err != nil {
		return nil, fmt.Errorf("read statistics: %w", err)
	}
	from := floorDiv(f.From, 1e9)
	to := int64(math.MaxInt64 / 2)
	if f.To != 0 {
		to = floorDiv(f.To-1, 1e9) + 1
	}
	seconds := func(a, b int64) part { return part{"call_stats", "second", a, b} }
	// First minute to take as a whole: one that begins in the window, or one
	// whose seconds are gone.
	a := (from + 59) / 60 * 60
	if from < oldest && from/60*60 < rolled {
		a = from / 60 * 60
	}
	b := min(to/60*60, rolled)
	if to < oldest {
		b = min((to+59)/60*60, rolled)
	}
	if a >= b {
		return []part{seconds(from, to)}, nil
	}
	return []part{seconds(from, a), {"call_stats_minute", "minute", a, b}, seconds(b, to)}, nil
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func sumUp(ctx context.Context, c *readConn, p part, f Filter, perProcess bool, processes map[int64]process, sums map[totalKey]*stats.Calls) error {
	rows, err := c.QueryContext(ctx, "SELECT process, "+statColumns+" FROM "+p.table+
		" WHERE "+p.period+" >= ? AND "+p.period+" < ?", p.from, p.to)
	if err != nil {
		return fmt.Errorf("read statistics: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		s, err := scanStat(rows, &id)
		if err != nil {
			return fmt.Errorf("read statistics: %w", err)
		}
		if !f.hasOp(s.Op) || !f.hasPID(processes[id].pid) {
			continue
		}
		k := totalKey{0, s.Op}
		if perProcess {
			k.process = id
		}
		if sum := sums[k]; sum != nil {
			sum.Add(&s)
		} else {
			sums[k] = &s
		}
	}
	return rows.Err()
}

// SessionRow is one run of an agent, as stored.
type SessionRow struct {
	ID               int64
	Started, Stopped int64 // unix ns; Stopped 0 while it records
	Node, Version    string
	Killed           bool // ended without closing the database
	Lost             uint64
	Overhead         *float64
	Gaps             []string
}

// Sessions lists the runs of the agent in the order they were stored.
func (r *Reader) Sessions(ctx context.Context) ([]SessionRow, error) {
	var all []SessionRow
	err := r.do(ctx, func(ctx context.Context, c *readConn) (err error) {
		all, err = r.sessions(ctx, c)
		return err
	})
	return all, err
}

func (r *Reader) sessions(ctx context.Context, c *readConn) ([]SessionRow, error) {
	text := "SELECT id, started_at, stopped_at, ingero_ver, node, killed, lost, overhead_share, gaps FROM sessions ORDER BY id"
	if r.kind == kindRecording {
		columns, err := tableColumns(ctx, c, "sessions")
		if err != nil {
			return nil, err
		}
		text = "SELECT id, started_at, stopped_at, ingero_ver, " + columns.or("node", "''") + ", 0, 0, NULL, '[]' FROM sessions ORDER BY id"
	}
	rows, err := c.QueryContext(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	defer rows.Close()
	var all []SessionRow
	for rows.Next() {
		var s SessionRow
		var gaps string
		var lost int64
		if err := rows.Scan(&s.ID, &s.Started, &s.Stopped, &s.Version, &s.Node, &s.Killed, &lost, &s.Overhead, &gaps); err != nil {
			return nil, fmt.Errorf("list sessions: %w", err)
		}
		s.Lost = uint64(lost)
		if err := json.Unmarshal([]byte(gaps), &s.Gaps); err != nil {
			return nil, fmt.Errorf("list sessions: gaps of session %d: %w", s.ID, err)
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

// Coverage says how well the window was watched.
func (r *Reader) Coverage(ctx context.Context, f Filter) (*Coverage, error) {
	sessions, err := r.Sessions(ctx)
	if err != nil {
		return nil, err
	}
	c := &Coverage{}
	var cost, length float64 // of the sessions that have watched a call
	for _, s := range sessions {
		if s.Started >= f.end() || (s.Stopped != 0 && s.Stopped <= f.From) {
			continue
		}
		c.Lost += s.Lost
		c.Gaps = union(c.Gaps, s.Gaps)
		if s.Overhead != nil && *s.Overhead > 0 {
			end := f.end()
			if s.Stopped != 0 {
				end = min(end, s.Stopped)
			}
			n := max(float64(end)-float64(max(s.Started, f.From)), 1)
			cost, length = cost+*s.Overhead*n, length+n
		} else if c.Overhead == nil {
			c.Overhead = s.Overhead
		}
		if s.Killed {
			c.Gaps = append(c.Gaps, fmt.Sprintf("the agent was killed at about %s; up to a second before that is missing",
				time.Unix(0, s.Stopped).UTC().Format(time.RFC3339)))
		}
	}
	if length > 0 {
		share := cost / length
		c.Overhead = &share
	}
	if r.kind == kindRecording {
		c.Gaps = append(c.Gaps, "recorded by an older ingero: losses are not known, percentiles and errors are of stored events only")
	}
	return c, nil
}

// Span returns the times of the oldest and the newest data, 0 if there is
// none.
//
// A minute that still has its seconds begins with the first of those.
func (r *Reader) Span(ctx context.Context) (oldest, newest int64, err error) {
	text := `SELECT coalesce(min(a), 0), coalesce(max(b), 0) FROM (
		SELECT min(second) * 1000000000 AS a, (max(second) + 1) * 1000000000 - 1 AS b FROM call_stats
		UNION ALL SELECT min(minute) * 1000000000, NULL FROM call_stats_minute WHERE minute + 60 <= coalesce((SELECT min(second) FROM call_stats), 1 << 40)
		UNION ALL SELECT (SELECT first_ns FROM event_chunks ORDER BY id LIMIT 1), (SELECT max(last_ns) FROM event_chunks)
		UNION ALL SELECT min(timestamp), max(timestamp) FROM system_snapshots)`
	if r.kind == kindRecording {
		text = "SELECT coalesce(min(timestamp - duration), 0), coalesce(max(timestamp), 0) FROM events"
	}
	err = r.do(ctx, func(ctx context.Context, c *readConn) error {
		has, err := tableColumns(ctx, c, "ledger")
		if err != nil {
			return err
		}
		all := text
		if has["second"] && r.kind == kindOurs {
			all = strings.TrimSuffix(text, ")") + ` UNION ALL SELECT min(second) * 1000000000, (max(second) + 1) * 1000000000 - 1 FROM ledger
				UNION ALL SELECT min(minute) * 1000000000, NULL FROM ledger_minute WHERE minute + 60 <= coalesce((SELECT min(second) FROM ledger), 1 << 40))`
		}
		return c.QueryRowContext(ctx, all).Scan(&oldest, &newest)
	})
	if err != nil {
		return 0, 0, fmt.Errorf("find the time of the data: %w", err)
	}
	return oldest, newest, nil
}

// newStat makes empty statistics of an operation.
func newStat(op event.Op) *stats.Calls { return &stats.Calls{Op: op, Hist: new(stats.Histogram)} }
