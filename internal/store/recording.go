package store

import (
	"context"
	"fmt"
	"math"
	"strings"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// Recordings of ingero 0.8 to 0.17: events are plain rows, totals are by the
// minute in event_aggregates, if at all. Columns differ by version.

type columnSet map[string]bool

// or returns the column if the table has it, else the other expression.
func (s columnSet) or(name, other string) string {
	if s[name] {
		return name
	}
	return other
}

func tableColumns(ctx context.Context, c *readConn, table string) (columnSet, error) {
	rows, err := c.QueryContext(ctx, "SELECT name FROM pragma_table_info(?, 'main')", table)
	if err != nil {
		return nil, fmt.Errorf("list the columns of %s: %w", table, err)
	}
	defer rows.Close()
	set := columnSet{}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("list the columns of %s: %w", table, err)
		}
		set[name] = true
	}
	return set, rows.Err()
}

// opList names operations as SQL, "(258, 259)", by source * 256 + op.
func opList(want func(event.Info) bool) string {
	var list []string
	for _, o := range event.Ops() {
		if want(o) {
			list = append(list, fmt.Sprint(int(o.ID)))
		}
	}
	return "(" + strings.Join(list, ", ") + ")"
}

// attachRecording makes a view "events" with our columns and meanings: a
// context switch carries the end of its interval in recordings, blocks were
// counted in sectors of 512 bytes.
func attachRecording(ctx context.Context, c *readConn) error {
	has, err := tableColumns(ctx, c, "events")
	if err != nil {
		return err
	}
	names, err := tableColumns(ctx, c, "process_names")
	if err != nil {
		return err
	}
	comm := "''"
	if names["pid"] && names["name"] {
		comm = "coalesce((SELECT name FROM main.process_names p WHERE p.pid = e.pid), '')"
	}
	sized := opList(func(o event.Info) bool { return o.Class.HasBytes() })
	copies := opList(func(o event.Info) bool { return o.Class == event.Copy })
	unit := fmt.Sprintf("CASE source WHEN %d THEN 512 ELSE 1 END", event.IO)
	arg0, arg1 := has.or("arg0", "0"), has.or("arg1", "0")
	return c.createTemp(ctx, fmt.Sprintf(`CREATE TEMP VIEW events AS SELECT
		id, timestamp - CASE WHEN source = %d AND op = 1 THEN duration ELSE 0 END AS timestamp,
		pid, tid, source, op, duration, %s AS gpu_id, %s AS arg0, %s AS arg1, %s AS ret_code, %s AS stack_hash,
		%s AS node, %s AS rank, %s AS local_rank, %s AS world_size, %s AS cgroup_id, %s AS comm,
		CASE WHEN source * 256 + op IN %s THEN %s * %s ELSE 0 END AS bytes,
		CASE WHEN source IN (%d, %d, %d) AND source * 256 + op NOT IN %s THEN %s ELSE 0 END AS handle,
		CASE WHEN source * 256 + op IN %s THEN %s ELSE 0 END AS direction, NULL AS depth,
		NULL AS running_ns, NULL AS runnable_ns, NULL AS blocked_ns
		FROM main.events e`,
		event.Host, has.or("gpu_id", "0"), arg0, arg1, has.or("ret_code", "0"), has.or("stack_hash", "0"),
		has.or("node", "''"), has.or("rank", "NULL"), has.or("local_rank", "NULL"), has.or("world_size", "NULL"),
		has.or("cgroup_id", "0"), comm, sized, arg0, unit,
		event.CUDA, event.Driver, event.Graph, sized, arg0, copies, arg1))
}

// where turns a filter into a condition on the view's columns.
func (f *Filter) where(timestamp string) string {
	to := f.end()
	cond := []string{fmt.Sprintf("%s >= %d AND %s < %d", timestamp, f.From, timestamp, to)}
	if f.PIDs != nil {
		cond = append(cond, "pid IN ("+join(f.PIDs)+")")
	}
	if f.Ops != nil {
		cond = append(cond, "source * 256 + op IN ("+join(f.Ops)+")")
	}
	return strings.Join(cond, " AND ")
}

func join[T ~uint16 | ~uint32](all []T) string {
	texts := make([]string, len(all))
	for i, v := range all {
		texts[i] = fmt.Sprint(uint64(v))
	}
	return strings.Join(texts, ", ")
}

func recordingEvents(ctx context.Context, c *readConn, f Filter, order string, limit int) ([]Stored, error) {
	var all []Stored
	err := scanRecording(ctx, c, f, order, limit, func(e *Stored) error {
		all = append(all, *e)
		return nil
	})
	return all, err
}

// scanRecording calls do for the first events of the window in an order.
func scanRecording(ctx context.Context, c *readConn, f Filter, order string, limit int, do func(*Stored) error) error {
	if err := attachRecording(ctx, c); err != nil {
		return err
	}
	rows, err := c.QueryContext(ctx, `SELECT timestamp, duration, pid, tid, source, op, gpu_id, ret_code, bytes, handle,
		direction, stack_hash, cgroup_id, comm, node, coalesce(rank, -1), coalesce(local_rank, -1), coalesce(world_size, -1),
		rowid_of FROM (SELECT *, CAST(substr(id, instr(id, ':') + 1) AS INTEGER) AS rowid_of FROM events WHERE `+f.where("timestamp")+`)
		ORDER BY `+order+` LIMIT ?`, limit)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var e Stored
		var source, op, dir uint8
		var bytes, handle, stack, cgroup int64
		if err := rows.Scan(&e.Start, &e.Dur, &e.PID, &e.TID, &source, &op, &e.GPU, &e.Ret, &bytes, &handle, &dir, &stack, &cgroup,
			&e.Comm, &e.Node, &e.Rank.Rank, &e.Rank.Local, &e.Rank.World, &e.Seq); err != nil {
			return err
		}
		e.Runnable, e.Blocked = -1, -1
		e.Op, e.Dir = event.MakeOp(event.Source(source), op), event.Direction(dir)
		e.Bytes, e.Handle, e.Stack, e.Cgroup = uint64(bytes), uint64(handle), uint64(stack), uint64(cgroup)
		if err := do(&e); err != nil {
			return err
		}
	}
	return rows.Err()
}

// recordingTotals takes counts and sums from the aggregates where they cover
// an operation and from the stored events otherwise; the distribution is
// that of the stored events.
func recordingTotals(ctx context.Context, c *readConn, f Filter, perProcess bool) (*Totals, error) {
	if err := attachRecording(ctx, c); err != nil {
		return nil, err
	}
	sums := map[recordingKey]*recordingSum{}
	if err := sumEvents(ctx, c, f, perProcess, sums); err != nil {
		return nil, err
	}
	if err := sumAggregates(ctx, c, f, perProcess, sums); err != nil {
		return nil, err
	}
	names, err := recordingNames(ctx, c)
	if err != nil {
		return nil, err
	}
	t := &Totals{Sampled: true}
	covered := coveredOps(sums)
	for k, s := range sums {
		if covered[k.op] && s.count == 0 {
			continue // the aggregates have the last word on who did it
		}
		if covered[k.op] {
			s.settle()
		}
		s.stat.PID = k.pid
		t.Rows = append(t.Rows, Total{s.stat, names[k.pid], k.node})
	}
	return t, nil
}

type recordingKey struct {
	pid  uint32 // 0 when processes are summed up
	node string
	op   event.Op
}

type recordingSum struct {
	stat stats.Calls
	// From the aggregates, if they cover the operation.
	count, sum, max, bytes uint64
}

// coveredOps returns the operations whose aggregates are not short of the
// events that are stored, as they would be if they began later.
func coveredOps(sums map[recordingKey]*recordingSum) map[event.Op]bool {
	type pair struct{ count, recorded uint64 }
	byOp := map[event.Op]pair{}
	for k, s := range sums {
		p := byOp[k.op]
		byOp[k.op] = pair{p.count + s.count, p.recorded + s.stat.Recorded}
	}
	covered := map[event.Op]bool{}
	for op, p := range byOp {
		covered[op] = p.count > 0 && p.count >= p.recorded
	}
	return covered
}

// settle makes the histogram's count the exact one by scaling the stored
// distribution, without inventing values that were never seen.
func (s *recordingSum) settle() {
	exact := newStat(s.stat.Op)
	stored := s.stat.Hist.Count()
	if stored == 0 {
		// Nothing is known of the distribution but its mean.
		exact.Hist.AddBucket(stats.Bucket(s.sum/s.count), s.count)
	} else {
		var seen, given uint64
		s.stat.Hist.Each(func(bucket int, n uint64) {
			seen += n
			upTo := uint64(math.Round(float64(s.count) * float64(seen) / float64(stored)))
			exact.Hist.AddBucket(bucket, upTo-given)
			given = upTo
		})
	}
	exact.Hist.AddSum(s.sum, max(s.max, s.stat.Hist.Max()))
	s.stat.Hist, s.stat.Bytes = exact.Hist, s.bytes
}

func get(sums map[recordingKey]*recordingSum, k recordingKey) *recordingSum {
	s := sums[k]
	if s == nil {
		s = &recordingSum{stat: *newStat(k.op)}
		sums[k] = s
	}
	return s
}

func sumEvents(ctx context.Context, c *readConn, f Filter, perProcess bool, sums map[recordingKey]*recordingSum) error {
	rows, err := c.QueryContext(ctx, "SELECT pid, node, source, op, duration, bytes, ret_code FROM events WHERE "+f.where("timestamp"))
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var k recordingKey
		var source, op uint8
		var dur, bytes, ret int64
		if err := rows.Scan(&k.pid, &k.node, &source, &op, &dur, &bytes, &ret); err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		k.op = event.MakeOp(event.Source(source), op)
		if !perProcess {
			k.pid, k.node = 0, ""
		}
		s := get(sums, k)
		s.stat.Hist.Add(uint64(max(dur, 0)))
		s.stat.Bytes += uint64(bytes)
		s.stat.Recorded++
		switch k.op.Source() {
		case event.CUDA, event.Driver, event.Graph: // others have no return code of a library
			if ret != 0 {
				s.stat.Errors++
			}
		}
	}
	return rows.Err()
}

func sumAggregates(ctx context.Context, c *readConn, f Filter, perProcess bool, sums map[recordingKey]*recordingSum) error {
	if has, err := tableColumns(ctx, c, "event_aggregates"); err != nil || !has["count"] {
		return err
	}
	const minute = 60e9
	nodes := map[uint32]string{} // the aggregates lack the node
	for k := range sums {
		nodes[k.pid] = k.node
	}
	whole := f
	whole.From = floorDiv(f.From, minute) * minute // a minute counts if the window touches it
	rows, err := c.QueryContext(ctx, "SELECT pid, source, op, sum(count), sum(sum_dur), max(max_dur), sum(sum_arg0) FROM event_aggregates WHERE "+
		whole.where("bucket")+" GROUP BY pid, source, op")
	if err != nil {
		return fmt.Errorf("read aggregates: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var k recordingKey
		var source, op uint8
		var count, sum, most, bytes uint64
		if err := rows.Scan(&k.pid, &source, &op, &count, &sum, &most, &bytes); err != nil {
			return fmt.Errorf("read aggregates: %w", err)
		}
		k.op = event.MakeOp(event.Source(source), op)
		if !perProcess {
			k.pid = 0
		}
		k.node = nodes[k.pid]
		s := get(sums, k)
		s.count, s.sum, s.max = s.count+count, s.sum+sum, max(s.max, most)
		if k.op.Class().HasBytes() {
			if k.op.Source() == event.IO {
				bytes *= 512
			}
			s.bytes += bytes
		}
	}
	return rows.Err()
}

func recordingNames(ctx context.Context, c *readConn) (map[uint32]string, error) {
	names := map[uint32]string{}
	if has, err := tableColumns(ctx, c, "process_names"); err != nil || !has["name"] {
		return names, err
	}
	rows, err := c.QueryContext(ctx, "SELECT pid, name FROM main.process_names")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var pid uint32
		var name string
		if err := rows.Scan(&pid, &name); err != nil {
			return nil, fmt.Errorf("list processes: %w", err)
		}
		names[pid] = name
	}
	return names, rows.Err()
}

// recordingProcesses finds the processes in the events: only these say where
// a process was.
func recordingProcesses(ctx context.Context, c *readConn) (all []stats.Process, err error) {
	if err := attachRecording(ctx, c); err != nil {
		return nil, err
	}
	rows, err := c.QueryContext(ctx, `SELECT node, pid, max(comm), max(coalesce(rank, -1)), max(coalesce(local_rank, -1)), max(coalesce(world_size, -1))
		FROM events GROUP BY node, pid ORDER BY node, pid`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var p stats.Process
		if err := rows.Scan(&p.Node, &p.PID, &p.Comm, &p.Rank.Rank, &p.Rank.Local, &p.Rank.World); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, rows.Err()
}
