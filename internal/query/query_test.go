package query

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
	"ingero/internal/store"
)

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	good := map[string]time.Duration{
		"90s": 90 * time.Second, "1h30m": 90 * time.Minute, "2d": 2 * day, "1w": 7 * day, "3d12h": 84 * time.Hour,
		"1.5h": 90 * time.Minute, "500ms": 500 * time.Millisecond, "0": 0,
	}
	for text, want := range good {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "soon", "-1h", "5", "1h-30m", "99999999w"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func TestParseTime(t *testing.T) {
	zone := time.FixedZone("test", 2*3600)
	now := time.Date(2026, 3, 4, 16, 0, 0, 0, zone)
	good := map[string]time.Time{
		"15:40":                  time.Date(2026, 3, 4, 15, 40, 0, 0, zone),
		"15:40:05":               time.Date(2026, 3, 4, 15, 40, 5, 0, zone),
		"2026-01-02 03:04":       time.Date(2026, 1, 2, 3, 4, 0, 0, zone),
		"2026-01-02 03:04:05.25": time.Date(2026, 1, 2, 3, 4, 5, 250e6, zone),
		"2026-01-02":             time.Date(2026, 1, 2, 0, 0, 0, 0, zone),
		"2026-01-02T03:04:05Z":   time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	for text, want := range good {
		if got, err := ParseTime(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "25:00", "yesterday", "2026-13-01"} {
		if got, err := ParseTime(text, now); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func TestParseWindow(t *testing.T) {
	now := time.Date(2026, 3, 4, 16, 0, 0, 0, time.UTC)
	cases := []struct{ since, from, to, begin, end, fail string }{
		{since: "1h", begin: "15:00", end: "16:00"},
		{since: "30m", to: "15:00", begin: "14:30", end: "15:00"},
		{from: "15:40", to: "15:45", begin: "15:40", end: "15:45"},
		{from: "15:40", begin: "15:40", end: "16:00"},
		{from: "15:45", to: "15:40", fail: "empty"},
		{from: "17:00", fail: "empty"},
		{since: "0s", fail: "empty"},
		{since: "1h", from: "15:00", fail: "not both"},
		{since: "x", fail: "duration"},
		{to: "x", fail: "time"},
	}
	for _, c := range cases {
		a, b, err := ParseWindow(c.since, c.from, c.to, now)
		if c.fail != "" {
			if err == nil || !strings.Contains(err.Error(), c.fail) {
				t.Errorf("%+v: error %v", c, err)
			}
			continue
		}
		begin, _ := ParseTime(c.begin, now)
		end, _ := ParseTime(c.end, now)
		if err != nil || a != begin.UnixNano() || b != end.UnixNano() {
			t.Errorf("%+v: got %d %d %v", c, a, b, err)
		}
	}
	if a, b, err := ParseWindow("", "", "", now); a != 0 || b != 0 || err != nil {
		t.Errorf("no flags: %d %d %v", a, b, err)
	}
}

func TestShortDuration(t *testing.T) {
	for ns, want := range map[int64]string{
		0: "0ns", 900: "900ns", 999: "999ns", 1000: "1.0us", 4200: "4.2us", 9960: "10us", 10900: "11us",
		999_499: "999us", 999_500: "1.0ms", 4_200_000: "4.2ms", 48_300_000: "48ms", 3_141_000_000: "3.1s", 61_000_000_000: "61s",
	} {
		if got := ShortDuration(ns); got != want {
			t.Errorf("%d: got %q, want %q", ns, got, want)
		}
	}
}

func TestEventJSON(t *testing.T) {
	e := event.Event{Start: 1767225600_000000001, Dur: 10900, PID: 7, TID: 8, Op: event.MakeOp(event.Driver, 1),
		Handle: 0x7f00, Ret: 2, Comm: "a\"b", Rank: event.NoRank, Runnable: 900, Blocked: 4000}
	check := func(j EventJSON, want string) {
		t.Helper()
		got, err := json.Marshal(j)
		if err != nil || string(got) != want {
			t.Errorf("got %s, %v\nwant %s", got, err, want)
		}
	}
	check(EncodeEvent(e, "n", nil), `{"timestamp":"2026-01-01T00:00:00.000000001Z","pid":7,"tid":8,"comm":"a\"b","source":"driver","op":"cuLaunchKernel","duration_ns":10900,"duration":"11us","bytes":0,"handle":"0x7f00","ret_code":2,"running_ns":6000,"runnable_ns":900,"blocked_ns":4000,"node":"n","rank":null}`)
	e.Runnable, e.Blocked = -1, -1 // not measured
	e.Rank.Rank, e.Op, e.Bytes = 3, event.MakeOp(event.CUDA, 1), 4096
	check(EncodeEvent(e, "", []event.Frame{{PyFile: "train.py", PyFunc: "main", PyLine: 13}}), `{"timestamp":"2026-01-01T00:00:00.000000001Z","pid":7,"tid":8,"comm":"a\"b","source":"cuda","op":"cudaMalloc","duration_ns":10900,"duration":"11us","bytes":4096,"handle":"0x7f00","ret_code":2,"stack":[{"ip":"0x0","py_file":"train.py","py_func":"main","py_line":13}],"node":"","rank":3}`)
}

// fake is a Source without a database.
type fake struct {
	totals         store.Totals
	cover          store.Coverage
	oldest, newest int64
	sessions       []store.SessionRow
}

func (f *fake) Totals(context.Context, store.Filter, bool) (*store.Totals, error) {
	return &f.totals, nil
}
func (f *fake) Events(context.Context, store.Filter, int) ([]store.Stored, error) { return nil, nil }
func (f *fake) Stacks(context.Context, []uint64) (map[uint64][]event.Frame, error) {
	return nil, nil
}
func (f *fake) Coverage(context.Context, store.Filter) (*store.Coverage, error) { return &f.cover, nil }
func (f *fake) Span(context.Context) (int64, int64, error)                      { return f.oldest, f.newest, nil }
func (f *fake) Sessions(context.Context) ([]store.SessionRow, error)            { return f.sessions, nil }

func TestOpsAddUp(t *testing.T) {
	row := func(code uint8, n int, lost uint64) store.Total {
		c := stats.Calls{PID: 5, Op: event.MakeOp(event.CUDA, code), Nested: 1, Recorded: 2, Lost: lost, Hist: new(stats.Histogram)}
		for i := range n {
			c.Hist.Add(uint64(1000 * (i + 1)))
		}
		return store.Total{Calls: c, Comm: "c", Node: "n"}
	}
	f := &fake{totals: store.Totals{Rows: []store.Total{row(5, 10, 1), row(3, 100, 0)}}, cover: store.Coverage{Lost: 4}}
	a, err := Ops(context.Background(), f, OpsParams{Filter: store.Filter{From: 1e9, To: 3e9}})
	if err != nil {
		t.Fatal(err)
	}
	if a.Coverage.Calls != 110 || a.Coverage.Recorded != 4 || *a.Coverage.Lost != 5 || a.Window.Seconds != 2 {
		t.Errorf("%+v %+v", a.Coverage, a.Window)
	}
	first := a.Ops[0]
	if first.Op != "cudaLaunchKernel" || first.Class != "launch" || first.Count != 100 || first.Max != 100_000 || first.PID != nil ||
		a.Ops[1].Op != "cudaStreamSync" || a.Ops[1].Function != "cudaStreamSynchronize" {
		t.Errorf("%+v", a.Ops)
	}
	if d := float64(first.P50) / 50_000; d < 0.989 || d > 1.011 {
		t.Errorf("p50 %d", first.P50)
	}
	f.totals.Sampled = true
	a, err = Ops(context.Background(), f, OpsParams{PerProcess: true})
	if err != nil || a.Coverage.Lost != nil || a.Ops[0].Lost != nil || *a.Ops[0].PID != 5 || *a.Ops[0].Comm != "c" {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestDefaultWindow(t *testing.T) {
	now := time.Unix(100_000, 0)
	at := func(s int64) int64 { return s * 1e9 }
	session := func(node string, started int64) store.SessionRow {
		return store.SessionRow{Node: node, Started: at(started)}
	}
	cases := []struct {
		name     string
		f        fake
		from, to int64
		why      string
	}{
		{"nothing", fake{}, at(96_400), at(100_000), "the last hour"},
		{"live", fake{oldest: at(10), newest: at(99_999)}, at(96_400), at(100_000), "the last hour"},
		{"old", fake{oldest: at(10), newest: at(5000), sessions: []store.SessionRow{session("a", 11)}}, at(10), at(5000) + 1, "the last session; nothing"},
		{"second", fake{oldest: at(10), newest: at(5000), sessions: []store.SessionRow{session("a", 11), session("a", 4000)}}, at(4000), at(5000) + 1, "the last session; nothing"},
		{"merged", fake{oldest: at(10), newest: at(5000), sessions: []store.SessionRow{session("a", 11), session("a", 3000), session("b", 4000)}}, at(3000), at(5000) + 1, "each of 2 nodes"},
		{"no sessions", fake{oldest: at(10), newest: at(5000)}, at(10), at(5000) + 1, "the last session"},
	}
	for _, c := range cases {
		from, to, why, err := DefaultWindow(context.Background(), &c.f, now, time.Hour)
		if err != nil || from != c.from || to != c.to || !strings.Contains(why, c.why) {
			t.Errorf("%s: got %d %d %q %v, want %d %d %q", c.name, from, to, why, err, c.from, c.to, c.why)
		}
	}
}
