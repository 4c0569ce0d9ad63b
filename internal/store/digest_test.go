package store

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ingero/internal/event"
)

// Digests change how much is unpacked, and no answer: whatever the window and
// the filter, with digests, without any and with those of a hostile file.
func TestDigestsChangeNothing(t *testing.T) {
	w, path := create(t, Options{Node: "n"})
	g := newGenerator(3)
	r := rand.New(rand.NewPCG(3, 3))
	rare := event.MakeOp(event.Graph, 4)
	for i := range 30_000 {
		e := make([]event.Event, 1)
		g.next(&e[0])
		e[0].Stack, e[0].Runnable, e[0].Blocked = uint64(r.IntN(5))*0x9e3779b97f4a7c15, int64(r.IntN(1000)), int64(r.IntN(3))-1
		if i == 17_000 {
			e[0].Op = rare
		}
		w.Append(e)
		if i == 25_000 { // stored open, and written again later
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	whole, some := g.at+1-testStart, Filter{PIDs: []uint32{4001}, Ops: []event.Op{event.MakeOp(event.CUDA, 4), event.MakeOp(event.CUDA, 1)}}
	filters := []Filter{{}, some, {Ops: []event.Op{rare}}, {Ops: []event.Op{event.MakeOp(event.NCCL, 1)}}, {PIDs: []uint32{1}}}
	for _, f := range filters[:3] {
		f.From, f.To = testStart+whole/5, testStart+whole*4/5
		filters = append(filters, f)
	}
	answers := func() (all []any) {
		reader := open(t, path)
		for _, f := range filters {
			s, err := reader.StackTimes(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
			for _, limit := range []int{1, 10, 5000} {
				slow, err := reader.Slowest(t.Context(), f, limit)
				if err != nil {
					t.Fatal(err)
				}
				newest, err := reader.Events(t.Context(), f, limit)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, slow, newest)
			}
		}
		return all
	}
	if n := ask(t, open(t, path), "SELECT count(*) FROM event_digests"); n[0][0] != int64(8) {
		t.Fatalf("%v digests", n)
	}
	want := answers()
	db := openPlain(t, path)
	for _, text := range []string{
		"UPDATE event_digests SET data = x'02' WHERE chunk % 2", "UPDATE event_digests SET data = substr(data, 1, length(data) - 3)",
		"UPDATE event_digests SET data = x''", "DELETE FROM event_digests", "DROP TABLE event_digests",
	} {
		if _, err := db.Exec(text); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, answers()); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

// A digest goes with its chunk, and a chunk of too many different events has none.
func TestDigestsArePruned(t *testing.T) {
	w, path := create(t, Options{Node: "n", MaxBytes: 1 << 20})
	g := newGenerator(4)
	for i := range 200_000 {
		e := make([]event.Event, 1)
		g.next(&e[0])
		if i > 190_000 {
			e[0].Stack = uint64(i)
		}
		w.Append(e)
		if i%10_000 == 0 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got := ask(t, open(t, path), `SELECT count(*) FROM event_digests WHERE chunk NOT IN (SELECT id FROM event_chunks)
		UNION ALL SELECT count(*) FROM event_chunks WHERE id NOT IN (SELECT chunk FROM event_digests)
		UNION ALL SELECT count(*) > 3 FROM event_digests`)
	if s := fmt.Sprint(got); s != "[[0] [2] [1]]" && s != "[[0] [3] [1]]" {
		t.Error(s)
	}
}

func FuzzDecodeDigest(f *testing.F) {
	g := newGenerator(5)
	events := make([]event.Event, 100)
	for i := range events {
		g.next(&events[i])
	}
	f.Add(appendDigest(nil, events))
	f.Add([]byte{1, 255, 255, 255, 255, 15})
	f.Fuzz(func(t *testing.T, b []byte) {
		if rows, ok := decodeDigest(b, nil); ok && len(rows) > digestRows {
			t.Errorf("%d rows", len(rows))
		}
	})
}
