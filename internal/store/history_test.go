package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// recordBooks records seconds of one process with calls and a ledger.
func recordBooks(t *testing.T, w *Writer, from, to int64, also func()) {
	t.Helper()
	w.Process(ProcessRow{Process: event.Process{PID: 4000, Start: testStart - 1e9, Comm: "train", Rank: event.NoRank}})
	r := rand.New(rand.NewPCG(1, 1))
	for s := from; s < to; s++ {
		ledger, pairs := testBooks(r, 4000, testStart-1e9)
		w.Stats(s, testStats(r, 1, 2))
		w.Books(s, ledger, pairs)
		if also != nil {
			also()
		}
		must(t, w.Flush())
	}
}

type bookSums struct {
	seconds               int
	calls, ns, pairs, max uint64
	spans                 int64
}

func sumBooks(t *testing.T, r *Reader, f Filter, o BookOptions) (sum bookSums) {
	t.Helper()
	all, err := r.BooksWith(context.Background(), f, o)
	must(t, err)
	for _, p := range all {
		last := int64(-1 << 60)
		for _, s := range p.Seconds {
			if s.At <= last {
				t.Errorf("second %d comes after %d", s.At, last)
			}
			last = s.At
			sum.seconds++
			sum.spans += max(s.Span, 1)
			for _, c := range s.Calls {
				sum.calls += c.Hist.Count()
			}
			for _, l := range s.Ledger {
				sum.ns += l.Total()
				sum.max = max(sum.max, slices.Max(l.Max[:]))
			}
			for _, p := range s.Pairs {
				sum.pairs += p.NS
			}
		}
	}
	return sum
}

// TestMinutesAddUp compares windows read by the second and by the minute.
func TestMinutesAddUp(t *testing.T) {
	w, path := create(t, Options{})
	recordBooks(t, w, testSecond-25, testSecond+250, nil)
	must(t, w.Close())
	r := open(t, path)
	for _, x := range []struct{ from, to, rows int64 }{
		{-100, 0, 1 + 4 + 10}, {0, 250, 4 + 10}, {-25, 100, 25 + 1 + 40}, {60, 120, 1}, {30, 130, 30 + 1 + 10}, {61, 119, 58}, {59, 121, 3}, {300, 400, 0},
	} {
		f := Filter{From: testStart + x.from*1e9, To: testStart + x.to*1e9}
		if x.to == 0 {
			f = Filter{}
		}
		seconds, minutes := sumBooks(t, r, f, BookOptions{}), sumBooks(t, r, f, BookOptions{Minutes: true})
		if x.from < -25 { // the first minute was not watched from its start
			minutes.spans -= 35
		}
		if int64(minutes.seconds) != x.rows || minutes.spans != seconds.spans || seconds.spans != int64(seconds.seconds) {
			t.Errorf("window %d to %d: %+v by the minute, %+v by the second; want %d rows", x.from, x.to, minutes, seconds, x.rows)
		}
		minutes.seconds = seconds.seconds
		if minutes != seconds {
			t.Errorf("window %d to %d: %+v by the minute, %+v by the second", x.from, x.to, minutes, seconds)
		}
		sums, nothing := sumBooks(t, r, f, BookOptions{Sums: true}), sumBooks(t, r, f, BookOptions{NoCalls: true, NoLedger: true})
		if sums != seconds || nothing != (bookSums{}) {
			t.Errorf("window %d to %d: sums %+v, nothing %+v", x.from, x.to, sums, nothing)
		}
	}
	rows := ask(t, r, "SELECT (SELECT sum(ns) FROM ledger WHERE second < 60 + (SELECT max(minute) FROM ledger_minute)) - (SELECT sum(ns) FROM ledger_minute), (SELECT count(*) FROM waits_minute)")
	if rows[0][0] != int64(0) || rows[0][1] != int64(5*3) {
		t.Errorf("minutes differ from their seconds: %v", rows)
	}
}

func TestLongWindowsAreReadByTheMinute(t *testing.T) {
	w, path := create(t, Options{})
	const hours = 4
	l := busyThread(4000, 4000, testStart-1e9, event.Calls[0].ID)
	w.Process(ProcessRow{Process: event.Process{PID: 4000, Start: testStart - 1e9, Comm: "train", Rank: event.NoRank}})
	for s := testSecond; s < testSecond+hours*3600; s++ {
		w.Books(s, []stats.Ledger{l}, nil)
		if s%100 == 0 {
			must(t, w.Flush())
		}
	}
	must(t, w.Close())
	r := open(t, path)
	if all := sumBooks(t, r, Filter{}, BookOptions{}); all.seconds > hours*60+60 || all.spans != hours*3600 || all.ns != hours*3600e9 {
		t.Errorf("four hours: %+v", all)
	}
	if hour := sumBooks(t, r, Filter{From: testStart + 3600e9, To: testStart + 7200e9}, BookOptions{}); hour.seconds != 3600 || hour.ns != 3600e9 {
		t.Errorf("an hour: %+v", hour)
	}
	if oldest, newest, err := r.Span(context.Background()); err != nil || oldest != testStart || newest != testStart+hours*3600e9-1 {
		t.Errorf("span %d to %d, %v", oldest, newest, err)
	}
}

func TestBooksGiveWayAtTheLimit(t *testing.T) {
	const limit, seconds = 2 << 20, 900
	w, path := create(t, Options{MaxBytes: limit})
	n := uint64(0)
	recordBooks(t, w, testSecond, testSecond+seconds, func() {
		n++
		w.Append(testEvents(10, n))
		w.GPU(event.GPUSample{Time: testStart + int64(n)*1e9})
		w.Chain(Chain{ID: fmt.Sprint(n % 5), Started: testStart})
		if db, _ := diskSize(path); db > limit*105/100 {
			t.Fatalf("second %d: %d bytes, the limit is %d", n, db, limit)
		}
	})
	must(t, w.Close())
	r := open(t, path)
	rows := ask(t, r, `SELECT (SELECT min(second) FROM ledger), (SELECT min(second) FROM waits), (SELECT min(second) FROM call_stats),
		(SELECT min(minute) FROM ledger_minute), (SELECT count(*) FROM causal_chains), (SELECT min(timestamp) / 1000000000 FROM gpu_samples)`)
	first := rows[0][0].(int64)
	if first < testSecond+60 || first > testSecond+seconds-60 || rows[0][1] != first || rows[0][2] != first || rows[0][3].(int64) >= first || rows[0][4] != int64(5) || rows[0][5].(int64) < first {
		t.Errorf("oldest of ledger, waits, calls, minutes; incidents; GPU: %v, recorded from %d", rows, testSecond)
	}
	// What was dropped by the second is there by the minute.
	all := sumBooks(t, r, Filter{From: rows[0][3].(int64)*1e9 + 5e9}, BookOptions{})
	if want := testSecond + seconds - rows[0][3].(int64); all.spans != want || all.calls != uint64(want)*2000 {
		t.Errorf("%+v, want %d seconds", all, want)
	}
}

func TestSlowestEvents(t *testing.T) {
	w, path := create(t, Options{})
	events := testEvents(20_000, 5)
	events[7].Dur, events[19_000].Dur, events[19_001].Dur = 1e9, 1e9, 1e9 // equally long
	w.Append(events)
	must(t, w.Close())
	r := open(t, path)
	for name, f := range map[string]Filter{
		"all": {}, "window": {From: events[500].Start, To: events[9000].Start}, "pid": {PIDs: []uint32{4002}}, "op": {Ops: []event.Op{event.Calls[0].ID}},
	} {
		var want []Stored
		for i, e := range events {
			if e.Start >= f.From && e.Start < f.end() && f.hasPID(e.PID) && f.hasOp(e.Op) {
				want = append(want, Stored{e, "node-1", int64(i + 1)})
			}
		}
		for _, limit := range []int{0, 1, 2, 50} {
			got, err := r.Slowest(context.Background(), f, limit)
			must(t, err)
			if top := topSlowest(slices.Clone(want), limit); len(got) != len(top) || (limit > 0 && !reflect.DeepEqual(got, top)) {
				t.Errorf("%s, limit %d: %d events, want %d", name, limit, len(got), len(top))
			}
		}
	}
}

func TestDamagedBooksAndCanceledQuestions(t *testing.T) {
	w, path := create(t, Options{})
	recordBooks(t, w, testSecond, testSecond+5, nil)
	must(t, w.Close())
	r := open(t, path)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.Books(ctx, Filter{}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	uri, err := dsn(path, "mode=rw")
	must(t, err)
	hostile(t, uri, "UPDATE call_stats SET histogram = x'0102'")
	if _, err := r.Books(context.Background(), Filter{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("damaged histogram: %v", err)
	}
	if sum := sumBooks(t, r, Filter{}, BookOptions{Sums: true}); sum.calls != 5*2000 {
		t.Errorf("sums of a damaged histogram: %+v", sum)
	}
	hostile(t, uri, "DROP VIEW waits_view; DROP TABLE waits")
	if _, err := r.BooksWith(context.Background(), Filter{PIDs: []uint32{4000}}, BookOptions{NoCalls: true}); err == nil || !strings.Contains(err.Error(), "waits") {
		t.Errorf("missing table: %v", err)
	}
}
