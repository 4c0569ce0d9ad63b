package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// What older recordings know of every second: the stored events. Where the
// aggregates say that a minute had more calls than that, the events of the
// minute are scaled to them; where there are none, the minute's calls stand
// at its beginning.

const minuteNS = 60e9

type oldProcess struct {
	pid  uint32
	node string
}

// oldCell is one operation of a process in one minute.
type oldCell struct {
	minute int64 // unix s
	oldProcess
	op event.Op
}

type oldMinute struct {
	seconds map[int64]*stats.Calls // from stored events
	// From the aggregates.
	count, sum, max, bytes uint64
}

type oldBooks struct {
	f         Filter
	processes map[oldProcess]*stats.Process
	cells     map[oldCell]*oldMinute
}

func recordingBooks(ctx context.Context, c *readConn, f Filter) ([]stats.Process, error) {
	if err := attachRecording(ctx, c); err != nil {
		return nil, err
	}
	names, err := recordingNames(ctx, c)
	if err != nil {
		return nil, err
	}
	b := &oldBooks{f, map[oldProcess]*stats.Process{}, map[oldCell]*oldMinute{}}
	if err := b.readEvents(ctx, c); err != nil {
		return nil, err
	}
	if err := b.readAggregates(ctx, c); err != nil {
		return nil, err
	}
	b.settle()
	var all []stats.Process
	for k, p := range b.processes {
		if len(p.Seconds) > 0 {
			p.Comm = names[k.pid]
			all = append(all, *p)
		}
	}
	return all, nil
}

// wide is the window widened to whole minutes, which are what aggregates
// count.
func (b *oldBooks) wide() Filter {
	w := b.f
	w.From = floorDiv(w.From, minuteNS) * minuteNS
	if w.To != 0 && w.To < math.MaxInt64-minuteNS {
		w.To = (floorDiv(w.To-1, minuteNS) + 1) * minuteNS
	}
	return w
}

func (b *oldBooks) process(k oldProcess) *stats.Process {
	p := b.processes[k]
	if p == nil {
		p = &stats.Process{Node: k.node}
		p.PID, p.Rank = k.pid, event.NoRank
		b.processes[k] = p
	}
	return p
}

func (b *oldBooks) cell(k oldCell) *oldMinute {
	m := b.cells[k]
	if m == nil {
		m = &oldMinute{seconds: map[int64]*stats.Calls{}}
		b.cells[k] = m
	}
	return m
}

func (b *oldBooks) readEvents(ctx context.Context, c *readConn) error {
	w := b.wide()
	rows, err := c.QueryContext(ctx, `SELECT timestamp, duration, pid, node, source, op, bytes, ret_code, cgroup_id,
		coalesce(rank, -1), coalesce(local_rank, -1), coalesce(world_size, -1) FROM events WHERE `+w.where("timestamp"))
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var at, dur, bytes, cgroup int64
		var ret int32
		var k oldProcess
		var source, op uint8
		var rank event.Rank
		if err := rows.Scan(&at, &dur, &k.pid, &k.node, &source, &op, &bytes, &ret, &cgroup, &rank.Rank, &rank.Local, &rank.World); err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		what := event.MakeOp(event.Source(source), op)
		p := b.process(k)
		if what.IsCall() {
			p.Rank, p.Cgroup = rank, uint64(cgroup)
		}
		if what == event.MakeOp(event.Host, 6) {
			p.Ended, p.Status = at, ret
		}
		m := b.cell(oldCell{floorDiv(at, minuteNS) * 60, k, what})
		s := m.seconds[floorDiv(at, 1e9)]
		if s == nil {
			s = newStat(what)
			s.PID = k.pid
			m.seconds[floorDiv(at, 1e9)] = s
		}
		s.Hist.Add(uint64(max(dur, 0)))
		s.Bytes += notNegative(bytes)
		s.Recorded++
		if ret != 0 && what.IsCall() {
			s.Errors++
		}
	}
	return rows.Err()
}

func (b *oldBooks) readAggregates(ctx context.Context, c *readConn) error {
	if has, err := tableColumns(ctx, c, "event_aggregates"); err != nil || !has["count"] {
		return err
	}
	nodes := map[uint32]string{} // the aggregates lack the node
	for k := range b.processes {
		nodes[k.pid] = k.node
	}
	w := b.wide()
	rows, err := c.QueryContext(ctx, "SELECT bucket, pid, source, op, count, sum_dur, max_dur, sum_arg0 FROM event_aggregates WHERE "+w.where("bucket"))
	if err != nil {
		return fmt.Errorf("read aggregates: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var bucket, count, sum, most, bytes int64
		var pid uint32
		var source, op uint8
		if err := rows.Scan(&bucket, &pid, &source, &op, &count, &sum, &most, &bytes); err != nil {
			return fmt.Errorf("read aggregates: %w", err)
		}
		k := oldCell{floorDiv(bucket, minuteNS) * 60, oldProcess{pid, nodes[pid]}, event.MakeOp(event.Source(source), op)}
		b.process(k.oldProcess)
		m := b.cell(k)
		m.count, m.sum, m.max = m.count+notNegative(count), m.sum+notNegative(sum), max(m.max, notNegative(most))
		if k.op.Class().HasBytes() {
			if k.op.Source() == event.IO {
				bytes *= 512
			}
			m.bytes += notNegative(bytes)
		}
	}
	return rows.Err()
}

// covered returns the operations whose aggregates are not short of the
// stored events; see coveredOps.
func (b *oldBooks) covered() map[event.Op]bool {
	count, recorded := map[event.Op]uint64{}, map[event.Op]uint64{}
	for k, m := range b.cells {
		count[k.op] += m.count
		for _, s := range m.seconds {
			recorded[k.op] += s.Recorded
		}
	}
	covered := map[event.Op]bool{}
	for op, n := range count {
		covered[op] = n > 0 && n >= recorded[op]
	}
	return covered
}

// settle turns the cells into the seconds of each process.
func (b *oldBooks) settle() {
	covered := b.covered()
	seconds := map[oldProcess]map[int64]*stats.Second{}
	add := func(p oldProcess, at int64, c *stats.Calls) {
		if seconds[p] == nil {
			seconds[p] = map[int64]*stats.Second{}
		}
		s := seconds[p][at]
		if s == nil {
			s = &stats.Second{At: at}
			seconds[p][at] = s
		}
		s.Calls = append(s.Calls, *c)
	}
	for k, m := range b.cells {
		switch {
		case !covered[k.op]:
		case m.count == 0:
			continue // the aggregates have the last word on who did it
		case len(m.seconds) == 0:
			c := &stats.Calls{PID: k.pid, Op: k.op, Hist: new(stats.Slab).Sum(m.count, m.sum, m.max), Bytes: m.bytes}
			if b.f.From < (k.minute+60)*1e9 && k.minute*1e9 < b.f.end() {
				add(k.oldProcess, k.minute, c)
			}
		default:
			m.scale()
		}
		for at, c := range m.seconds {
			if at >= floorDiv(b.f.From, 1e9) && at*1e9 < b.f.end() {
				add(k.oldProcess, at, c)
			}
		}
	}
	for k, list := range seconds {
		p := b.processes[k]
		for _, at := range slices.Sorted(maps.Keys(list)) {
			s := list[at]
			slices.SortFunc(s.Calls, func(a, b stats.Calls) int { return cmp.Compare(a.Op, b.Op) })
			p.Seconds = append(p.Seconds, *s)
		}
	}
}

// scale makes the seconds add up to the minute's count, sum and bytes.
func (m *oldMinute) scale() {
	order := slices.Sorted(maps.Keys(m.seconds))
	var stored, storedSum, storedBytes uint64
	for _, s := range m.seconds {
		stored += s.Hist.Count()
		storedSum += s.Hist.Sum()
		storedBytes += s.Bytes
	}
	if stored == m.count {
		return // all of them were stored
	}
	count, sum, bytes := share{of: stored, total: m.count}, share{of: storedSum, total: m.sum}, share{of: storedBytes, total: m.bytes}
	for _, at := range order {
		s := m.seconds[at]
		exact := new(stats.Histogram)
		s.Hist.Each(func(bucket int, n uint64) { exact.AddBucket(bucket, count.next(n)) })
		exact.AddSum(sum.next(s.Hist.Sum()), s.Hist.Max())
		s.Hist, s.Bytes = exact, bytes.next(s.Bytes)
	}
}

// share hands out a total in proportion to parts of another one, so that the
// pieces add up to it.
type share struct{ of, total, seen, given uint64 }

func (s *share) next(part uint64) uint64 {
	if s.of == 0 {
		return 0
	}
	s.seen += part
	upTo := uint64(math.Round(float64(s.total) * float64(s.seen) / float64(s.of)))
	if s.seen == s.of {
		upTo = s.total
	}
	upTo = max(upTo, s.given)
	n := upTo - s.given
	s.given = upTo
	return n
}
