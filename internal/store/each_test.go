package store

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"ingero/internal/event"
)

// recordOverlapping writes events as they end: threads whose calls last from
// nanoseconds to a minute, so that chunks overlap.
func recordOverlapping(t *testing.T, n int) (path string, all []Stored) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "run.db")
	w, err := Create(path, Options{Node: "node-1"})
	must(t, err)
	g := newGenerator(7)
	events := make([]event.Event, n)
	for i := range events {
		g.next(&events[i])
		if i%1000 == 7 {
			events[i].Dur = 60e9
		}
		if i%5 == 0 && i > 0 { // begins with the one before, within it
			events[i].Start, events[i].Depth = events[i-1].Start, 1
		}
	}
	slices.SortStableFunc(events, func(a, b event.Event) int { return cmp.Compare(a.Start+a.Dur, b.Start+b.Dur) })
	for from := 0; from < n; from += 1500 {
		w.Append(events[from:min(from+1500, n)])
		must(t, w.Flush())
	}
	must(t, w.Close())
	for i, e := range events {
		all = append(all, Stored{e, "node-1", int64(i + 1)})
	}
	return path, all
}

func collect(t *testing.T, path string, f Filter) (all []Stored) {
	t.Helper()
	r, err := Open(path)
	must(t, err)
	must(t, r.Each(context.Background(), f, func(batch []Stored) error {
		all = append(all, batch...)
		return nil
	}))
	return all
}

func TestEachIsInOrder(t *testing.T) {
	path, want := recordOverlapping(t, 50_000)
	slices.SortStableFunc(want, func(a, b Stored) int { return compareEvents(&a.Event, &b.Event) })
	from, to := want[len(want)/4].Start, want[len(want)/2].Start
	for name, f := range map[string]Filter{
		"all": {}, "window": {From: from, To: to}, "process": {PIDs: []uint32{4001}}, "nothing": {From: 1, To: 2},
		"operation": {From: from, Ops: []event.Op{event.MakeOp(event.CUDA, 5)}},
	} {
		t.Run(name, func(t *testing.T) {
			var wanted []Stored
			for _, e := range want {
				if e.Start >= f.From && e.Start < f.end() && f.hasPID(e.PID) && f.hasOp(e.Op) {
					wanted = append(wanted, e)
				}
			}
			got := collect(t, path, f)
			if len(got) != len(wanted) {
				t.Fatalf("%d events, want %d", len(got), len(wanted))
			}
			byTie := func(a, b Stored) int {
				return cmp.Or(compareEvents(&a.Event, &b.Event), cmp.Compare(a.Seq, b.Seq))
			}
			if !slices.IsSortedFunc(got, func(a, b Stored) int { return compareEvents(&a.Event, &b.Event) }) {
				t.Error("not in order")
			}
			slices.SortFunc(got, byTie)
			slices.SortFunc(wanted, byTie)
			for i := range got {
				if got[i].Event != wanted[i].Event {
					t.Fatalf("event %d is %+v, want %+v", i, got[i], wanted[i])
				}
			}
		})
	}
}

// Chunks whose first event began long before the others wait for their time.
func TestEachHoldsFewChunks(t *testing.T) {
	path, _ := recordOverlapping(t, 200_000)
	r, err := Open(path)
	must(t, err)
	most := 0
	params, _ := r.params()
	must(t, r.once(t.Context(), params, func(ctx context.Context, c *readConn) error {
		m := merge{ctx: ctx, c: c}
		if err := m.list(); err != nil {
			return err
		}
		if len(m.later) < 40 {
			t.Fatalf("%d chunks: too few for this test", len(m.later))
		}
		return m.run(func([]Stored) error {
			held := 0
			for _, p := range m.open {
				held += len(p.events)
			}
			most = max(most, held)
			return nil
		})
	}))
	if most > 4*chunkEvents {
		t.Errorf("up to %d events were held", most)
	}
}

func TestEachStops(t *testing.T) {
	path, _ := recordOverlapping(t, 10_000)
	r, err := Open(path)
	must(t, err)
	enough := errors.New("enough")
	if err := r.Each(t.Context(), Filter{}, func([]Stored) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = r.Each(ctx, Filter{}, func([]Stored) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v after it was canceled", err)
	}
}

// While an agent records, what is read does not change, and it goes on.
func TestEachWhileRecording(t *testing.T) {
	w, path := create(t, Options{Node: "node-1"})
	g := newGenerator(1)
	add := func() {
		batch := make([]event.Event, chunkEvents)
		for i := range batch {
			g.next(&batch[i])
		}
		w.Append(batch)
		must(t, w.Flush())
	}
	for range 5 {
		add()
	}
	r, err := Open(path)
	must(t, err)
	n := 0
	must(t, r.Each(t.Context(), Filter{}, func(batch []Stored) error {
		n += len(batch)
		add()
		return nil
	}))
	if n != 5*chunkEvents {
		t.Errorf("%d events, want those that were there at the begin, %d", n, 5*chunkEvents)
	}
	must(t, w.Close())
}

func BenchmarkEach(b *testing.B) {
	r := largeDatabase(b)
	n := 0
	for b.Loop() {
		must(b, r.Each(b.Context(), Filter{}, func(batch []Stored) error {
			n += len(batch)
			return nil
		}))
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
}
