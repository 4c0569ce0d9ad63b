package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ingero/internal/store"
)

// chromeEvent is an event of a Chrome trace.
type chromeEvent struct {
	Phase string         `json:"ph"`
	PID   int64          `json:"pid"`
	TID   int64          `json:"tid"`
	Time  json.Number    `json:"ts"`
	Name  string         `json:"name"`
	Cat   string         `json:"cat"`
	ID    int64          `json:"id"`
	Stack string         `json:"sf"`
	Color string         `json:"cname"`
	Args  map[string]any `json:"args"`
}

type chromeFile struct {
	Other struct {
		Begin string `json:"begin_unix_ns"`
	} `json:"otherData"`
	Events []chromeEvent                            `json:"traceEvents"`
	Frames map[string]struct{ Name, Parent string } `json:"stackFrames"`
}

// nanos reads µs with decimals as ns, exactly.
func nanos(t *testing.T, n json.Number) int64 {
	t.Helper()
	whole, part, _ := strings.Cut(n.String(), ".")
	v, err := strconv.ParseInt(whole+(part + "000")[:3], 10, 64)
	if err != nil {
		t.Fatalf("the time %q: %v", n, err)
	}
	return v
}

func readChrome(t *testing.T, b []byte) *chromeFile {
	t.Helper()
	var f chromeFile
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&f); err != nil {
		t.Fatal(err)
	}
	return &f
}

func TestChromeIsTheSameTimeline(t *testing.T) {
	r := record(t)
	native, result := native(t)
	b, again := exported(t, "chrome", r, Options{})
	if again != result {
		t.Errorf("it says %+v, not %+v", again, result)
	}
	f := readChrome(t, b)
	begin, err := strconv.ParseInt(f.Other.Begin, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	phases := map[string]int{}
	for _, e := range f.Events {
		phases[e.Phase]++
	}
	for _, s := range checkChrome(t, f) {
		got = append(got, fmt.Sprintf("%d %d %s %s %v", begin+s.start, s.end-s.start, s.cat, s.name, s.args))
	}
	for _, s := range native.slices {
		want = append(want, fmt.Sprintf("%d %d %s %s %v", s.start, s.end-s.start, s.cat, s.name, s.args))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d slices, Perfetto's trace has %d, or they differ", len(got), len(want))
	}
	points := 0
	for _, f := range native.flows {
		points += len(f)
	}
	figures := 0
	for _, c := range native.counters {
		figures += len(c)
	}
	if phases["i"] != len(native.marks) || phases["C"] != figures || phases["s"]+phases["t"]+phases["f"] != points {
		t.Errorf("phases %v; Perfetto's trace has %d instants, %d values, %d ends of arrows", phases, len(native.marks), figures, points)
	}
}

// Nothing is before the time from which times count, or Perfetto drops it: not
// a ledger of which the window begins in the middle, nor a finding that was
// there already.
func TestChromeBegins(t *testing.T) {
	r := record(t)
	from := testBegin.UnixNano() + 25.5e9
	for _, o := range []Options{{}, {Filter: store.Filter{From: from, To: from + 20e9}}} {
		b, _ := exported(t, "chrome", r, o)
		for _, e := range readChrome(t, b).Events {
			if strings.HasPrefix(e.Time.String(), "-") {
				t.Fatalf("%s at %s", e.Name, e.Time)
			}
		}
	}
}

// checkChrome returns the slices, and checks that they lie within each other in
// the order of time, that stacks resolve, and colours.
func checkChrome(t *testing.T, f *chromeFile) (all []*readSlice) {
	t.Helper()
	open, last := map[[2]int64][]*readSlice{}, map[[2]int64]int64{}
	stacks, colours := map[string]int{}, map[string]int{}
	for _, e := range f.Events {
		if e.Color != "" {
			colours[e.Color]++
		}
		if e.Phase != "B" && e.Phase != "E" {
			continue
		}
		thread, at := [2]int64{e.PID, e.TID}, nanos(t, e.Time)
		if at < last[thread] {
			t.Fatalf("time of thread %v goes back from %d to %d", thread, last[thread], at)
		}
		last[thread] = at
		n := len(open[thread])
		if e.Phase == "E" {
			if n == 0 || open[thread][n-1].name != e.Name {
				t.Fatalf("an end of %s that is not open", e.Name)
			}
			open[thread][n-1].end, open[thread][n-1].args = at, e.Args
			open[thread] = open[thread][:n-1]
			continue
		}
		if e.Args != nil {
			t.Fatalf("speedscope would take %v for a part of the name %s", e.Args, e.Name)
		}
		s := &readSlice{start: at, name: e.Name, cat: e.Cat}
		all, open[thread] = append(all, s), append(open[thread], s)
		text := ""
		for id := e.Stack; id != ""; id = f.Frames[id].Parent {
			if f.Frames[id].Name == "" {
				t.Fatalf("the frame %s is not known", id)
			}
			text += f.Frames[id].Name + "; "
		}
		stacks[text]++
	}
	for thread, left := range open {
		if len(left) > 0 {
			t.Errorf("%d slices of thread %v never end", len(left), thread)
		}
	}
	if stacks["cudaStreamSynchronize (libcudart.so.12); step (train.py:6); <module> (train.py:9); "] != int(4*testSeconds) {
		t.Errorf("stacks %v", stacks)
	}
	if fmt.Sprint(colours) != "map[bad:2 good:2 terrible:2]" {
		t.Errorf("colours %v", colours)
	}
	return all
}
