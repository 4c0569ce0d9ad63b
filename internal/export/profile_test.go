package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/pprof/profile"

	"ingero/internal/event"
	"ingero/internal/query"
)

func TestPprofSaysWhatQuerySays(t *testing.T) {
	r := record(t)
	b, result := exported(t, "pprof", r, Options{})
	p, err := profile.ParseData(b)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][3]int64{} // count, time, lost
	for _, s := range p.Sample {
		x := got[s.Label["op"][0]]
		got[s.Label["op"][0]] = [3]int64{x[0] + s.Value[0], x[1] + s.Value[1], x[2] + s.Value[4]}
		if pid := s.NumLabel["pid"][0]; pid != 100 && pid != 200 || s.Label["comm"][0] != "python3" || s.Value[4] != s.Value[2]+s.Value[3] {
			t.Errorf("a sample with %v %v %v", s.Label, s.NumLabel, s.Value)
		}
	}
	total := uint64(0)
	for _, row := range sqlRows(t, r, "SELECT o.name, count(*), sum(duration), coalesce(sum(runnable_ns + blocked_ns), 0) FROM events e JOIN ops o ON o.source_id = e.source AND o.op_id = e.op WHERE e.source IN (1, 4) OR o.name = 'gap' GROUP BY 1") {
		want := [3]int64{row[1].(int64), row[2].(int64), row[3].(int64)}
		name := strings.Replace(row[0].(string), "gap", "between calls", 1)
		if got[name] != want {
			t.Errorf("%s: %v, in the recording %v", name, got[name], want)
		}
		total += uint64(want[0])
	}
	if result.Events != total || p.DefaultSampleType != "lost" || p.DurationNanos < testSeconds*1e9/2 {
		t.Errorf("%d events, want %d; %s, %d ns", result.Events, total, p.DefaultSampleType, p.DurationNanos)
	}
}

// The time of a call within another one counts once.
func TestOnlyOwnTime(t *testing.T) {
	frames := func(names ...string) (all []event.Frame) {
		for i, n := range names {
			all = append(all, event.Frame{IP: uint64(100*len(names) + i), Symbol: n + "+0x" + strconv.Itoa(i)})
		}
		return all
	}
	sumOf := func(op event.Op, pid uint32, ns int64, names ...string) stackSum {
		return stackSum{query.StackTime{Op: op, PID: pid, Total: ns, Runnable: ns / 10, Blocked: ns / 5}, frames(names...)}
	}
	all := []stackSum{
		sumOf(opSync, 1, 1000, "cudaStreamSynchronize", "step", "main"),
		sumOf(opDriver, 1, 800, "cuStreamSynchronize", "inside", "cudaStreamSynchronize", "step", "main"),
		sumOf(opDriver, 1, 300, "cuStreamSynchronize", "other", "main"),
		sumOf(opDriver, 2, 300, "cuStreamSynchronize", "inside", "cudaStreamSynchronize", "step", "main"),
		sumOf(opGap, 1, 500, "between calls", "cudaStreamSynchronize", "step", "main"),
	}
	onlyOwn(all)
	var got []int64
	for _, s := range all {
		got = append(got, s.Total, s.lost())
	}
	if want := "[200 60 800 240 300 90 300 90 500 150]"; fmt.Sprint(got) != want {
		t.Errorf("total and lost %v, want %v", got, want)
	}
}

func TestFolded(t *testing.T) {
	r := record(t)
	b, _ := exported(t, "folded", r, Options{Value: Lost})
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	var lost int64
	for _, line := range lines {
		at := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseInt(line[at+1:], 10, 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		lost += v
	}
	if want := sqlRows(t, r, "SELECT sum(runnable_ns + blocked_ns) FROM events WHERE source = 1 OR source = 3 AND op = 14")[0][0]; lost != want {
		t.Errorf("%d ns lost, want %d", lost, want)
	}
	if !strings.HasPrefix(lines[0], "PID 100;<module> (train.py:9);step (train.py:6);cudaStreamSynchronize (libcudart.so.12) ") &&
		!strings.HasPrefix(lines[0], "PID 200;<module> (train.py:9);") {
		t.Errorf("the most time is lost by %q", lines[0])
	}
}

func TestSpeedscope(t *testing.T) {
	r := record(t)
	b, _ := exported(t, "speedscope", r, Options{})
	var f speedscopeFile
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&f); err != nil {
		t.Fatal(err)
	}
	if len(f.Profiles) != 2 {
		t.Fatalf("%d profiles", len(f.Profiles))
	}
	for _, p := range f.Profiles {
		var all int64
		for i, s := range p.Samples {
			all += p.Weights[i]
			for _, frame := range s {
				if frame < 0 || frame >= len(f.Shared.Frames) {
					t.Fatalf("frame %d of %d", frame, len(f.Shared.Frames))
				}
			}
		}
		if all != p.End || all == 0 || len(p.Samples) != len(p.Weights) {
			t.Errorf("%s: weights of %d, end %d", p.Name, all, p.End)
		}
	}
}
