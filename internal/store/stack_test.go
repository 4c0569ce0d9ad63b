package store

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ingero/internal/event"
)

func TestStacks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	w, err := Create(path, Options{Node: "n"})
	if err != nil {
		t.Fatal(err)
	}
	frames := []event.Frame{
		{PyFile: "train.py", PyFunc: "<module>", PyLine: 1},
		{IP: 0x765bb62cfa44, Symbol: "cublasLtSSSMatmul+0x1d4", File: "libcublasLt.so.12", Source: "a.cpp", Line: 3, Inlined: true},
	}
	const high = 0xfedcba9876543210 // negative as SQL has it
	w.Stack(event.Stack{Hash: high, PID: 7, IPs: []uint64{0x765bb62cfa44}, Frames: frames})
	w.Stack(event.Stack{Hash: 2, PID: 7, IPs: []uint64{1, 2}})
	op := event.MakeOp(event.CUDA, 1)
	var events []event.Event
	for i := range 10000 {
		e := event.Event{Start: testStart + int64(i), Dur: 10, PID: 7, Op: op, Stack: high, Runnable: 3, Blocked: -1}
		if i%4 == 0 {
			e.Stack, e.Dur = 2, 1000
		}
		if i%100 == 1 {
			e.PID = 8
		}
		events = append(events, e)
	}
	w.Append(events)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Stacks(t.Context(), []uint64{high, 2, 3, 0, high})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[uint64][]event.Frame{high: frames, 2: {{IP: 1}, {IP: 2}}}, got); diff != "" {
		t.Error(diff)
	}
	times, err := r.StackTimes(t.Context(), Filter{From: testStart, To: testStart + 8000, PIDs: []uint32{7}})
	if err != nil {
		t.Fatal(err)
	}
	want := []StackTime{
		{Op: op, PID: 7, Stack: 2, Count: 2000, Total: 2_000_000, Runnable: 6000, Max: 1000},
		{Op: op, PID: 7, Stack: high, Count: 5920, Total: 59_200, Runnable: 17_760, Max: 10},
	}
	if diff := cmp.Diff(want, times); diff != "" {
		t.Error(diff)
	}
	table, err := r.SQL(t.Context(), "SELECT count(*) FROM events e JOIN stack_traces s ON s.hash = e.stack_hash WHERE s.frames LIKE '%cublas%'", Limits{})
	if err != nil || table.Rows[0][0] != int64(7500) {
		t.Errorf("%v, %v", table, err)
	}
}

// Stacks go with the data that they belong to, not while their process may
// have more.
func TestStacksArePruned(t *testing.T) {
	now := time.Unix(1767225600, 0)
	w, err := Create(filepath.Join(t.TempDir(), "s.db"), Options{Node: "n", Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for i, ended := range []int64{0, now.UnixNano() + 1e9, now.UnixNano() + 1e15} {
		p := ProcessRow{Ended: ended}
		p.PID, p.Start, p.Rank = uint32(i+1), now.UnixNano(), event.NoRank
		w.Process(p)
		w.Stack(event.Stack{Hash: uint64(i + 1), PID: p.PID, IPs: []uint64{1}})
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	freed, err := w.dropStacks(t.Context(), now.Unix()+3600)
	if err != nil || freed == 0 {
		t.Fatal(freed, err)
	}
	var left string
	if err := w.conn.QueryRowContext(t.Context(), "SELECT group_concat(hash) FROM (SELECT hash FROM stack_traces ORDER BY hash)").Scan(&left); err != nil || left != "1,3" {
		t.Errorf("left %s, %v", left, err)
	}
}
