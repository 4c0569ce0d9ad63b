package query

import (
	"testing"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
	"ingero/internal/store"
)

// Each answer is rows of as many values as there are columns, under names of
// their own, and each value is what its column says.
func TestRowsOf(t *testing.T) {
	launch := event.MakeOp(event.CUDA, 3)
	a := asked(t, func(w *store.Writer) {
		for s := range int64(3) {
			h := new(stats.Histogram)
			h.Add(5e6)
			w.Stats(base.Unix()+s, []stats.Calls{{PID: 7, Start: base.UnixNano(), Op: launch, Hist: h, Recorded: 1}})
			w.Append([]event.Event{{Start: base.UnixNano() + s*1e9, Dur: 5e6, PID: 7, TID: 7, Op: launch, Comm: "job", Rank: event.NoRank}})
			in, out := stats.Ledger{PID: 7, TID: 7, Start: base.UnixNano(), Comm: "job", Place: launch}, stats.Ledger{PID: 7, TID: 7, Start: base.UnixNano(), Comm: "job"}
			in.NS[event.Running], out.NS[event.Running] = 200e6, 800e6
			w.Books(base.Unix()+s, []stats.Ledger{in, out}, []stats.Pair{{PID: 7, State: event.Runnable, OtherPID: 9, OtherComm: "hog", NS: 1e6, Count: 1}})
			w.Snapshot(event.Snapshot{Time: base.UnixNano() + s*1e9, PSICPU: -1})
		}
		w.Chain(store.Chain{ID: "n:x", Kind: "cpu_contention", Severity: "HIGH", PID: 7, Started: base.UnixNano()})
	})
	want := map[string]int{"ops": 1, "events": 3, "ledger": 2, "thieves": 1, "snapshots": 3, "chains": 1, "sessions": 1, "overview": 1, "time": 1, "sql": 2, "history": 1}
	for i := range Questions {
		q := &Questions[i]
		p := q.New()
		if q.Name == "sql" {
			if err := q.Set(p, "sql", "SELECT 1 AS n, 'x' AS mixed UNION ALL SELECT 2, 3"); err != nil {
				t.Fatal(err)
			}
		}
		answer, err := q.Ask(t.Context(), a, p)
		if err != nil {
			t.Fatal(err)
		}
		r, err := RowsOf(answer)
		if err != nil {
			t.Fatal(q.Name, ": ", err)
		}
		if n, ok := want[q.Name]; ok && len(r.Values) != n {
			t.Errorf("%s: %d rows, want %d", q.Name, len(r.Values), n)
		}
		seen := map[string]bool{}
		for _, c := range r.Columns {
			if seen[c.Name] {
				t.Errorf("%s: two columns %s", q.Name, c.Name)
			}
			seen[c.Name] = true
		}
		for _, row := range r.Values {
			if len(row) != len(r.Columns) {
				t.Fatalf("%s: %d values in %d columns", q.Name, len(row), len(r.Columns))
			}
			for i, v := range row {
				if !fits(v, r.Columns[i]) {
					t.Errorf("%s: %s is a %T", q.Name, r.Columns[i].Name, v)
				}
			}
		}
		if q.Name == "ledger" && (!seen["pid"] || !seen["thread_tid"] || !seen["ledger_state"] || seen["thread_series"]) {
			t.Errorf("ledger: %v", seen)
		}
	}
}

func fits(v any, c Column) bool {
	switch v.(type) {
	case nil:
		return true
	case time.Time:
		return c.Time
	case bool:
		return c.Kind.String() == "bool"
	case int64:
		return c.Kind.String() == "int64" && !c.Time
	case uint64:
		return c.Kind.String() == "uint64"
	case float64:
		return c.Kind.String() == "float64"
	case string:
		return c.Kind.String() == "string"
	}
	return false
}
