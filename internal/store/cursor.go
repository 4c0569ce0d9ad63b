package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"modernc.org/sqlite/vtab"
)

// cursor walks over the events of all chunks in the order they were stored.
// A chunk is read when a column of it is first asked for, and only the
// columns asked for are unpacked.
type cursor struct {
	src    *source
	ranges []colRange
	ids    []int64 // chunks still to visit

	id     int64 // the current chunk
	node   string
	seq    int64
	n      int
	i      int // the current event
	eof    bool
	loaded bool // chunk holds the current chunk's data
	chunk  chunk
	dec    decoder
	cols   [numColumns]unpacked
	texts  []string
	meta   *sql.Stmt
	data   *sql.Stmt
	blob   []byte

	groups     *grouping // nil: in the order of the chunks
	nodeNumber int64     // of node, in groups
}

type unpacked struct {
	done, ok bool
	values   []int64
}

// colRange is a condition on a stored column: lo <= value>>shift&mask <= hi.
type colRange struct {
	col    column
	shift  uint8
	mask   int64
	lo, hi int64
}

func (r *colRange) holds(v int64) bool {
	v = v >> r.shift & r.mask
	return v >= r.lo && v <= r.hi
}

// Filter starts a scan: plan and vals are what BestIndex chose.
func (c *cursor) Filter(order int, plan string, vals []vtab.Value) error {
	c.ranges, c.eof, c.groups = c.ranges[:0], false, nil
	plan, columns, _ := strings.Cut(plan, "|")
	from, to := int64(math.MinInt64), int64(math.MaxInt64)
	for k, v := range vals {
		if 2*k+1 >= len(plan) {
			break
		}
		lo, hi, ok := bounds(plan[2*k+1], v)
		if !ok {
			continue
		}
		col := eventColumns[plan[2*k]-'A']
		r := colRange{col: col.from, mask: -1, lo: lo, hi: hi}
		switch col.name {
		case "timestamp":
			from, to = max(from, lo), min(to, hi)
		case "source":
			r.col, r.shift, r.mask = colOp, 8, 0xff
		case "op":
			r.col, r.mask = colOp, 0xff
		}
		c.ranges = append(c.ranges, r)
	}
	var err error
	if c.ids, err = chunkIDs(c.src.ctx, c.src.db, from, to); err != nil {
		return c.fail(err)
	}
	switch order {
	case newestFirst:
		slices.Reverse(c.ids)
	case byGroup:
		groups := newGrouping(columns)
		if err := groups.collect(c); err != nil {
			return c.fail(err)
		}
		c.groups, c.eof = groups, len(groups.groups) == 0
		if c.eof {
			return nil
		}
		c.ids = groups.groups[0].ids
	}
	c.n, c.i = 0, -1
	return c.Next()
}

// chunkIDs lists the chunks that hold events starting in [from, to], in the
// order they were stored. It reads the index alone, not the chunks.
func chunkIDs(ctx context.Context, db interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}, from, to int64) ([]int64, error) {
	rows, err := db.QueryContext(ctx,
		"SELECT id FROM event_chunks INDEXED BY event_chunks_time WHERE last_ns >= ? AND first_ns <= ? ORDER BY id", from, to)
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("list events: %w", err)
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// Next goes to the next event that satisfies the conditions.
func (c *cursor) Next() error {
	for {
		c.i++
		for c.i >= c.n {
			if err := c.nextChunk(); err != nil || c.eof {
				return c.fail(err)
			}
		}
		ok, err := c.matches()
		if err != nil {
			return c.fail(err)
		}
		if ok {
			return nil
		}
	}
}

func (c *cursor) matches() (bool, error) {
	for k := range c.ranges {
		r := &c.ranges[k]
		v, ok, err := c.at(r.col)
		if err != nil || !ok || !r.holds(v) {
			return false, err
		}
	}
	if c.groups == nil {
		return true, nil
	}
	key, err := c.groups.key(c)
	return err == nil && key == c.groups.groups[0].key, err
}

func (c *cursor) nextChunk() (err error) {
	if err := c.src.ctx.Err(); err != nil {
		return err
	}
	if c.meta == nil {
		if c.meta, err = c.src.db.Prepare("SELECT node, seq, n FROM event_chunks WHERE id = ?"); err != nil {
			return err
		}
	}
	for {
		if g := c.groups; len(c.ids) == 0 && g != nil && len(g.groups) > 1 {
			g.groups = g.groups[1:]
			c.ids = g.groups[0].ids
		}
		if len(c.ids) == 0 {
			c.eof = true
			return nil
		}
		c.id, c.ids = c.ids[0], c.ids[1:]
		err := c.meta.QueryRow(c.id).Scan(&c.node, &c.seq, &c.n)
		if errors.Is(err, sql.ErrNoRows) {
			continue // pruned meanwhile
		}
		if err != nil {
			return err
		}
		if c.n < 0 || c.n > maxEvents {
			return fmt.Errorf("%w: %d events", errChunk, c.n)
		}
		if c.groups != nil {
			c.nodeNumber = c.groups.node(c.node)
		}
		c.i, c.loaded = 0, false
		for k := range c.cols {
			c.cols[k].done = false
		}
		return nil
	}
}

// load reads the current chunk's data.
func (c *cursor) load() (err error) {
	if c.data == nil {
		if c.data, err = c.src.db.Prepare("SELECT data FROM event_chunks WHERE id = ?"); err != nil {
			return err
		}
	}
	err = c.data.QueryRow(c.id).Scan(&c.blob)
	if errors.Is(err, sql.ErrNoRows) {
		return errors.New("the oldest events were dropped while they were read (the database is at its size limit); ask again")
	}
	if err != nil {
		return err
	}
	if c.chunk, err = parseChunk(c.blob); err != nil {
		return err
	}
	if c.chunk.n < c.n {
		return fmt.Errorf("%w: %d events, not %d", errChunk, c.chunk.n, c.n)
	}
	c.loaded = true
	return nil
}

// at returns a stored column of the current event; false if it has none.
func (c *cursor) at(col column) (int64, bool, error) {
	u := &c.cols[col]
	if !u.done {
		if !c.loaded {
			if err := c.load(); err != nil {
				return 0, false, err
			}
		}
		var err error
		if col == colComm {
			c.texts, u.values, u.ok, err = c.dec.strings(&c.chunk, col, u.values)
		} else {
			u.values, u.ok, err = c.dec.ints(&c.chunk, col, u.values)
		}
		if err != nil {
			return 0, false, err
		}
		u.done = true
	}
	if !u.ok {
		return 0, false, nil
	}
	return u.values[c.i], true, nil
}

// fail keeps err for the question's answer; SQLite drops the text.
func (c *cursor) fail(err error) error {
	if err != nil {
		c.src.err = err
	}
	return err
}

// Eof reports whether the scan is over.
func (c *cursor) Eof() bool { return c.eof }

// Column returns a column of the current event.
func (c *cursor) Column(i int) (vtab.Value, error) {
	if i < 0 || i >= len(eventColumns) {
		return nil, nil
	}
	v, err := eventColumns[i].value(c)
	return v, c.fail(err)
}

// Rowid numbers events within the database.
func (c *cursor) Rowid() (int64, error) { return c.id<<16 | int64(c.i), nil }

// Close ends the scan.
func (c *cursor) Close() error {
	var errs []error
	for _, s := range []*sql.Stmt{c.meta, c.data} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}
