package query

import (
	"context"
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"ingero/internal/check"
	"ingero/internal/event"
	"ingero/internal/stats"
	"ingero/internal/store"
)

var base = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// asked writes a database and opens it for questions, asked a minute after
// base.
func asked(t *testing.T, write func(w *store.Writer)) *Asked {
	t.Helper()
	path := filepath.Join(t.TempDir(), "q.db")
	w, err := store.Create(path, store.Options{Node: "n", Now: func() time.Time { return base }})
	if err != nil {
		t.Fatal(err)
	}
	w.Process(store.ProcessRow{Process: event.Process{PID: 7, Start: base.UnixNano(), Comm: "job", Rank: event.Rank{Rank: 3, Local: 1, World: 4}}})
	write(w)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return &Asked{Data: r, Now: base.Add(time.Minute), Check: func(context.Context) check.Report { return check.Report{Schema: check.Schema, Checks: []check.Row{}} }}
}

func answer[A any](t *testing.T, a *Asked, name string, params ...string) A {
	t.Helper()
	q, ok := Find(name)
	if !ok {
		t.Fatal("no such question: ", name)
	}
	p := q.New()
	for _, text := range params {
		key, value, _ := strings.Cut(text, "=")
		if err := q.Set(p, key, value); err != nil {
			t.Fatal(err)
		}
	}
	got, err := q.Ask(t.Context(), a, p)
	if err != nil {
		t.Fatal(err)
	}
	return got.(A)
}

// Every row of the table can be offered by every surface: names are words,
// parameters have a description and can be set from text and from JSON, and
// an empty database has an answer.
func TestQuestions(t *testing.T) {
	a := asked(t, func(*store.Writer) {})
	seen := map[string]bool{}
	for i := range Questions {
		q := &Questions[i]
		if seen[q.Name] || seen[q.Tool] || strings.Trim(q.Name, "abcdefghijklmnopqrstuvwxyz-") != "" || !strings.HasSuffix(q.Doc, ".") {
			t.Errorf("%+v", q)
		}
		seen[q.Name], seen[q.Tool] = true, q.Tool != ""
		for _, p := range q.Params() {
			if p.Doc == "" || strings.Trim(p.Name, "abcdefghijklmnopqrstuvwxyz_") != "" {
				t.Errorf("%s: parameter %+v", q.Name, p)
			}
			text := map[string]string{"op": "cudaMalloc", "since": "5m", "from": "00:00", "to": "00:30"}[p.Name]
			if text == "" {
				text = "1"
			}
			if err := q.Set(q.New(), p.Name, text); err != nil {
				t.Errorf("%s: %v", q.Name, err)
			}
		}
		p := q.New()
		if q.Name == "sql" {
			if err := q.Set(p, "sql", "SELECT 1"); err != nil {
				t.Error(err)
			}
		}
		got, err := q.Ask(t.Context(), a, p)
		if err != nil || reflect.TypeOf(got) != q.AnswerType() {
			t.Errorf("%s: %T, %v", q.Name, got, err)
			continue
		}
		b, err := json.Marshal(got)
		if err != nil || strings.Contains(string(b), `s":null`) && q.Name != "overview" {
			t.Errorf("%s: %v: an empty list is [] and not null: %s", q.Name, err, b)
		}
	}
}

func TestParams(t *testing.T) {
	q, _ := Find("ops")
	for _, text := range []string{`{"pid": 7}`, `{"pid": [7]}`, `{"pid": "7"}`, `{"op": "cudaMalloc", "pid": 7, "per_process": true}`} {
		p := q.New()
		if err := q.Decode(p, []byte(text)); err != nil || !reflect.DeepEqual(p.(*opsParams).PIDs, PIDs{7}) {
			t.Errorf("%s: %+v, %v", text, p, err)
		}
	}
	for _, text := range []string{`{"pid": -7}`, `{"pid": {}}`, `{"op": "nothing"}`, `{"nothing": 1}`, `[]`, `{"pid": 1.5}`, `{"since": 5}`} {
		if err := q.Decode(q.New(), []byte(text)); !isParamError(err) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, x := range [][2]string{{"pid", "a"}, {"per_process", "maybe"}, {"nothing", "1"}, {"op", "nothing"}} {
		if err := q.Set(q.New(), x[0], x[1]); !isParamError(err) {
			t.Errorf("%v: %v", x, err)
		}
	}
	a := asked(t, func(*store.Writer) {})
	for _, since := range []string{"soon", "0s"} {
		p := q.New()
		if err := q.Set(p, "since", since); err != nil {
			t.Fatal(err)
		}
		if _, err := q.Ask(t.Context(), a, p); !isParamError(err) {
			t.Errorf("since %s: %v", since, err)
		}
	}
	s, _ := Find("sql")
	if _, err := s.Ask(t.Context(), a, s.New()); !isParamError(err) {
		t.Errorf("no SQL: %v", err)
	}
}

func isParamError(err error) bool {
	_, is := err.(ParamError)
	return is
}

func graphOp(t *testing.T, name string) event.Op {
	t.Helper()
	found := event.FindOps(name)
	if len(found) != 1 {
		t.Fatal("no such operation: ", name)
	}
	return found[0]
}

// The lives of three graphs: one is hot, one is captured while the first runs
// and hardly used, the handle of the third is that of a destroyed one.
func TestGraphs(t *testing.T) {
	a := asked(t, func(w *store.Writer) {
		at := base
		call := func(name string, handle uint64, depth uint8) {
			e := event.Event{Start: at.UnixNano(), Dur: 1e6, PID: 7, TID: 7, Op: graphOp(t, name), Handle: handle, Depth: depth, Rank: event.NoRank}
			w.Append([]event.Event{e})
			h := new(stats.Histogram)
			h.Add(1e6)
			w.Stats(at.Unix(), []stats.Calls{{PID: 7, Start: base.UnixNano(), Op: e.Op, Hist: h, Recorded: 1, Nested: uint64(min(depth, 1))}})
			at = at.Add(10 * time.Millisecond)
		}
		build := func(exec uint64) {
			call("graphBeginCapture", 0x5, 0)
			call("graphEndCapture", 0x5, 0)
			call("graphInstantiate", exec, 0)
			call("cuGraphInstantiateWithFlags", exec, 1) // the runtime passes it on
		}
		build(0xa)
		for range 9 {
			call("graphLaunch", 0xa, 0)
			call("cuGraphLaunch", 0xa, 1)
		}
		build(0xb)
		call("graphLaunch", 0xb, 0)
		call("graphExecDestroy", 0xa, 0)
		build(0xa)
	})
	g := answer[*GraphsAnswer](t, a, "graph-lifecycle")
	if len(g.Graphs) != 3 {
		t.Fatalf("%d graphs: %+v", len(g.Graphs), g.Graphs)
	}
	first, third := g.Graphs[0], g.Graphs[2]
	if first.Exec != "0xa" || first.Launches != 9 || first.LaunchNS != 9e6 || first.Destroyed == nil || !first.Captured.Equal(base) ||
		first.Capture != 11e6 || first.Instantiate != 1e6 || first.FirstLaunch.Sub(base) != 40*time.Millisecond {
		t.Errorf("%+v", first)
	}
	if third.Exec != "0xa" || third.Launches != 0 || third.FirstLaunch != nil || third.Destroyed != nil {
		t.Errorf("%+v", third)
	}
	if cut := answer[*GraphsAnswer](t, a, "graph-lifecycle", "limit=1"); len(cut.Graphs) != 1 || cut.Truncated == "" {
		t.Errorf("%+v", cut)
	}
	u := answer[*GraphFrequency](t, a, "graph-frequency")
	if u.Hot != 1 || u.Cold != 1 || u.Unused != 1 || u.Pool != 2 || u.Graphs[0].Share != 0.9 || u.Graphs[0].Heat != "hot" || u.Recapture < 1.9 {
		t.Errorf("%+v", u)
	}
	m := answer[*GraphMetrics](t, a, "graph-metrics", "since=1h")
	if m.Captures != 3 || m.Instantiated != 3 || m.Launches != 10 || m.Destroyed != 1 || m.Step != 30 || len(m.Series) != 1 || m.Series[0].Launches != 10 {
		t.Errorf("%+v", m)
	}
	if e := answer[*EventsAnswer](t, a, "graph-events", "limit=2"); len(e.Events) != 2 || e.Events[1].Handle != "0xa" {
		t.Errorf("%+v", e)
	}
}

// The series over time adds up to the ledger, thieves to what they took.
func TestLedgerAndThieves(t *testing.T) {
	launch := event.MakeOp(event.CUDA, 3)
	a := asked(t, func(w *store.Writer) {
		w.Place(store.Place{PID: 99, Comm: "hog", Cgroup: "/system.slice/hog"})
		for s := range int64(20) {
			in, out := stats.Ledger{PID: 7, TID: 7, Start: base.UnixNano(), Comm: "job", Place: launch}, stats.Ledger{PID: 7, TID: 7, Start: base.UnixNano(), Comm: "job"}
			in.NS[event.Running], out.NS[event.Running], out.NS[event.Runnable] = 200e6, 300e6, 500e6
			w.Books(base.Unix()+s, []stats.Ledger{in, out}, []stats.Pair{
				{PID: 7, State: event.Runnable, OtherPID: 99, OtherComm: "hog", NS: 500e6, Count: 5},
				{PID: 7, TID: 7, State: event.Lock, OtherPID: 7, OtherTID: 8, OtherComm: "job", NS: 1e6, Count: 1},
				{PID: 7, State: event.Disk, OtherPID: 98, OtherComm: "dd", NS: 2e6, Count: 1},
			})
			w.Drained(base.Unix()+s, 1e9)
		}
	})
	l := answer[*LedgerAnswer](t, a, "ledger", "since=1m", "points=12")
	if len(l.Processes) != 1 || *l.Processes[0].Rank != 3 || l.Step != 5 || len(l.Processes[0].Threads) != 1 {
		t.Fatalf("%+v", l)
	}
	th := l.Processes[0].Threads[0]
	var in, sum uint64
	for _, s := range th.Series {
		in += s.InCall
		for _, ns := range s.States {
			sum += ns
		}
	}
	if len(th.Series) != 4 || th.Wall != 20e9 || sum != th.Wall || in != 4e9 {
		t.Errorf("wall %d, series %d, in calls %d: %+v", th.Wall, sum, in, th.Series)
	}
	who := answer[*ThievesAnswer](t, a, "thieves", "since=1m").Thieves
	if len(who) != 3 || who[0].Role != "thief" || who[0].Comm != "hog" || who[0].NS != 10e9 || who[0].Count != 100 || who[0].Cgroup != "/system.slice/hog" ||
		who[1].Role != "rival" || who[2].Role != "waker" || who[2].VictimTID != 7 {
		t.Errorf("%+v", who)
	}
	if one := answer[*ThievesAnswer](t, a, "thieves", "since=1m", "limit=1").Thieves; len(one) != 1 {
		t.Errorf("%+v", one)
	}
}

// Snapshots are thinned by averages; what the machine does not say is null.
func TestSnapshots(t *testing.T) {
	a := asked(t, func(w *store.Writer) {
		for s := range int64(40) {
			w.Snapshot(event.Snapshot{Time: base.UnixNano() + s*1e9, CPU: float64(s % 2 * 100), Mem: 50, PSICPU: -1, PSIMem: 1, PSIIO: -1})
			w.GPU(event.GPUSample{Time: base.UnixNano() + s*1e9, GPU: 0, Util: 90, MemUsed: -1})
		}
	})
	s := answer[*SnapshotsAnswer](t, a, "snapshots", "since=1m", "points=10")
	if len(s.Snapshots) != 10 || s.Snapshots[3].CPU != 50 || s.Snapshots[9].PSICPU != nil || *s.Snapshots[9].PSIMem != 1 {
		t.Errorf("%+v", s.Snapshots)
	}
	if n := len(s.GPUs); n > 11 || *s.GPUs[n-1].Util != 90 || s.GPUs[n-1].MemUsed != nil {
		t.Errorf("%d: %+v", n, s.GPUs)
	}
	o := answer[*OverviewAnswer](t, a, "overview", "since=1m")
	if o.Snapshot == nil || !o.Snapshot.Time.Equal(base.Add(39*time.Second)) || len(o.GPUs) != 1 || o.Chains != 0 || o.Recording {
		t.Errorf("%+v", o)
	}
	for _, c := range answer[*CapabilitiesAnswer](t, a, "capabilities").Capabilities {
		if strings.HasPrefix(c.Name, "utilization") && (!c.Available || c.Tool != "") || strings.HasPrefix(c.Name, "SM occupancy") && (c.Available || c.Tool == "") {
			t.Errorf("%+v", c)
		}
	}
}
