package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"

	"modernc.org/sqlite"
	"modernc.org/sqlite/vtab"

	"ingero/internal/event"
)

// The module behind the virtual table "events". It lives on a driver of its
// own, which is what all reading goes through.
const moduleName = "ingero_chunks"

var readDriver = sync.OnceValues(func() (*sqlite.Driver, error) {
	d := new(sqlite.Driver)
	return d, d.RegisterModule(moduleName, module{})
})

// connector opens connections for reading.
type connector struct{ uri string }

// Connect opens one connection.
func (c connector) Connect(context.Context) (driver.Conn, error) {
	d, err := readDriver()
	if err != nil {
		return nil, err
	}
	return d.Open(c.uri)
}

// Driver returns the driver that Connect uses.
func (c connector) Driver() driver.Driver {
	d, err := readDriver()
	if err != nil {
		panic(err) // only if the module were registered twice
	}
	return d
}

// source is where the cursors of one question read chunks from: not the
// connection that runs the question, since that one is busy calling us.
type source struct {
	ctx context.Context
	db  *sql.DB
	err error // the last failure; SQLite reports only that there was one
}

// sources maps the argument of CREATE VIRTUAL TABLE to its source.
var sources = struct {
	sync.Mutex
	m    map[int64]*source
	last int64
}{m: map[int64]*source{}}

// attachEvents makes the virtual table "events" on c, for as long as c
// lives; call done when the question is answered.
func attachEvents(ctx context.Context, c *readConn) (src *source, done func(), err error) {
	src = &source{ctx: ctx, db: sql.OpenDB(connector{c.uri})}
	sources.Lock()
	sources.last++
	key := sources.last
	sources.m[key] = src
	sources.Unlock()
	done = func() {
		sources.Lock()
		delete(sources.m, key)
		sources.Unlock()
		src.db.Close()
	}
	if err := c.createTemp(ctx, fmt.Sprintf("CREATE VIRTUAL TABLE temp.events USING %s(%d)", moduleName, key)); err != nil {
		done()
		return nil, nil, err
	}
	return src, done, nil
}

// createTemp runs a statement that changes only the temporary schema, which
// lives in memory.
func (c *readConn) createTemp(ctx context.Context, text string) error {
	for _, s := range []string{"PRAGMA query_only = 0", text, "PRAGMA query_only = 1"} {
		if _, err := c.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("prepare events: %w", err)
		}
	}
	return nil
}

type module struct{}

// Create makes the table for the source named by its argument.
func (module) Create(ctx vtab.Context, args []string) (vtab.Table, error) {
	if len(args) != 4 {
		return nil, fmt.Errorf("events: want one argument, have %d", len(args)-3)
	}
	key, err := strconv.ParseInt(args[3], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	sources.Lock()
	src := sources.m[key]
	sources.Unlock()
	if src == nil {
		return nil, fmt.Errorf("events: no source %d", key)
	}
	var b strings.Builder
	for i, c := range eventColumns {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(c.name + " " + c.kind)
	}
	return &table{src}, ctx.Declare("CREATE TABLE events(" + b.String() + ")")
}

// Connect is Create: nothing is stored.
func (m module) Connect(ctx vtab.Context, args []string) (vtab.Table, error) {
	return m.Create(ctx, args)
}

// eventColumns are the columns of "events" as queries see them. Value
// returns the column of the cursor's current event; ints names the stored
// column it is a part of, so that comparisons can be made before SQLite asks.
var eventColumns = []struct {
	name, kind string
	from       column // 0: not comparable
	value      func(c *cursor) (vtab.Value, error)
}{
	{"id", "TEXT", 0, func(c *cursor) (vtab.Value, error) {
		return c.node + ":" + strconv.FormatInt(c.seq+int64(c.i), 10), nil
	}},
	{"timestamp", "INTEGER", colStart, intValue(colStart)},
	{"pid", "INTEGER", colPID, intValue(colPID)},
	{"tid", "INTEGER", colTID, intValue(colTID)},
	{"source", "INTEGER", 0, func(c *cursor) (vtab.Value, error) {
		v, ok, err := c.at(colOp)
		return orNull(v>>8, ok), err
	}},
	{"op", "INTEGER", 0, func(c *cursor) (vtab.Value, error) {
		v, ok, err := c.at(colOp)
		return orNull(v&0xff, ok), err
	}},
	{"duration", "INTEGER", colDur, intValue(colDur)},
	{"gpu_id", "INTEGER", colGPU, intValue(colGPU)},
	{"arg0", "INTEGER", 0, argValue((*event.Event).Arg0)},
	{"arg1", "INTEGER", 0, argValue((*event.Event).Arg1)},
	{"ret_code", "INTEGER", colRet, intValue(colRet)},
	{"stack_hash", "INTEGER", colStack, intValue(colStack)},
	{"node", "TEXT", 0, func(c *cursor) (vtab.Value, error) { return c.node, nil }},
	{"rank", "INTEGER", 0, rankValue(colRank)},
	{"local_rank", "INTEGER", 0, rankValue(colLocal)},
	{"world_size", "INTEGER", 0, rankValue(colWorld)},
	{"cgroup_id", "INTEGER", colCgroup, intValue(colCgroup)},
	{"comm", "TEXT", 0, func(c *cursor) (vtab.Value, error) {
		v, ok, err := c.at(colComm)
		if err != nil || !ok {
			return nil, err
		}
		return c.texts[v], nil
	}},
	{"bytes", "INTEGER", colBytes, intValue(colBytes)},
	{"handle", "INTEGER", colHandle, intValue(colHandle)},
	{"direction", "INTEGER", colDir, intValue(colDir)},
	{"depth", "INTEGER", colDepth, intValue(colDepth)},
	{"running_ns", "INTEGER", 0, runningValue},
	{"runnable_ns", "INTEGER", 0, rankValue(colRunnable)},
	{"blocked_ns", "INTEGER", 0, rankValue(colBlocked)},
}

func orNull(v int64, ok bool) vtab.Value {
	if !ok {
		return nil
	}
	return v
}

func intValue(col column) func(*cursor) (vtab.Value, error) {
	return func(c *cursor) (vtab.Value, error) {
		v, ok, err := c.at(col)
		return orNull(v, ok), err
	}
}

// runningValue is what is left of the duration after all waiting.
func runningValue(c *cursor) (vtab.Value, error) {
	var v [3]int64
	for i, col := range [...]column{colDur, colRunnable, colBlocked} {
		x, ok, err := c.at(col)
		if err != nil || !ok || x < 0 {
			return nil, err
		}
		v[i] = x
	}
	return max(v[0]-v[1]-v[2], 0), nil
}

// rankValue is a column in which -1 means that it is not known.
func rankValue(col column) func(*cursor) (vtab.Value, error) {
	return func(c *cursor) (vtab.Value, error) {
		v, ok, err := c.at(col)
		return orNull(v, ok && v >= 0), err
	}
}

func argValue(arg func(*event.Event) uint64) func(*cursor) (vtab.Value, error) {
	return func(c *cursor) (vtab.Value, error) {
		var v [4]int64
		for i, col := range [...]column{colOp, colBytes, colHandle, colDir} {
			var err error
			if v[i], _, err = c.at(col); err != nil {
				return nil, err
			}
		}
		e := event.Event{Op: event.Op(v[0]), Bytes: uint64(v[1]), Handle: uint64(v[2]), Dir: event.Direction(v[3])}
		return int64(arg(&e)), nil
	}
}

type table struct{ src *source }

// Plans other than visiting chunks in the order they were stored.
const (
	newestFirst = 1 // from the last to the first
	byGroup     = 2 // group by group; the plan ends with the columns
)

// Where a plan's arguments go: the column's name is an index into
// eventColumns, the operator one of these letters.
var planOps = map[vtab.ConstraintOp]byte{vtab.OpEQ: '=', vtab.OpGT: '>', vtab.OpGE: '>', vtab.OpLT: '<', vtab.OpLE: '<'}

// BestIndex takes every comparison of a column that the cursor can compare.
// SQLite checks them again, so the cursor may keep too much, never too little.
func (t *table) BestIndex(in *vtab.IndexInfo) error {
	in.EstimatedCost, in.EstimatedRows = 1e8, 1e7
	var plan []byte
	for i := range in.Constraints {
		c := &in.Constraints[i]
		op := planOps[c.Op]
		if !c.Usable || op == 0 || c.Column < 0 || c.Column >= len(eventColumns) {
			continue
		}
		name := eventColumns[c.Column].name
		if eventColumns[c.Column].from == 0 && name != "source" && name != "op" {
			continue
		}
		c.ArgIndex = len(plan) / 2
		plan = append(plan, byte('A'+c.Column), op)
		if name == "timestamp" {
			in.EstimatedCost /= 50
			in.EstimatedRows /= 50
		} else {
			in.EstimatedCost /= 2 // the columns are still unpacked
			in.EstimatedRows /= 10
		}
	}
	if len(in.OrderBy) > 0 && in.OrderBy[0].Desc && eventColumns[max(in.OrderBy[0].Column, 0)].name == "timestamp" {
		// SQLite still sorts, but with LIMIT it drops older events at a glance.
		in.IdxNum = newestFirst
	}
	in.EstimatedRows = max(in.EstimatedRows, 1)
	in.IdxStr = string(plan)
	if columns, ok := groupPlan(in.OrderBy); ok {
		few, err := newGrouping(columns).few(t.src)
		if err != nil {
			t.src.err = err
			return err
		}
		if few {
			in.IdxNum, in.IdxStr, in.OrderByConsumed = byGroup, in.IdxStr+"|"+columns, true
		}
	}
	return nil
}

// Open makes a cursor.
func (t *table) Open() (vtab.Cursor, error) { return &cursor{src: t.src}, nil }

// Disconnect does nothing; attachEvents ends the source.
func (t *table) Disconnect() error { return nil }

// Destroy does nothing, as Disconnect.
func (t *table) Destroy() error { return nil }

// bounds turns a comparison into the range of integers that may satisfy it.
// Values of other types are left to SQLite, whose rules they follow.
func bounds(op byte, v vtab.Value) (lo, hi int64, ok bool) {
	lo, hi = math.MinInt64, math.MaxInt64
	var low, high int64
	switch x := v.(type) {
	case int64:
		low, high = x, x
	case float64:
		if math.IsNaN(x) || math.Abs(x) >= 1<<62 {
			return 0, 0, false
		}
		low, high = int64(math.Floor(x)), int64(math.Ceil(x))
	default:
		return 0, 0, false
	}
	if op != '<' {
		lo = low
	}
	if op != '>' {
		hi = high
	}
	return lo, hi, true
}
