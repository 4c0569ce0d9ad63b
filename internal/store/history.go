package store

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// BookOptions say how much of the books is wanted; the zero value is all.
type BookOptions struct {
	// Minutes takes whole minutes from their sums, not second by second. It
	// is implied for windows of more than minutesFrom.
	Minutes bool
	// Sums leaves out distributions: Hist knows count, sum and maximum, and
	// its quantiles are the mean. It takes half the time.
	Sums bool
	// NoCalls and NoLedger leave out the calls, and ledger and pairs.
	NoCalls, NoLedger bool
}

// minutesFrom is the length of a window, in seconds, from which whole minutes
// are read: a day by the second is some four million rows.
const minutesFrom = 3 * 3600

// Books returns what every process of the window did, second by second,
// ordered by node, PID and start. Where the seconds are gone, and in windows
// of more than three hours, there is one Second for each minute: At is the
// minute and Span is 60. The window is widened to whole seconds or minutes.
//
// Thread 0 of a ledger is the sum of threads that did next to nothing.
// Filter.Ops narrows the calls alone.
//
// Recordings of an older ingero have no ledger, and for calls that they only
// sampled the counts of each second are estimates that add up to those of the
// minute.
func (r *Reader) Books(ctx context.Context, f Filter) ([]stats.Process, error) {
	return r.BooksWith(ctx, f, BookOptions{})
}

// BooksWith is Books with options.
func (r *Reader) BooksWith(ctx context.Context, f Filter, o BookOptions) ([]stats.Process, error) {
	all, err := read(ctx, r, "the books", func(ctx context.Context, c *readConn) ([]stats.Process, error) {
		if r.kind == kindRecording {
			return recordingBooks(ctx, c, f)
		}
		return readBooks(ctx, c, f, o)
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b stats.Process) int {
		return cmp.Or(strings.Compare(a.Node, b.Node), cmp.Compare(a.PID, b.PID), cmp.Compare(a.Start, b.Start))
	})
	return all, nil
}

// history collects the books of each process.
type history struct {
	processes map[int64]*stats.Process // by processes.id
	threads   map[[2]int64]thread      // by process and tid
	seconds   map[int64][]stats.Second
	o         BookOptions
	ops       func(event.Op) bool
	names     map[string]string
	only      string // a condition on the process, in SQL
	raw       *raw

	// The process and the second that rows are being added to.
	id, at int64
	ok     bool

	hists  stats.Slab
	calls  pieces[stats.Calls]
	ledger pieces[stats.Ledger]
	pairs  pieces[stats.Pair]
}

type thread struct {
	comm  string
	start int64
}

func readBooks(ctx context.Context, c *readConn, f Filter, o BookOptions) ([]stats.Process, error) {
	h := &history{o: o, ops: f.hasOp, names: map[string]string{}}
	var err error
	if h.processes, err = describedProcesses(ctx, c, f); err != nil {
		return nil, err
	}
	h.narrow(f)
	has, err := tableColumns(ctx, c, "ledger")
	if err != nil {
		return nil, err
	}
	booked := has["state"] && !o.NoLedger
	parts, err := planBooks(ctx, c, f, o, has["state"])
	if err != nil {
		return nil, err
	}
	if h.raw, err = c.openRaw(); err != nil {
		return nil, err
	}
	defer h.raw.close()
	var scans []func(context.Context, part) error
	if !o.NoCalls {
		scans = append(scans, h.readCalls)
	}
	if booked {
		if h.threads, err = readThreads(ctx, c); err != nil {
			return nil, err
		}
		scans = append(scans, h.readLedger, h.readPairs)
	}
	for _, scan := range scans {
		h.seconds = map[int64][]stats.Second{}
		for _, p := range parts {
			if err := scan(ctx, p); err != nil {
				return nil, err
			}
		}
		for id, s := range h.seconds {
			p := h.processes[id]
			p.Seconds = mergeSeconds(p.Seconds, s)
		}
	}
	if err := h.measure(ctx, c, parts); err != nil {
		return nil, err
	}
	var all []stats.Process
	for _, p := range h.processes {
		if len(p.Seconds) > 0 {
			all = append(all, *p)
		}
	}
	return all, nil
}

// measure says how long each second of the ledgers was.
func (h *history) measure(ctx context.Context, c *readConn, parts []part) error {
	for _, x := range parts {
		if x.period != "second" {
			continue
		}
		walls, err := readDrains(ctx, c, x.from, x.to)
		if err != nil {
			return err
		}
		for _, p := range h.processes {
			for i := range p.Seconds {
				if s := &p.Seconds[i]; s.At >= x.from && s.At < x.to && len(s.Ledger) > 0 {
					s.Wall = walls[s.At]
				}
			}
		}
	}
	return nil
}

// narrow lets the engine skip the rows of other processes.
func (h *history) narrow(f Filter) {
	if f.PIDs == nil || len(h.processes) > 100 {
		return
	}
	var ids []string
	for id := range h.processes {
		ids = append(ids, fmt.Sprint(id))
	}
	h.only = " AND process IN (" + strings.Join(ids, ", ") + ")"
}

// planBooks is plan for Books: seconds where there are any, unless minutes
// are wanted.
func planBooks(ctx context.Context, c *readConn, f Filter, o BookOptions, booked bool) ([]part, error) {
	text := `SELECT (SELECT min(second) FROM call_stats), (SELECT max(second) FROM call_stats),
		(SELECT min(minute) FROM call_stats_minute), (SELECT max(minute) FROM call_stats_minute)`
	if booked {
		text = `SELECT min(a), max(b), min(c), max(d) FROM (SELECT (SELECT min(second) FROM call_stats) AS a, (SELECT max(second) FROM call_stats) AS b,
			(SELECT min(minute) FROM call_stats_minute) AS c, (SELECT max(minute) FROM call_stats_minute) AS d
			UNION ALL SELECT (SELECT min(second) FROM ledger), (SELECT max(second) FROM ledger),
			(SELECT min(minute) FROM ledger_minute), (SELECT max(minute) FROM ledger_minute))`
	}
	var first, last, firstMinute, lastMinute *int64
	if err := c.QueryRowContext(ctx, text).Scan(&first, &last, &firstMinute, &lastMinute); err != nil {
		return nil, err
	}
	value := func(v *int64, otherwise int64) int64 {
		if v == nil {
			return otherwise
		}
		return *v
	}
	oldest, rolled := value(first, math.MaxInt64/2), value(lastMinute, math.MinInt64/2)+60
	from, to := floorDiv(f.From, 1e9), int64(math.MaxInt64/2)
	if f.To != 0 {
		to = floorDiv(f.To-1, 1e9) + 1
	}
	length := min(to, value(last, from)+1) - max(from, min(oldest, value(firstMinute, oldest)))
	// From a on, whole minutes that are rolled up are taken as such until b;
	// without need, there are none.
	a := floorDiv(from+59, 60) * 60
	b := min(floorDiv(to, 60)*60, rolled)
	if from < oldest && floorDiv(from, 60)*60 < rolled {
		a = floorDiv(from, 60) * 60
	}
	if to < oldest {
		b = min(floorDiv(to+59, 60)*60, rolled)
	}
	if !o.Minutes && length <= minutesFrom {
		b = min(b, floorDiv(oldest, 60)*60) // seconds are dropped by the whole minute
	}
	seconds := func(a, b int64) part { return part{"", "second", a, b} }
	if a >= b {
		return []part{seconds(from, to)}, nil
	}
	return []part{seconds(from, a), {"_minute", "minute", a, b}, seconds(b, to)}, nil
}

// mergeSeconds joins two lists of seconds in order that hold different things.
func mergeSeconds(a, b []stats.Second) []stats.Second {
	if len(a) == 0 {
		return b
	}
	all := make([]stats.Second, 0, max(len(a), len(b))+8)
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].At < b[0].At:
			all, a = append(all, a[0]), a[1:]
		case a[0].At > b[0].At:
			all, b = append(all, b[0]), b[1:]
		default:
			s := a[0]
			s.Span = max(s.Span, b[0].Span)
			if len(s.Calls) == 0 {
				s.Calls = b[0].Calls
			}
			if len(s.Ledger) == 0 {
				s.Ledger = b[0].Ledger
			}
			if len(s.Pairs) == 0 {
				s.Pairs = b[0].Pairs
			}
			all, a, b = append(all, s), a[1:], b[1:]
		}
	}
	return append(append(all, a...), b...)
}

func describedProcesses(ctx context.Context, c *readConn, f Filter) (map[int64]*stats.Process, error) {
	rows, err := c.QueryContext(ctx, `SELECT id, node, pid, start, ppid, comm, cmdline, uid, cgroup_id, container,
		coalesce(rank, -1), coalesce(local_rank, -1), coalesce(world_size, -1), ended, coalesce(exit_status, 0) FROM processes`)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer rows.Close()
	all := map[int64]*stats.Process{}
	for rows.Next() {
		var id, cgroup int64
		var p stats.Process
		if err := rows.Scan(&id, &p.Node, &p.PID, &p.Start, &p.PPID, &p.Comm, &p.Cmdline, &p.UID, &cgroup, &p.Container,
			&p.Rank.Rank, &p.Rank.Local, &p.Rank.World, &p.Ended, &p.Status); err != nil {
			return nil, fmt.Errorf("list processes: %w", err)
		}
		p.Cgroup = uint64(cgroup)
		if f.hasPID(p.PID) {
			all[id] = &p
		}
	}
	return all, rows.Err()
}

func readThreads(ctx context.Context, c *readConn) (map[[2]int64]thread, error) {
	rows, err := c.QueryContext(ctx, "SELECT process, tid, comm, start FROM threads")
	if err != nil {
		return nil, fmt.Errorf("list threads: %w", err)
	}
	defer rows.Close()
	all := map[[2]int64]thread{}
	for rows.Next() {
		var k [2]int64
		var t thread
		if err := rows.Scan(&k[0], &k[1], &t.comm, &t.start); err != nil {
			return nil, fmt.Errorf("list threads: %w", err)
		}
		all[k] = t
	}
	return all, rows.Err()
}

// Processes returns what is known of every process that was ever traced,
// without what it did.
func (r *Reader) Processes(ctx context.Context) ([]stats.Process, error) {
	return read(ctx, r, "processes", func(ctx context.Context, c *readConn) (out []stats.Process, err error) {
		if r.kind == kindRecording {
			return recordingProcesses(ctx, c)
		}
		all, err := describedProcesses(ctx, c, Filter{})
		for _, p := range all {
			out = append(out, *p)
		}
		slices.SortFunc(out, func(a, b stats.Process) int {
			return cmp.Or(strings.Compare(a.Node, b.Node), cmp.Compare(a.PID, b.PID), cmp.Compare(a.Start, b.Start))
		})
		return out, err
	})
}
