package export

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ingero/internal/query"
	"ingero/internal/store"
)

func exported(t *testing.T, name string, r *store.Reader, o Options) ([]byte, Result) {
	t.Helper()
	format, err := Find(name)
	if err != nil {
		t.Fatal(err)
	}
	oldest, newest, err := r.Span(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o.Begin, o.End = oldest, newest+1
	if o.To != 0 {
		o.Begin, o.End = o.From, o.To
	}
	var b bytes.Buffer
	result, err := format.Write(t.Context(), r, o, &b)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), result
}

// whole is the timeline of the recording that all tests share, read back once.
var whole struct {
	once   sync.Once
	trace  *readTrace
	result Result
}

func native(t *testing.T) (*readTrace, Result) {
	t.Helper()
	whole.once.Do(func() {
		b, result := exported(t, "perfetto", record(t), Options{})
		whole.trace, whole.result = readPerfetto(t, b), result
	})
	if whole.trace == nil {
		t.Fatal("the timeline could not be read, as another test says")
	}
	return whole.trace, whole.result
}

func sqlRows(t *testing.T, r *store.Reader, text string) [][]any {
	t.Helper()
	table, err := query.SQL(t.Context(), r, text, store.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return table.Rows
}

// sum is what slices of a name add up to.
type sum struct {
	count uint64
	ns    int64
}

func TestPerfettoSaysWhatQuerySays(t *testing.T) {
	r := record(t)
	got, result := native(t)
	sums := map[string]sum{}
	for _, s := range append(slices.Clone(got.slices), got.marks...) {
		if s.cat == "state" || s.cat == "place" || s.cat == "finding" || s.cat == "wake" {
			continue
		}
		x := sums[s.name]
		ns := s.end - s.start
		if real, cut := s.args["duration_ns"]; cut {
			if ns > real.(int64) {
				t.Errorf("%s was made longer: %d ns instead of %d", s.name, ns, real)
			}
			ns = real.(int64)
		}
		sums[s.name] = sum{x.count + 1, x.ns + ns}
	}
	total := uint64(0)
	for _, row := range sqlRows(t, r, "SELECT o.name, count(*), sum(duration) FROM events e JOIN ops o ON o.source_id = e.source AND o.op_id = e.op GROUP BY 1") {
		name := strings.Replace(row[0].(string), "gap", "between calls", 1)
		want := sum{uint64(row[1].(int64)), row[2].(int64)}
		if sums[name] != want {
			t.Errorf("%s: %+v, in the recording %+v", name, sums[name], want)
		}
		total += want.count
	}
	ops, err := query.Ops(t.Context(), r, query.OpsParams{Filter: store.Filter{To: math.MaxInt64 / 2}})
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range ops.Ops {
		if name := strings.Replace(op.Op, "gap", "between calls", 1); sums[name].count != op.Recorded {
			t.Errorf("%s: %d, 'ingero query' has %d recorded", name, sums[name].count, op.Recorded)
		}
	}
	if result.Events != total || result.Chains != 3 || result.Cut == 0 {
		t.Errorf("it says %+v of %d events", result, total)
	}
	t.Logf("%d packets, %d slices, %d tracks, %d cut", got.packets, len(got.slices), len(got.tracks), result.Cut)
}

func TestPerfettoTracks(t *testing.T) {
	got, _ := native(t)
	var processes, threads []string
	for _, x := range got.tracks {
		if x.isProcess {
			processes = append(processes, fmt.Sprintf("%d %s", x.pid, x.process))
		}
		if x.isThread {
			threads = append(threads, fmt.Sprintf("%d/%d %s", x.pid, x.tid, x.name))
		}
	}
	slices.Sort(processes)
	slices.Sort(threads)
	if want := "100 node-1 (rank 0) python3, 1073741825 machine, 200 node-1 (rank 1) python3"; strings.Join(processes, ", ") != want {
		t.Errorf("processes %q, want %q", strings.Join(processes, ", "), want)
	}
	if want := "100/100 python3, 100/101 python3, 200/200 python3, 200/201 python3"; strings.Join(threads, ", ") != want {
		t.Errorf("threads %q, want %q", strings.Join(threads, ", "), want)
	}
	nested, stacked := 0, 0
	for _, s := range got.slices {
		if s.name == "cuLaunchKernel" && s.depth == 1 && s.args["handle"] == "0xfff0" {
			nested++
		}
		if s.name == "cudaStreamSync" && slices.Equal(s.stack, []string{"<module>", "step", "cudaStreamSynchronize"}) &&
			s.args["ret_code"] == int64(0) && s.args["runnable_ns"] == int64(1000) {
			stacked++
		}
		if s.name == "cudaMalloc" && (s.args["bytes"] != int64(1<<20) || s.args["ret_code"] != int64(2)) {
			t.Fatalf("cudaMalloc with %v", s.args)
		}
	}
	if nested < int(20*4*testSeconds/2) || stacked != int(4*testSeconds) {
		t.Errorf("%d nested calls of the driver, %d waits with their stack", nested, stacked)
	}
	for id, values := range got.counters {
		if len(values) != int(testSeconds) {
			t.Errorf("%d values of %s, not one a second", len(values), got.tracks[id].name)
		}
	}
	if len(got.counters) != 7+4 { // without the pressure on I/O and clocks, which are not known
		t.Errorf("%d figures", len(got.counters))
	}
}

// The states of a thread follow each other without a hole, and are as long as
// the ledger has them.
func TestPerfettoStates(t *testing.T) {
	r := record(t)
	got, _ := native(t)
	sums, begins, ends := map[string]int64{}, map[uint64]int64{}, map[uint64]int64{}
	var state *readSlice
	for _, s := range got.slices {
		track := got.tracks[s.track]
		switch s.cat {
		case "state":
			if end, known := ends[s.track]; known && end != s.start {
				t.Fatalf("%s: a state begins at %d, the one before ended at %d", track.name, s.start, end)
			} else if !known {
				begins[s.track] = s.start
			}
			ends[s.track], state = s.end, s
		case "place":
			if s.track != state.track || s.start < state.start || s.end > state.end {
				t.Fatalf("a place outside of its state on %s", track.name)
			}
			thread := got.tracks[track.parent]
			sums[fmt.Sprintf("%d %s %s", thread.tid, s.name, strings.TrimPrefix(state.name, "blocked: "))] += s.end - s.start
		}
	}
	q, _ := query.Find("ledger")
	params := q.New()
	if err := json.Unmarshal([]byte(`{"from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z"}`), params); err != nil {
		t.Fatal(err)
	}
	answer, err := q.Ask(t.Context(), &query.Asked{Data: r, Now: testBegin}, params)
	if err != nil {
		t.Fatal(err)
	}
	cells, life := 0, map[uint32]int64{}
	for _, p := range answer.(*query.LedgerAnswer).Processes {
		for _, th := range p.Threads {
			for _, c := range th.Ledger {
				cells++
				life[th.TID] += int64(c.NS)
				if key := fmt.Sprintf("%d %s %s", th.TID, c.Place, c.State); sums[key] != int64(c.NS) {
					t.Errorf("%s: %d ns, 'ingero query ledger' has %d", key, sums[key], c.NS)
				}
			}
		}
	}
	if cells != len(sums) || cells < 4*9 {
		t.Errorf("%d cells in the ledger, %d in the export", cells, len(sums))
	}
	for id, begin := range begins {
		if ns, tid := ends[id]-begin, uint32(got.tracks[got.tracks[id].parent].tid); ns != life[tid] {
			t.Errorf("thread %d: its states last %d ns, 'ingero query ledger' has %d", tid, ns, life[tid])
		}
	}
	if len(begins) != len(life) {
		t.Errorf("%d threads with states, %d in the ledger", len(begins), len(life))
	}
	for tid, ns := range life {
		// Drains are up to 2 ms off a second.
		if math.Abs(float64(ns-testSeconds*1e9)) > 20e6*math.Sqrt(float64(testSeconds)) {
			t.Errorf("thread %d: %d ns", tid, ns)
		}
	}
}

func TestPerfettoArrows(t *testing.T) {
	r := record(t)
	got, _ := native(t)
	kinds := map[string]int{}
	for _, id := range got.flowIDs {
		points := got.flows[id]
		var names []string
		slices.SortStableFunc(points, func(a, b readPoint) int { return cmp.Compare(a.at, b.at) })
		for i, p := range points {
			track := got.tracks[p.track]
			if parent := got.tracks[track.parent]; parent != nil && parent.isThread {
				track = parent
			}
			names = append(names, fmt.Sprintf("%s of %d", strings.SplitN(p.in, ":", 2)[0], track.tid))
			if p.ends != (i == len(points)-1) {
				t.Fatalf("flow %d ends at point %d of %d: %+v", id, i+1, len(points), points)
			}
		}
		kinds[strings.Join(names, " → ")]++
	}
	want := map[string]int64{"woke python3 of 101 → blocked of 100": testSeconds, "woke python3 of 201 → blocked of 200": testSeconds}
	for i, severity := range []string{"HIGH", "MEDIUM", "LOW"} {
		from := testBegin.Add(time.Duration(20+10*i) * time.Second).UnixNano()
		slowest := sqlRows(t, r, fmt.Sprintf("SELECT tid FROM events WHERE pid = 100 AND source = 1 AND op = 5 AND timestamp BETWEEN %d AND %d ORDER BY duration DESC LIMIT 1", from, from+int64(8e9)))[0][0]
		want[fmt.Sprintf("[%[1]s] cpu_contention of 0 → cudaStreamSync of %[2]d → [%[1]s] cpu_contention of 0", severity, slowest)] = 1
	}
	if fmt.Sprint(kinds) != fmt.Sprint(want) {
		t.Errorf("arrows %v, want %v", kinds, want)
	}
}

func TestWindowAndProcess(t *testing.T) {
	r := record(t)
	from := testBegin.UnixNano() + 10e9
	b, result := exported(t, "perfetto", r, Options{Filter: store.Filter{From: from, To: from + 5e9, PIDs: []uint32{200}}})
	got := readPerfetto(t, b)
	for _, s := range got.slices {
		if s.start < from || s.start > from+5e9+1e9 {
			t.Fatalf("%s at %d, outside of the window", s.name, s.start)
		}
	}
	for _, x := range got.tracks {
		if x.isProcess && x.pid != 200 && x.process != "machine" {
			t.Errorf("process %d is there", x.pid)
		}
	}
	if want := sqlRows(t, r, fmt.Sprintf("SELECT count(*) FROM events WHERE pid = 200 AND timestamp >= %d AND timestamp < %d", from, from+int64(5e9)))[0][0]; int64(result.Events) != want {
		t.Errorf("%d events, want %d", result.Events, want)
	}
}

// Perfetto's own definitions read the trace.
func TestPublishedMessages(t *testing.T) {
	dir := os.Getenv("PERFETTO_PROTOS")
	if dir == "" {
		t.Skip("needs protoc and a checkout of https://github.com/google/perfetto: PERFETTO_PROTOS=its folder")
	}
	got, _ := native(t)
	b, _ := exported(t, "perfetto", record(t), Options{})
	cmd := exec.CommandContext(t.Context(), "protoc", "-I"+dir, "--decode", "perfetto.protos.Trace", filepath.Join(dir, "protos/perfetto/trace/perfetto_trace.proto"))
	cmd.Stdin, cmd.Stderr = bytes.NewReader(b), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	unknown := regexp.MustCompile(`^ *[0-9]+[:{ ]`) // what a definition does not know is printed as a number
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "packet {" || line == "track_descriptor {" || strings.HasPrefix(line, "type: ") || strings.HasPrefix(line, "primary_trace_clock: ") {
			counts[line]++
		}
		if unknown.MatchString(line) {
			t.Fatalf("there are fields that are not defined: %s", line)
		}
	}
	if err := errors.Join(lines.Err(), cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	values := 0
	for _, v := range got.counters {
		values += len(v)
	}
	want := map[string]int{
		"packet {": got.packets, "track_descriptor {": len(got.tracks), "primary_trace_clock: BUILTIN_CLOCK_REALTIME": 1,
		"type: TYPE_SLICE_BEGIN": len(got.slices), "type: TYPE_SLICE_END": len(got.slices), "type: TYPE_INSTANT": len(got.marks), "type: TYPE_COUNTER": values,
	}
	if !maps.Equal(counts, want) {
		t.Errorf("protoc prints %v, want %v", counts, want)
	}
}

// A failing writer ends the export, soon.
func TestWriterFails(t *testing.T) {
	r := record(t)
	for _, f := range Formats {
		if f.NeedsFile() {
			continue
		}
		_, err := f.Write(t.Context(), r, Options{Begin: testBegin.UnixNano(), End: testBegin.UnixNano() + testSeconds*1e9}, failing{})
		if err == nil || !strings.Contains(err.Error(), "no more") {
			t.Errorf("%s: error %v", f.Name, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := f.Write(ctx, r, Options{Begin: testBegin.UnixNano(), End: testBegin.UnixNano() + 1}, &bytes.Buffer{}); err == nil {
			t.Errorf("%s: went on after it was canceled", f.Name)
		}
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, fmt.Errorf("no more room") }

// Recordings of an older ingero, from several nodes, whose numbers of processes
// may be the same.
func TestOldRecordings(t *testing.T) {
	files, err := filepath.Glob("../../../shared/recordings/*.db")
	if err != nil || len(files) == 0 {
		t.Skip("the recordings are not here: shared/recordings beside the checkout")
	}
	for _, file := range files {
		r, err := store.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		b, result := exported(t, "perfetto", r, Options{})
		got := readPerfetto(t, b)
		if want := sqlRows(t, r, "SELECT count(*) FROM events")[0][0]; int64(result.Events) != want {
			t.Errorf("%s: %d events, want %d", file, result.Events, want)
		}
		t.Logf("%s: %d events, %d slices, %d cut, %d findings", filepath.Base(file), result.Events, len(got.slices), result.Cut, result.Chains)
		b, _ = exported(t, "chrome", r, Options{})
		if n := len(readChrome(t, b).Events); n < len(got.slices) {
			t.Errorf("%s: %d events in Chrome's form", file, n)
		}
	}
}
