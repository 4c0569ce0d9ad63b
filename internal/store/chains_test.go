package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"ingero/internal/event"
)

func openPlain(t *testing.T, uri string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", uri)
	must(t, err)
	return db
}

func chainsOf(t *testing.T, r *Reader, f Filter) []Chain {
	t.Helper()
	all, err := r.Chains(context.Background(), f)
	must(t, err)
	return all
}

func ids(all []Chain) []string {
	list := []string{}
	for _, c := range all {
		list = append(list, c.ID)
	}
	return list
}

func TestIncidentsAreKept(t *testing.T) {
	w, path := create(t, Options{})
	full := Chain{
		ID: "node-1:cpu-7-1", Node: "node-1", Kind: "cpu_contention", Severity: "HIGH", PID: 7, Detected: testStart + 2e9, Started: testStart, Ended: testStart + 9e9,
		Summary: "s", RootCause: "r", Explanation: "e", Recommendations: []string{"taskset"}, Op: "cudaStreamSync", P50: 10, P99: 900, TailRatio: 90,
		Timeline: `[{"layer":"HOST"}]`, LostNS: 5e9, Share: 0.5, CulpritPID: 99, Culprit: "stress", Detail: json.RawMessage(`{"id":"x"}`),
	}
	early := full
	early.Ended, early.Severity, early.LostNS = 0, "LOW", 1
	w.Chain(early)
	must(t, w.Flush())
	w.Chain(full) // the same incident, known better
	w.Chain(Chain{ID: "b", Started: testStart + 20e9, PID: 8, Op: "cudaMalloc"})
	w.Chain(Chain{ID: "bad", Started: testStart + 30e9, Ended: testStart + 31e9, Timeline: "[", Detail: json.RawMessage("{")})
	must(t, w.Flush())
	r := open(t, path)
	all := chainsOf(t, r, Filter{})
	if want := []string{"bad", "b", full.ID}; !reflect.DeepEqual(ids(all), want) {
		t.Fatalf("incidents %v, want %v", ids(all), want)
	}
	if !reflect.DeepEqual(all[2], full) {
		t.Errorf("got %+v, want %+v", all[2], full)
	}
	if all[0].Detail != nil || all[0].Timeline != "" || all[1].Ended != 0 || all[1].Node != "node-1" || all[1].Detected != testStart+20e9 {
		t.Errorf("got %+v", all[:2])
	}
	for _, x := range []struct {
		f    Filter
		want []string
	}{
		{Filter{From: testStart + 9e9, To: testStart + 10e9}, []string{full.ID}},
		{Filter{From: testStart + 9e9 + 1, To: testStart + 20e9}, []string{}},
		{Filter{From: testStart + 99e9}, []string{"b"}}, // goes on
		{Filter{PIDs: []uint32{7}}, []string{full.ID}},
		{Filter{Ops: event.FindOps("cudaMalloc")}, []string{"b"}},
	} {
		if got := ids(chainsOf(t, r, x.f)); !reflect.DeepEqual(got, x.want) {
			t.Errorf("%+v: %v, want %v", x.f, got, x.want)
		}
	}
	// A query written for older recordings, and one for the new columns.
	if rows := ask(t, r, "SELECT severity, cuda_op, cuda_p99_us FROM causal_chains WHERE kind = 'cpu_contention' AND lost_ns > 1e9"); len(rows) != 1 || rows[0][2] != int64(900) {
		t.Errorf("rows %v", rows)
	}
	must(t, w.Close())
	manyIncidents(t, path)
}

// manyIncidents goes on where TestIncidentsAreKept ends.
func manyIncidents(t *testing.T, path string) {
	t.Helper()
	r := open(t, path)
	// The next session does not watch what still went on.
	w, err := Create(path, Options{Node: "node-1"})
	must(t, err)
	if got := chainsOf(t, r, Filter{PIDs: []uint32{8}}); len(got) != 1 || got[0].Ended < got[0].Started {
		t.Errorf("after a restart: %+v", got)
	}
	w.maxChains = 10
	for i := range 40 {
		w.Chain(Chain{ID: fmt.Sprint("many-", i), Started: testStart + int64(100+i)*1e9})
		must(t, w.Flush())
	}
	must(t, w.Close())
	if got := chainsOf(t, r, Filter{}); len(got) != 10 || got[0].ID != "many-39" || got[9].ID != "many-30" {
		t.Errorf("kept %v", ids(got))
	}
	uri, err := dsn(path, "mode=rw")
	must(t, err)
	hostile(t, uri, `UPDATE causal_chains SET recommendations = 'not json', timeline = '{', detail = '[', lost_ns = -5, pid = -1, cuda_p99_us = -9`)
	if got := chainsOf(t, r, Filter{}); len(got) != 10 || got[0].Recommendations[0] != "not json" || got[0].LostNS != 0 || got[0].P99 != 0 || got[0].Detail != nil {
		t.Errorf("hostile: %+v", got)
	}
}

// schema1 makes a database as the first version of the schema left it.
func schema1(t *testing.T) string {
	t.Helper()
	texts, err := migrations()
	must(t, err)
	path := filepath.Join(t.TempDir(), "one.db")
	uri, err := dsn(path, "mode=rwc")
	must(t, err)
	hist := testStats(newGenerator(1).r, 1, 1)[0].Hist
	db := openPlain(t, uri)
	for _, s := range []string{
		texts[0], fmt.Sprintf("PRAGMA application_id = %d", appID), "PRAGMA user_version = 1",
		"INSERT INTO sessions (started_at, stopped_at, node) VALUES (1, 2, 'node-1')",
		fmt.Sprintf("INSERT INTO processes (id, node, pid, start, comm) VALUES (1, 'node-1', 7, %d, 'train')", int64(testStart-1e9)),
		fmt.Sprintf("INSERT INTO call_stats VALUES (%d, 1, 1, 3, 1000, 0, 0, 5, 1, 2, 0, 9, 1, x'%x')", testSecond, hist.AppendTo(nil)),
		fmt.Sprintf("INSERT INTO system_snapshots VALUES (1, %d, 1, 2, 3, 4, 5)", int64(testStart)),
		fmt.Sprintf("INSERT INTO causal_chains (id, detected_at, severity, summary, root_cause, explanation) VALUES ('a', %d, 'LOW', 's', 'r', 'e')", int64(testStart)),
	} {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	must(t, db.Close())
	return path
}

// answers asks everything that a first-version database can answer.
func answers(t *testing.T, path string) {
	t.Helper()
	ctx, r := context.Background(), open(t, path)
	for _, o := range []BookOptions{{}, {Sums: true}, {Minutes: true}} {
		all, err := r.BooksWith(ctx, Filter{To: testStart + 1e9}, o)
		must(t, err)
		if len(all) != 1 || all[0].Comm != "train" || len(all[0].Seconds) != 1 || all[0].Seconds[0].Calls[0].Hist.Count() != 1000 || all[0].Seconds[0].Ledger != nil {
			t.Errorf("%+v: books %+v", o, all)
		}
	}
	if all := chainsOf(t, r, Filter{From: testStart, To: testStart + 1}); len(all) != 1 || all[0].Started != testStart || all[0].Ended != testStart || all[0].Kind != "" {
		t.Errorf("incidents %+v", all)
	}
	shots, err := r.Snapshots(ctx, Filter{})
	if err != nil || len(shots) != 1 || shots[0].PSICPU != -1 || shots[0].Load != 5 || shots[0].Cores != nil {
		t.Errorf("snapshots %+v, %v", shots, err)
	}
	if gpus, err := r.GPU(ctx, Filter{}); err != nil || gpus != nil {
		t.Errorf("GPUs %v, %v", gpus, err)
	}
	if slow, err := r.Slowest(ctx, Filter{}, 5); err != nil || len(slow) != 0 {
		t.Errorf("slowest %v, %v", slow, err)
	}
	if totals, err := r.Totals(ctx, Filter{To: testStart + 1e9}, true); err != nil || len(totals.Rows) != 1 || totals.Rows[0].Comm != "train" {
		t.Errorf("totals %+v, %v", totals, err)
	}
	if s, err := r.Sessions(ctx); err != nil || len(s) == 0 {
		t.Errorf("sessions %v, %v", s, err)
	}
	if oldest, _, err := r.Span(ctx); err != nil || oldest != testStart {
		t.Errorf("span from %d, %v", oldest, err)
	}
	if rows := ask(t, r, "SELECT count FROM event_aggregates WHERE pid = 7"); len(rows) != 1 || rows[0][0] != int64(1000) {
		t.Errorf("event_aggregates %v", rows)
	}
}

func TestFirstSchemaIsReadAndMigrated(t *testing.T) {
	path := schema1(t)
	before := hashes(t, filepath.Dir(path))
	answers(t, path)
	sameFiles(t, before, hashes(t, filepath.Dir(path)))
	r := open(t, path) // before the migration; still good after it
	w, err := Create(path, Options{Node: "node-1"})
	must(t, err)
	answers(t, path)
	ledger, pairs := testBooks(newGenerator(1).r, 7, testStart)
	w.Process(ProcessRow{Process: event.Process{PID: 7, Start: testStart - 1e9, Comm: "train", Rank: event.NoRank}})
	w.Books(testSecond+5, ledger, pairs)
	w.Chain(Chain{ID: "b", Started: testStart + 50e9})
	must(t, w.Close())
	answers(t, path)
	if all := books(t, r, Filter{}); len(all) != 1 || len(all[0].Seconds) != 2 || len(all[0].Seconds[1].Ledger) != len(ledger) || len(all[0].Seconds[1].Pairs) != len(pairs) {
		t.Errorf("books %+v", all)
	}
	if rows := ask(t, r, "SELECT (SELECT count(*) FROM states), (SELECT value FROM schema_info WHERE key = 'version'), (SELECT count(*) FROM schema_info WHERE key LIKE '%note' AND value LIKE '%ledger_view%')"); rows[0][0] != int64(event.States) || rows[0][1] != fmt.Sprint(SchemaVersion()) || rows[0][2] != int64(1) {
		t.Errorf("schema %v", rows)
	}
}

func TestRecordingsHaveBooksAndIncidents(t *testing.T) {
	own := t.TempDir()
	ctx := context.Background()
	for _, x := range []struct {
		file              string
		chains, snapshots int
	}{
		{"pytorch-173382-empty-cache.db", 4, 20}, {"pytorch-dataloader-starvation.db", 316, 40}, {"vllm-37343-logprobs-amplification.db", 6, 52},
		{"sample-cluster.db", 6, 5}, {"sample-gpu-node-01.db", 4, 1}, {"sample-gpu-node-02.db", 1, 2}, {"sample-gpu-node-03.db", 1, 2},
	} {
		b, err := os.ReadFile(filepath.Join(recordingsDir(t), x.file))
		must(t, err)
		path := filepath.Join(own, x.file)
		must(t, os.WriteFile(path, b, 0o644))
		r := open(t, path)
		all := chainsOf(t, r, Filter{})
		if len(all) != x.chains || all[0].Severity == "" || all[0].Op == "" || len(all[0].Recommendations) == 0 || all[0].Timeline == "" || all[0].Ended != all[0].Detected {
			t.Errorf("%s: %d incidents, the first is %+v", x.file, len(all), all[:min(1, len(all))])
		}
		shots, err := r.Snapshots(ctx, Filter{})
		if err != nil || len(shots) != x.snapshots || shots[0].PSICPU != -1 {
			t.Errorf("%s: %d snapshots, %v", x.file, len(shots), err)
		}
		if gpus, err := r.GPU(ctx, Filter{}); err != nil || gpus != nil {
			t.Errorf("%s: GPUs %v, %v", x.file, gpus, err)
		}
		slow, err := r.Slowest(ctx, Filter{}, 3)
		if err != nil || len(slow) != 3 || slow[0].Dur < slow[1].Dur || slow[1].Dur < slow[2].Dur {
			t.Errorf("%s: slowest %+v, %v", x.file, slow, err)
		}
		if rows := ask(t, r, "SELECT max(duration) FROM events"); rows[0][0] != slow[0].Dur {
			t.Errorf("%s: slowest %v, want %v", x.file, slow[0].Dur, rows[0][0])
		}
		sameAsTotals(t, r, x.file)
	}
}

// sameAsTotals checks that the seconds add up to the totals of each process.
func sameAsTotals(t *testing.T, r *Reader, file string) {
	t.Helper()
	totals, err := r.Totals(context.Background(), Filter{}, true)
	must(t, err)
	type key struct {
		pid  uint32
		node string
		op   event.Op
	}
	type sums struct{ count, recorded, bytes uint64 }
	want, got := map[key]sums{}, map[key]sums{}
	for _, row := range totals.Rows {
		want[key{row.PID, row.Node, row.Op}] = sums{row.Hist.Count(), row.Recorded, row.Bytes}
	}
	for _, p := range books(t, r, Filter{}) {
		last := int64(0)
		for _, s := range p.Seconds {
			if s.At <= last || s.Ledger != nil {
				t.Errorf("%s: second %d after %d", file, s.At, last)
			}
			last = s.At
			for _, c := range s.Calls {
				k := key{p.PID, p.Node, c.Op}
				got[k] = sums{got[k].count + c.Hist.Count(), got[k].recorded + c.Recorded, got[k].bytes + c.Bytes}
			}
		}
	}
	for k, w := range want {
		// Events of a minute without aggregates are not in the seconds.
		if g := got[k]; g.count != w.count || g.recorded > w.recorded {
			t.Errorf("%s: %v of %d on %q: %+v, want %+v", file, k.op, k.pid, k.node, g, w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d operations, want %d", file, len(got), len(want))
	}
}
