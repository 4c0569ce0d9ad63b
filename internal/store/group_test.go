package store

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ingero/internal/event"
)

// TestGroupsAreThoseOfSQLite compares a scan by groups with SQLite's own
// sorting, which a unary plus brings back.
func TestGroupsAreThoseOfSQLite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	for i, node := range []string{"b", "a", "c", "a"} {
		w, err := Create(path, Options{Node: node})
		must(t, err)
		events := testEvents(6000, uint64(i))
		for k := range events {
			if k%3 == i%3 {
				events[k].Rank = event.NoRank
			}
			events[k].Ret = int32(-(k % 2))
		}
		w.Append(events)
		must(t, w.Close())
	}
	r := open(t, path)
	for _, columns := range [][]string{
		{"node"}, {"source", "op"}, {"node", "source"}, {"pid", "op"}, {"rank"}, {"world_size", "node"}, {"ret_code", "direction", "depth", "gpu_id"},
		{"op", "node", "pid", "source"}, {"comm"}, {"pid", "comm"}, {"tid"}, {"source", "op", "pid", "node", "rank"}, {"cgroup_id", "local_rank"},
	} {
		for _, where := range []string{"1", "duration > 5000 AND pid <> 4002", "pid IN (4001, 4003)", "source = 4 AND node = 'a'", "pid = 1"} {
			list := strings.Join(columns, ", ")
			plain := fmt.Sprintf("SELECT %s, count(*), sum(duration), min(timestamp) FROM events WHERE %s GROUP BY %s ORDER BY %s", list, where, list, list)
			sorted := strings.ReplaceAll(plain, "BY "+list, "BY +"+strings.Join(columns, ", +"))
			got, want := ask(t, r, plain), ask(t, r, sorted)
			if !slices.EqualFunc(got, want, slices.Equal[[]any]) {
				t.Errorf("%s:\ngot  %v\nwant %v", plain, got, want)
			}
		}
	}
	for text, want := range map[string]int{
		"SELECT DISTINCT node FROM events":                     3,
		"SELECT DISTINCT pid, op FROM events WHERE source = 1": 20,
		"SELECT o.name, count(*) FROM events e JOIN ops o ON o.source_id = e.source AND o.op_id = e.op GROUP BY e.source, e.op": 6,
		"SELECT pid FROM events ORDER BY pid LIMIT 5": 5,
	} {
		if got := len(ask(t, r, text)); got != want {
			t.Errorf("%s: %d rows, want %d", text, got, want)
		}
	}
}

func TestGroupingIsUsedWhereItPays(t *testing.T) {
	w, path := create(t, Options{})
	events := testEvents(2000, 1)
	for i := range events {
		events[i].Cgroup = uint64(i)
	}
	w.Append(events)
	must(t, w.Close())
	r := open(t, path)
	for list, sorts := range map[string]bool{"source, op": false, "node": false, "cgroup_id": true, "comm": true} {
		table, err := r.SQL(context.Background(), "EXPLAIN QUERY PLAN SELECT count(*) FROM events GROUP BY "+list, Limits{})
		must(t, err)
		if got := strings.Contains(fmt.Sprint(table.Rows), "TEMP B-TREE"); got != sorts {
			t.Errorf("GROUP BY %s: %v", list, table.Rows)
		}
	}
}
