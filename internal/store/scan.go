package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// each calls f for every row. It asks the driver itself: for hundreds of
// thousands of rows database/sql takes longer than SQLite. The values are
// those of the driver and valid until f returns.
func (c *readConn) each(ctx context.Context, text string, f func([]driver.Value) error) error {
	return c.Raw(func(conn any) error {
		q, ok := conn.(driver.QueryerContext)
		if !ok {
			return errors.New("the SQLite driver does not answer directly")
		}
		rows, err := q.QueryContext(ctx, text, nil)
		if err != nil {
			return err
		}
		defer rows.Close()
		values := make([]driver.Value, len(rows.Columns()))
		for n := 0; ; n++ {
			if n%1024 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			if err := rows.Next(values); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if err := f(values); err != nil {
				return err
			}
		}
	})
}

// num reads a column of integers; NULL and anything else is 0.
func num(v driver.Value) int64 {
	n, _ := v.(int64)
	return n
}

// small reads a number that must fit 32 bits; others are from a damaged or
// hostile file.
func small(v driver.Value) uint32 {
	if n := num(v); n >= 0 && n <= math.MaxUint32 {
		return uint32(n)
	}
	return math.MaxUint32
}

func stateOf(v driver.Value) event.State {
	if n := num(v); n >= 0 && n < int64(event.States) {
		return event.State(n)
	}
	return event.Other // of a newer version
}

func opOf(source, op driver.Value) event.Op {
	return event.MakeOp(event.Source(num(source)), uint8(num(op)))
}

// pieces hands out values in order and cuts them into slices, out of few pieces
// of memory.
type pieces[T any] struct {
	slab []T
	from int
}

const slabRun = 512

func (r *pieces[T]) add() *T {
	if len(r.slab) == cap(r.slab) {
		open := r.slab[r.from:]
		r.slab = append(make([]T, 0, max(slabRun, 2*len(open))), open...)
		r.from = 0
	}
	var zero T
	r.slab = append(r.slab, zero)
	return &r.slab[len(r.slab)-1]
}

// cut returns what was added since the last cut.
func (r *pieces[T]) cut() []T {
	s := r.slab[r.from:len(r.slab):len(r.slab)]
	r.from = len(r.slab)
	return s
}

// turn prepares for a row of a process and second; false if the process is
// not wanted. When one of them changes, done takes over what was added.
func (h *history) turn(process, at int64, done func(*stats.Second)) bool {
	if process == h.id && at == h.at {
		return h.ok
	}
	h.close(done)
	h.id, h.at = process, at
	_, h.ok = h.processes[process]
	return h.ok
}

// close ends the current second.
func (h *history) close(done func(*stats.Second)) {
	if !h.ok {
		return
	}
	h.ok = false
	s := stats.Second{At: h.at}
	done(&s)
	if len(s.Calls)+len(s.Ledger)+len(s.Pairs) > 0 {
		h.seconds[h.id] = append(h.seconds[h.id], s)
	}
}

// scan reads the rows of one part of a table, in the order of the key.
func (h *history) scan(ctx context.Context, c *readConn, p part, table, columns string, done func(*stats.Second), f func([]driver.Value) error) error {
	if p.from >= p.to {
		return nil
	}
	span := int64(0)
	if p.period == "minute" {
		span = 60
	}
	end := func(s *stats.Second) {
		done(s)
		s.Span = span
	}
	h.id, h.at, h.ok = 0, math.MinInt64, false
	text := fmt.Sprintf("SELECT %[1]s, process, %[2]s FROM %[3]s WHERE %[1]s >= %[4]d AND %[1]s < %[5]d%[6]s",
		p.period, columns, table+p.table, p.from, p.to, h.only)
	err := c.each(ctx, text, func(v []driver.Value) error {
		if !h.turn(num(v[1]), num(v[0]), end) {
			return nil
		}
		return f(v[2:])
	})
	h.close(end)
	return err
}

func (h *history) readCalls(ctx context.Context, c *readConn, p part) error {
	columns := "source, op, nested, errors, bytes, recorded, lost, histogram"
	if h.o.Sums {
		columns = "source, op, nested, errors, bytes, recorded, lost, count, sum_ns, max_ns"
	}
	done := func(s *stats.Second) { s.Calls = h.calls.cut() }
	return h.scan(ctx, c, p, "call_stats", columns, done, func(v []driver.Value) (err error) {
		op := opOf(v[0], v[1])
		if !h.ops(op) {
			return nil
		}
		owner := h.processes[h.id]
		x := h.calls.add()
		x.PID, x.Start, x.Op = owner.PID, owner.Start, op
		x.Nested, x.Errors, x.Bytes = uint64(num(v[2])), uint64(num(v[3])), uint64(num(v[4]))
		x.Recorded, x.Lost = uint64(num(v[5])), uint64(num(v[6]))
		if h.o.Sums {
			x.Hist = h.hists.Sum(notNegative(num(v[7])), notNegative(num(v[8])), notNegative(num(v[9])))
			return nil
		}
		blob, _ := v[7].([]byte)
		if x.Hist, err = h.hists.Decode(blob); err != nil {
			return fmt.Errorf("%w: statistics of %s: %w", ErrDamaged, op, err)
		}
		return nil
	})
}

func (h *history) readLedger(ctx context.Context, c *readConn, p part) error {
	var x *stats.Ledger
	done := func(s *stats.Second) { s.Ledger, x = h.ledger.cut(), nil }
	return h.scan(ctx, c, p, "ledger", "tid, source, op, state, ns, count, max_ns", done, func(v []driver.Value) error {
		tid, place := small(v[0]), opOf(v[1], v[2])
		if x == nil || x.TID != tid || x.Place != place {
			x = h.ledger.add()
			owner := h.processes[h.id]
			x.PID, x.TID, x.Place, x.Start = owner.PID, tid, place, owner.Start
			if t, ok := h.threads[[2]int64{h.id, int64(tid)}]; ok {
				x.Comm, x.Start = t.comm, t.start
			}
		}
		s := stateOf(v[3])
		x.NS[s] += notNegative(num(v[4]))
		x.Count[s] += notNegative(num(v[5]))
		x.Max[s] = max(x.Max[s], notNegative(num(v[6])))
		return nil
	})
}

func (h *history) readPairs(ctx context.Context, c *readConn, p part) error {
	done := func(s *stats.Second) { s.Pairs = h.pairs.cut() }
	return h.scan(ctx, c, p, "waits", "tid, state, other_pid, other_tid, other_comm, ns, count", done, func(v []driver.Value) error {
		x := h.pairs.add()
		*x = stats.Pair{
			PID: h.processes[h.id].PID, TID: small(v[0]), State: stateOf(v[1]), OtherPID: small(v[2]), OtherTID: small(v[3]),
			NS: notNegative(num(v[5])), Count: notNegative(num(v[6])),
		}
		x.OtherComm, _ = v[4].(string)
		return nil
	})
}
