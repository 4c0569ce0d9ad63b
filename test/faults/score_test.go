package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// canned is an answer in the form of DESIGN.md 6.2, with oddities that must
// not matter.
const canned = `{"schema":"explain/1","window":{"seconds":15},"coverage":{"calls":1},
"processes":[{"pid":7,"comm":"workload","threads":[
  {"tid":7,"comm":"workload","wall_ns":15000000000,"ledger":[],"unaccounted_share":-0.004},
  {"tid":8,"comm":"brief","wall_ns":1000,"unaccounted_share":0.9}]}],
"chains":[
  {"id":"a","severity":"HIGH","started_at":"2026-01-01T00:00:10.5Z","ended_at":"2026-01-01T00:00:16Z","ongoing":false,
   "cause":{"kind":"cpu_contention","summary":"hog ran","culprits":[{"pid":99,"comm":"hog","ns":2000000000,"share":1}]},
   "symptom":{"pid":7,"tid":7,"comm":"workload"},"impact":{"lost_ns":2100000000,"share":0.35},"explained_share":0.9,"timeline":null},
  {"id":"b","severity":"medium","started_at":"2026-01-01T00:00:11Z","cause":{"kind":"gpu_bound","culprits":null},"symptom":{"pid":7},"impact":{"lost_ns":5}},
  {"id":"c","severity":"LOW","cause":{"kind":"block_io"},"symptom":{"pid":7},"impact":"none"}]}`

func cannedScene(t *testing.T, c Case) (*scene, explanation, period) {
	t.Helper()
	e, err := parseExplanation([]byte(canned))
	if err != nil {
		t.Fatal(err)
	}
	at := func(s float64) time.Time {
		return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(s * 1e9))
	}
	s := &scene{c: c, pids: []int{7}, helpers: []*helper{{name: "hog", pid: 99}}, said: []line{
		{at(3), "probes attached: 3"},
		{at(12.5), "finding: HIGH cpu_contention PID 7 (workload): hog ran on its CPU"},
		{at(16.5), "finding ended: cpu_contention PID 7 (workload)"},
	}}
	return s, e, period{start: at(4), from: at(10), to: at(16), end: at(19)}
}

func TestScoreFault(t *testing.T) {
	s, e, p := cannedScene(t, Case{Kinds: []string{"cpu_contention"}, Culprit: "hog"})
	r := Result{Fault: true, Lost: 2 * time.Second}
	s.score(&r, e, p)
	if !r.KindRight || !r.CulpritRight || r.LostSaid != 2100*time.Millisecond || r.Found != 2500*time.Millisecond {
		t.Errorf("kind %v, culprit %v, lost %v, found %v", r.KindRight, r.CulpritRight, r.LostSaid, r.Found)
	}
	if r.LossError < 0.049 || r.LossError > 0.051 || r.Unaccounted != 0.004 {
		t.Errorf("loss error %v, unaccounted %v", r.LossError, r.Unaccounted)
	}
	if !slices.Equal(r.False, []string{"MEDIUM gpu_bound"}) {
		t.Errorf("false findings %v", r.False)
	}
	if got := strings.Join(r.problems(), "; "); got != "false: MEDIUM gpu_bound" {
		t.Errorf("problems: %s", got)
	}
}

func TestScoreWrong(t *testing.T) {
	s, e, p := cannedScene(t, Case{Kinds: []string{"block_io"}, Culprit: "diskhog"})
	r := Result{Fault: true, Lost: 2 * time.Second}
	s.score(&r, e, p)
	if r.KindRight || r.CulpritRight || r.Found != -1 || len(r.False) != 3 || len(r.problems()) != 5 {
		t.Errorf("kind %v, culprit %v, found %v, false %v: %v", r.KindRight, r.CulpritRight, r.Found, r.False, r.problems())
	}
}

func TestScoreHealthy(t *testing.T) {
	s, e, p := cannedScene(t, Case{Allow: []string{"gpu_bound"}})
	var r Result
	s.score(&r, e, p)
	if !slices.Equal(r.False, []string{"HIGH cpu_contention", "live HIGH cpu_contention"}) {
		t.Errorf("false findings %v", r.False)
	}
	e.chains, s.said = nil, nil
	r = Result{}
	s.score(&r, e, p)
	if len(r.problems()) != 0 {
		t.Errorf("no finding, and yet %v", r.problems())
	}
}

// A finding before its cause is a false one.
func TestScoreEarly(t *testing.T) {
	s, e, p := cannedScene(t, Case{Kinds: []string{"cpu_contention"}, Allow: []string{"gpu_bound"}})
	p.from = p.from.Add(3 * time.Second)
	r := Result{Fault: true, Lost: 2 * time.Second}
	s.score(&r, e, p)
	if !slices.Equal(r.False, []string{"HIGH cpu_contention too early", "live HIGH cpu_contention"}) {
		t.Errorf("false findings %v", r.False)
	}
}

func TestLost(t *testing.T) {
	// 100 steps a second for 10 s, then 25, then 100 again; a second process
	// goes on evenly.
	var text strings.Builder
	at := time.Unix(1_800_000_000, 0)
	steps := 0.0
	for i := range 200 {
		now := at.Add(time.Duration(i) * 100 * time.Millisecond)
		if i >= 100 && i < 160 {
			steps += 2.5
		} else {
			steps += 10
		}
		writeMark(&text, 7, now, int(steps))
		writeMark(&text, 8, now, 10*i)
	}
	file := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	log, err := readLog(file)
	if err != nil {
		t.Fatal(err)
	}
	p := period{start: at, from: at.Add(10 * time.Second), to: at.Add(16 * time.Second), end: at.Add(20 * time.Second)}
	if got := log.lost(p).Seconds(); got < 4.4 || got > 4.6 {
		t.Errorf("lost %.2f s of 6 at a quarter of the pace", got)
	}
	p.reference = map[int]float64{0: 20e6, 1: 10e6} // at half the pace
	if got := log.lost(p).Seconds(); got < 2.8 || got > 3.1 {
		t.Errorf("lost %.2f s of 6 at half of the reference", got)
	}
}

func writeMark(w *strings.Builder, pid int, at time.Time, steps int) {
	for _, n := range []int64{int64(pid), at.UnixNano(), int64(steps)} {
		w.WriteString(strconv.FormatInt(n, 10))
		w.WriteString(" ")
	}
	w.WriteString("\n")
}

func TestSummary(t *testing.T) {
	s := sum([]Result{
		{Fault: true, KindRight: true, CulpritAsked: true, CulpritRight: true, LossAsked: true, LossError: -0.1, Found: 2 * time.Second, Unaccounted: 0.002},
		{Fault: true, KindRight: false, LossAsked: true, LossError: 0.4, Found: -1, False: []string{"x"}},
		{Fault: false},
		{Fault: false, False: []string{"y"}},
		{Error: "x"}, {Uncovered: "y"},
	})
	want := summary{kind: count{1, 2}, culprit: count{1, 1}, loss: count{1, 2}, found: count{1, 2}, quiet: count{1, 2},
		worstLoss: 0.4, unaccounted: 0.002, slowest: 2 * time.Second, falseInFaults: 1, failed: 1, uncovered: 1}
	if s != want {
		t.Errorf("got %+v, want %+v", s, want)
	}
}

// Every case says what it is, and asks for something that exists.
func TestCases(t *testing.T) {
	kinds := strings.Fields("cpu_contention cpu_throttled memory_reclaim page_fault block_io network_wait lock_wait gpu_bound " +
		"gpu_contention memcpy_bound alloc_churn graph_recapture graph_pool cold_start oom_kill tcp_retransmit gpu_throttled " +
		"process_hang noisy_neighbor straggler unexplained")
	seen := map[string]bool{}
	faults, healthy := 0, 0
	for _, c := range cases() {
		if c.Name == "" || c.Text == "" || seen[c.Name] {
			t.Errorf("%q: no name, no text, or twice", c.Name)
		}
		seen[c.Name] = true
		for _, k := range slices.Concat(c.Kinds, c.Allow) {
			if !slices.Contains(kinds, k) {
				t.Errorf("%s: %q is no kind of cause", c.Name, k)
			}
		}
		if c.isFault() {
			faults++
		} else {
			healthy++
		}
		if strings.HasPrefix(c.Name, "healthy/") == c.isFault() {
			t.Errorf("%s: is it healthy or not?", c.Name)
		}
	}
	if faults < 16 || healthy < 10 {
		t.Errorf("%d faults and %d healthy cases", faults, healthy)
	}
	report(nil, 1)
}
