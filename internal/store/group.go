package store

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"modernc.org/sqlite/vtab"
)

// For GROUP BY, SQLite sorts all rows, which takes most of the time of such
// a query. Where the columns have few distinct values, the cursor visits the
// events group by group instead: it finds the groups and their chunks first
// and then reads each chunk once for every group in it.

// maxGroups is how many groups a chunk may hold for this to pay.
const maxGroups = 24

// maxGroupColumns bounds the terms of a GROUP BY.
const maxGroupColumns = 4

// field is a part of a stored column: value >> shift & mask.
type field struct {
	col   column // 0: the node
	shift uint8
	mask  int64
	null  bool // negative is NULL
}

var groupFields = map[string]field{
	"node":       {},
	"source":     {col: colOp, shift: 8, mask: 0xff},
	"op":         {col: colOp, mask: 0xff},
	"pid":        {col: colPID, mask: -1},
	"gpu_id":     {col: colGPU, mask: -1},
	"ret_code":   {col: colRet, mask: -1},
	"direction":  {col: colDir, mask: -1},
	"depth":      {col: colDepth, mask: -1},
	"cgroup_id":  {col: colCgroup, mask: -1},
	"rank":       {col: colRank, mask: -1, null: true},
	"local_rank": {col: colLocal, mask: -1, null: true},
	"world_size": {col: colWorld, mask: -1, null: true},
}

// groupPlan returns the columns of an ORDER BY or GROUP BY that the cursor
// can deliver in order; false if it cannot.
func groupPlan(order []vtab.OrderBy) (string, bool) {
	if len(order) == 0 || len(order) > maxGroupColumns {
		return "", false
	}
	var plan []byte
	for _, o := range order {
		if o.Desc || o.Column < 0 || o.Column >= len(eventColumns) {
			return "", false
		}
		if _, ok := groupFields[eventColumns[o.Column].name]; !ok {
			return "", false
		}
		plan = append(plan, byte('A'+o.Column))
	}
	return string(plan), true
}

// groupKey holds the values of the columns; nodes are numbered, and what is
// not known is the lowest number, as NULL is in SQL.
type groupKey [maxGroupColumns]int64

type group struct {
	key groupKey
	ids []int64 // chunks that hold events of the group
}

// grouping is the state of a scan by groups.
type grouping struct {
	fields []field
	nodes  []string // by number
	groups []group  // still to visit; the first is the current one
}

func newGrouping(plan string) *grouping {
	g := &grouping{}
	for _, ch := range []byte(plan) {
		g.fields = append(g.fields, groupFields[eventColumns[ch-'A'].name])
	}
	return g
}

func (g *grouping) node(name string) int64 {
	if i := slices.Index(g.nodes, name); i >= 0 {
		return int64(i)
	}
	g.nodes = append(g.nodes, name)
	return int64(len(g.nodes) - 1)
}

// key returns the group of the cursor's current event.
func (g *grouping) key(c *cursor) (key groupKey, err error) {
	for k, f := range g.fields {
		if f.col == 0 {
			key[k] = c.nodeNumber
			continue
		}
		v, ok, err := c.at(f.col)
		if err != nil {
			return key, err
		}
		if v = v >> f.shift & f.mask; !ok || (f.null && v < 0) {
			v = math.MinInt64
		}
		key[k] = v
	}
	return key, nil
}

// collect finds the groups in the chunks that c is about to visit.
func (g *grouping) collect(c *cursor) error {
	index := map[groupKey]int{}
	for {
		if err := c.nextChunk(); err != nil {
			return err
		}
		if c.eof {
			break
		}
		c.nodeNumber = g.node(c.node)
		var last groupKey
		for c.i = range c.n {
			key, err := g.key(c)
			if err != nil {
				return err
			}
			if c.i > 0 && key == last {
				continue
			}
			last = key
			i, ok := index[key]
			if !ok {
				i = len(g.groups)
				index[key] = i
				g.groups = append(g.groups, group{key: key})
			}
			if ids := g.groups[i].ids; len(ids) == 0 || ids[len(ids)-1] != c.id {
				g.groups[i].ids = append(ids, c.id)
			}
		}
	}
	slices.SortFunc(g.groups, g.compare)
	return nil
}

func (g *grouping) compare(a, b group) int {
	for k, f := range g.fields {
		order := cmp.Compare(a.key[k], b.key[k])
		if f.col == 0 {
			order = strings.Compare(g.nodes[a.key[k]], g.nodes[b.key[k]])
		}
		if order != 0 {
			return order
		}
	}
	return 0
}

// few reports whether the newest chunk holds few enough groups.
func (g *grouping) few(src *source) (bool, error) {
	var id int64
	err := src.db.QueryRowContext(src.ctx, "SELECT coalesce(max(id), 0) FROM event_chunks").Scan(&id)
	if err != nil {
		return false, err
	}
	c := &cursor{src: src, ids: []int64{id}}
	defer c.Close()
	if err := g.collect(c); err != nil {
		return false, err
	}
	return len(g.groups) <= maxGroups, nil
}
