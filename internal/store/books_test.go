package store

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
)

const testSecond = int64(testStart / 1e9)

func books(t testing.TB, r *Reader, f Filter) []stats.Process {
	t.Helper()
	all, err := r.Books(context.Background(), f)
	must(t, err)
	return all
}

// spent adds up a ledger by state, and what it counted.
func spent(all []stats.Ledger) (ns, count [event.States]uint64) {
	for _, l := range all {
		for s := range l.NS {
			ns[s] += l.NS[s]
			count[s] += l.Count[s]
		}
	}
	return ns, count
}

// busy is the ledger of a thread that makes calls.
func busyThread(pid, tid uint32, start int64, place event.Op) stats.Ledger {
	l := stats.Ledger{PID: pid, TID: tid, Start: start, Comm: fmt.Sprint("thread-", tid), Place: place}
	l.NS[event.Running], l.Count[event.Running], l.Max[event.Running] = 600e6, 3, 400e6
	l.NS[event.GPUWait], l.Count[event.GPUWait], l.Max[event.GPUWait] = 400e6, 4, 200e6
	return l
}

// idleThread waits all the second but for a moment.
func idleThread(pid, tid uint32, start int64) stats.Ledger {
	l := stats.Ledger{PID: pid, TID: tid, Start: start, Comm: "pool"}
	l.NS[event.Lock], l.Count[event.Lock], l.Max[event.Lock] = 999_500_000, 2, 500e6
	l.NS[event.Running], l.Count[event.Running], l.Max[event.Running] = 500_000, 2, 400_000
	return l
}

func TestBooksComeBack(t *testing.T) {
	w, path := create(t, Options{})
	rank := event.Rank{Rank: 3, Local: 1, World: 8}
	w.Process(ProcessRow{Process: event.Process{PID: 7, PPID: 1, Start: testStart - 5e9, Comm: "train", Cmdline: "train x", UID: 5, Cgroup: 9, Container: "c", Rank: rank}})
	op := event.Calls[0].ID
	r := rand.New(rand.NewPCG(1, 1))
	want := map[int64]*stats.Second{}
	for s := testSecond; s < testSecond+5; s++ {
		if s == testSecond+3 {
			continue // nothing happened
		}
		ledger, pairs := testBooks(r, 7, testStart-5e9+1)
		calls := testStats(r, 1, 2)
		for i := range calls {
			calls[i].PID, calls[i].Start = 7, testStart-5e9
		}
		for range 2 { // as when a drain is split; the second half adds up
			w.Stats(s, calls)
			w.Books(s, ledger, pairs)
			must(t, w.Flush())
		}
		want[s] = &stats.Second{At: s, Ledger: ledger, Pairs: pairs}
		if s == testSecond+1 {
			must(t, w.Close())
			var err error
			w, err = Create(path, Options{Node: "node-1"})
			must(t, err)
			w.Process(ProcessRow{Process: event.Process{PID: 7, PPID: 1, Start: testStart - 5e9, Comm: "train", Cmdline: "train x", UID: 5, Cgroup: 9, Container: "c", Rank: rank}, Ended: testStart + 9e9, Status: 9})
		}
	}
	must(t, w.Close())
	rd := open(t, path)
	all := books(t, rd, Filter{})
	if len(all) != 1 || all[0].PID != 7 || all[0].Node != "node-1" || all[0].Comm != "train" || all[0].Rank != rank ||
		all[0].Cgroup != 9 || all[0].Container != "c" || all[0].PPID != 1 || all[0].Ended != testStart+9e9 || all[0].Status != 9 {
		t.Fatalf("processes %+v", all)
	}
	if len(all[0].Seconds) != len(want) {
		t.Fatalf("%d seconds, want %d", len(all[0].Seconds), len(want))
	}
	for _, s := range all[0].Seconds {
		x := want[s.At]
		if x == nil || len(s.Calls) != 2 || s.Calls[0].Op != op || s.Calls[0].Hist.Count() != 2000 || s.Calls[0].PID != 7 || s.Calls[0].Start != testStart-5e9 || s.Span != 0 {
			t.Fatalf("second %d: calls %+v", s.At, s.Calls)
		}
		compareLedgers(t, s.Ledger, x.Ledger, 2)
		for i := range x.Pairs {
			x.Pairs[i].NS *= 2
			x.Pairs[i].Count *= 2
		}
		if !reflect.DeepEqual(s.Pairs, x.Pairs) {
			t.Errorf("second %d: pairs %+v, want %+v", s.At, s.Pairs, x.Pairs)
		}
	}
	checkViews(t, rd)
}

// checkViews asks for parts of what TestBooksComeBack recorded, and by name.
func checkViews(t *testing.T, rd *Reader) {
	t.Helper()
	op := event.Calls[0].ID
	if part := books(t, rd, Filter{From: testStart + 1e9, To: testStart + 2e9, PIDs: []uint32{7, 8}, Ops: []event.Op{op}}); len(part) != 1 || len(part[0].Seconds) != 1 || len(part[0].Seconds[0].Calls) != 1 {
		t.Errorf("one second: %+v", part)
	}
	if none := books(t, rd, Filter{PIDs: []uint32{8}}); len(none) != 0 {
		t.Errorf("of another process: %+v", none)
	}
	rows := ask(t, rd, `SELECT thread, state, ns FROM ledger_view WHERE pid = 7 AND tid = 7 AND place = '`+op.String()+`' ORDER BY second, state LIMIT 1`)
	if len(rows) != 1 || rows[0][0] != "python3" || rows[0][1] != "gpu" {
		t.Errorf("ledger_view: %v", rows)
	}
	if rows := ask(t, rd, "SELECT role, count(*) FROM waits_view GROUP BY role ORDER BY role"); len(rows) != 2 || rows[0][0] != "thief" || rows[1][0] != "waker" {
		t.Errorf("waits_view: %v", rows)
	}
}

func compareLedgers(t *testing.T, got, want []stats.Ledger, times uint64) {
	t.Helper()
	type at struct {
		tid   uint32
		place event.Op
	}
	byPlace := map[at]stats.Ledger{}
	for _, l := range want {
		for s := range l.NS {
			l.NS[s] *= times
			l.Count[s] *= times
		}
		byPlace[at{l.TID, l.Place}] = l
	}
	for _, l := range got {
		if w := byPlace[at{l.TID, l.Place}]; l != w {
			t.Errorf("ledger %+v, want %+v", l, w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d ledgers, want %d", len(got), len(want))
	}
}

// TestThreadsAreFolded checks that idle threads cost nothing and that no
// time is lost with them.
func TestThreadsAreFolded(t *testing.T) {
	w, path := create(t, Options{})
	w.Process(ProcessRow{Process: event.Process{PID: 100, Start: testStart - 9e9, Comm: "train", Rank: event.NoRank}})
	drained := map[int64][]stats.Ledger{}
	for s := testSecond; s < testSecond+100; s++ {
		var ledger []stats.Ledger
		place := event.Op(0)
		if s < testSecond+2 {
			place = event.Calls[0].ID // thread 101 makes calls at first
		}
		ledger = append(ledger, busyThread(100, 100, testStart-9e9, event.Calls[1].ID), idleThread(100, 101, testStart-8e9))
		ledger[1].Place = place
		for tid := uint32(102); tid < 200; tid++ {
			ledger = append(ledger, idleThread(100, tid, testStart-8e9))
		}
		ledger[10].NS[event.Runnable] = 2e6 // does something: 110
		var pairs []stats.Pair
		if s == testSecond+10 { // wakes and waits: 111 and 112, for the next minute
			pairs = []stats.Pair{{PID: 100, TID: 111, State: event.Lock, OtherPID: 100, OtherTID: 112, NS: 5, Count: 1}}
		}
		w.Books(s, ledger, pairs)
		drained[s] = ledger
		must(t, w.Flush())
	}
	must(t, w.Close())
	all := books(t, open(t, path), Filter{})
	if len(all) != 1 || len(all[0].Seconds) != 100 {
		t.Fatalf("%d processes", len(all))
	}
	for _, s := range all[0].Seconds {
		ns, count := spent(s.Ledger)
		if wantNS, wantCount := spent(drained[s.At]); ns != wantNS || count != wantCount {
			t.Fatalf("second %d: %v %v, want %v %v", s.At, ns, count, wantNS, wantCount)
		}
		var tids []uint32
		for _, l := range s.Ledger {
			tids = append(tids, l.TID)
		}
		want := []uint32{0, 100, 101, 110}
		if at := s.At - testSecond; at >= 10 && at < 70 {
			want = append(want, 111, 112)
		}
		if !reflect.DeepEqual(tids, want) {
			t.Fatalf("second %d: threads %v, want %v", s.At, tids, want)
		}
	}
}

func TestPIDsAreUsedAgain(t *testing.T) {
	w, path := create(t, Options{})
	first := event.Process{PID: 7, Start: testStart - 100e9, Comm: "first", Rank: event.NoRank}
	second := event.Process{PID: 7, Start: testStart + 5e9, Comm: "second", Rank: event.NoRank}
	w.Process(ProcessRow{Process: first})
	w.Books(testSecond, []stats.Ledger{busyThread(7, 8, testStart-50e9, event.Calls[0].ID)}, nil)
	w.Process(ProcessRow{Process: first, Ended: testStart + 4e9})
	w.Process(ProcessRow{Process: second})
	// Both in the same second: the last of the first, and the new one.
	w.Books(testSecond+5, []stats.Ledger{
		busyThread(7, 8, testStart-50e9, event.Calls[0].ID), busyThread(7, 7, second.Start, event.Calls[0].ID), busyThread(7, 9, second.Start+1e9, event.Calls[1].ID),
	}, []stats.Pair{{PID: 7, State: event.Runnable, OtherPID: 1, NS: 4, Count: 1}})
	// Nobody said anything of this one: a worker that makes no calls. Its
	// main thread is not the first in the list.
	third := int64(testStart + 20e9)
	w.Books(testSecond+20, []stats.Ledger{busyThread(50, 51, third+9e6, 0), busyThread(50, 50, third, 0)}, nil)
	must(t, w.Flush())
	w.Books(testSecond+21, []stats.Ledger{busyThread(50, 50, third, 0)}, nil)
	// Now it is heard of; /proc knows its start less well.
	w.Process(ProcessRow{Process: event.Process{PID: 50, Start: third - 7e6, Comm: "worker", Rank: event.NoRank}, Ended: third + 3e9})
	must(t, w.Flush())
	must(t, w.Close())
	all := books(t, open(t, path), Filter{})
	var got []string
	for _, p := range all {
		for _, s := range p.Seconds {
			for _, l := range s.Ledger {
				got = append(got, fmt.Sprint(p.Comm, " ", s.At-testSecond, " ", l.TID, " ", len(s.Pairs)))
			}
		}
	}
	want := []string{"first 0 8 0", "first 5 8 0", "second 5 7 1", "second 5 9 1", "worker 20 50 0", "worker 20 51 0", "worker 21 50 0"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEndedProcessesAreForgotten(t *testing.T) {
	now := time.Unix(testSecond, 0)
	w, _ := create(t, Options{Now: func() time.Time { return now }})
	for i := range 300 {
		p := ProcessRow{Process: event.Process{PID: uint32(i%7 + 1), Start: now.UnixNano(), Rank: event.NoRank}}
		w.Process(p)
		w.Books(now.Unix(), []stats.Ledger{busyThread(p.PID, p.PID, p.Start, event.Calls[0].ID)}, nil)
		must(t, w.Flush())
		now = now.Add(time.Second)
		p.Ended = now.UnixNano()
		w.Process(p)
		must(t, w.Flush())
	}
	if len(w.processes) > 62 || len(w.byPID) > 7 {
		t.Errorf("%d processes of %d numbers are remembered", len(w.processes), len(w.byPID))
	}
	must(t, w.Close())
}

func TestHostileBooksNeitherFailNorOverflow(t *testing.T) {
	w, path := create(t, Options{})
	bad := stats.Ledger{PID: math.MaxUint32, TID: math.MaxUint32, Start: math.MaxInt64, Comm: "\xff\x00x", Place: 0xffff}
	for s := range bad.NS {
		bad.NS[s], bad.Count[s], bad.Max[s] = math.MaxUint64, math.MaxUint64, math.MaxUint64
	}
	pair := stats.Pair{PID: math.MaxUint32, TID: 1, State: 255, OtherPID: math.MaxUint32, OtherComm: "\xff", NS: math.MaxUint64, Count: math.MaxUint64}
	for i := range 100 {
		w.Books(testSecond+int64(i/2), []stats.Ledger{bad, {}, bad}, []stats.Pair{pair, pair, {}})
		must(t, w.Flush())
	}
	for _, s := range []int64{-1, -61, testSecond + 200} {
		w.Books(s, []stats.Ledger{bad}, []stats.Pair{pair})
		must(t, w.Flush())
	}
	w.Snapshot(event.Snapshot{Time: 5, CPU: math.NaN(), Mem: math.Inf(1), PSICPU: math.NaN(), PSIMem: -1, PSIIO: 3, Cores: []float64{math.NaN(), 50}})
	w.GPU(event.GPUSample{Time: 5, GPU: -3, Util: math.NaN(), MemUsed: math.Inf(1), Temp: -1, Power: 70, Procs: []event.GPUProc{{PID: 3, Name: "\xff", Mem: math.NaN()}}})
	must(t, w.Close())
	r := open(t, path)
	for _, o := range []BookOptions{{}, {Minutes: true}} {
		all, err := r.BooksWith(context.Background(), Filter{From: math.MinInt64, To: math.MaxInt64}, o)
		must(t, err)
		if len(all) == 0 {
			t.Error("nothing comes back")
		}
	}
	shots, err := r.Snapshots(context.Background(), Filter{})
	must(t, err)
	if len(shots) != 1 || shots[0].CPU != 0 || shots[0].PSICPU != -1 || shots[0].PSIMem != -1 || shots[0].PSIIO != 3 || !reflect.DeepEqual(shots[0].Cores, []float64{0, 50}) {
		t.Errorf("snapshots %+v", shots)
	}
	gpus, err := r.GPU(context.Background(), Filter{})
	must(t, err)
	if len(gpus) != 1 || gpus[0].GPU != -3 || gpus[0].Util != -1 || gpus[0].MemUsed != -1 || gpus[0].Power != 70 || gpus[0].Temp != -1 || gpus[0].Procs[0].PID != 3 {
		t.Errorf("GPUs %+v", gpus)
	}
	// A file that others made.
	uri, err := dsn(path, "mode=rw")
	must(t, err)
	hostile(t, uri, `INSERT INTO ledger VALUES (9, -1, -1, 999, -5, 99, -1, -1, -1), (9, 1, -1, 999, -5, 99, -1, -1, 9223372036854775807),
		(9, 1, 9223372036854775807, 0, 0, -1, 9223372036854775807, 1, 1), (9, 1, 1, 0, 0, 0, 9223372036854775807, 1, 1);
		INSERT INTO waits VALUES (9, 1, -5, 77, -1, 1099511627776, '', -1, -1);
		INSERT INTO gpu_samples (timestamp, gpu, throttle, procs) VALUES (6, 0, 'a', '{"pid":[');
		UPDATE system_snapshots SET cores = '[1, "x"';`)
	all := books(t, r, Filter{To: 10e9})
	if len(all) == 0 {
		t.Error("the hostile file is not read")
	}
	if gpus, err := r.GPU(context.Background(), Filter{}); err != nil || len(gpus) != 2 || gpus[1].Procs != nil {
		t.Errorf("GPUs %+v, %v", gpus, err)
	}
	if shots, err := r.Snapshots(context.Background(), Filter{}); err != nil || shots[0].Cores != nil {
		t.Errorf("snapshots %+v, %v", shots, err)
	}
}

func TestMachineComesBack(t *testing.T) {
	w, path := create(t, Options{})
	shot := event.Snapshot{Time: testStart, CPU: 10, Mem: 20, MemAvail: 30, Swap: 40, Load: 50, PSICPU: 1, PSIMem: 0, PSIIO: 2.5, Cores: []float64{99.9, 0}}
	gpu := event.GPUSample{Time: testStart, GPU: 1, Util: 99, MemUsed: 1000, MemTotal: 80000, SMClock: 1980, SMMax: 1990, MemClock: 2600, Power: 400.5, Temp: 70,
		Throttle: "sw_power_cap,hw_slowdown", Procs: []event.GPUProc{{PID: 7, Name: "python", Mem: 900}, {PID: 8, Name: "other", Mem: -1}}}
	w.Snapshot(shot)
	w.GPU(gpu)
	must(t, w.Close())
	r := open(t, path)
	inside, outside := Filter{From: testStart, To: testStart + 1}, Filter{From: testStart + 1}
	if got, err := r.Snapshots(context.Background(), inside); err != nil || !reflect.DeepEqual(got, []event.Snapshot{shot}) {
		t.Errorf("snapshots %+v, %v", got, err)
	}
	if got, err := r.GPU(context.Background(), inside); err != nil || !reflect.DeepEqual(got, []event.GPUSample{gpu}) {
		t.Errorf("GPUs %+v, %v", got, err)
	}
	if got, err := r.GPU(context.Background(), outside); err != nil || got != nil {
		t.Errorf("GPUs outside %+v, %v", got, err)
	}
}

func TestManyThreadsAreForgotten(t *testing.T) {
	w, _ := create(t, Options{})
	w.Process(ProcessRow{Process: event.Process{PID: 1, Start: 1, Rank: event.NoRank}})
	for i := range 20_000 {
		w.Books(testSecond+int64(i/50), []stats.Ledger{busyThread(1, uint32(i+2), testStart, event.Calls[0].ID)}, nil)
		if i%1000 == 0 {
			must(t, w.Flush())
		}
	}
	if n := len(w.processes[processKey{1, 1}].threads); n > manyThreads+60*50 {
		t.Errorf("%d threads are remembered", n)
	}
	must(t, w.Close())
}

// hostile changes a database behind our back.
func hostile(t *testing.T, uri, text string) {
	t.Helper()
	db := openPlain(t, uri)
	if _, err := db.Exec(text); err != nil {
		t.Fatal(err)
	}
	must(t, db.Close())
}
