package scenario

import (
	"strings"
	"testing"

	"ingero/internal/event"
)

func TestParse(t *testing.T) {
	s, err := Parse(`
# a comment
process 7 job parent 1 container abc rank 3 of 4 started 5
stack s cudaMalloc+0x4 (libcudart.so.12) | [Python] train.py:142 in forward()
second 10 to 11
calls cudaMalloc 3 each 2ms bytes 100
calls cudaMalloc 1 each 5ms slowest 9ms nested 1
ledger 7 cudaMalloc running 6ms runnable 9ms
ledger 7 between running 985ms
thief 9 hog 9ms in 3
system cpu 50 mem 40 load 1.5 swap 3 free 100
second 11
event cudaMalloc 7 9ms at 100ms runnable 8ms blocked 1ms bytes 64 stack s
`)
	if err != nil {
		t.Fatal(err)
	}
	p := s.Processes[1]
	if p.PID != 7 || p.PPID != 1 || p.Container != "abc" || p.Rank.Rank != 3 || p.Rank.World != 4 || p.Start != 5e9 || len(p.Seconds) != 2 || s.To != 12 {
		t.Fatalf("%+v", s)
	}
	if c := p.Seconds[0].Calls; len(c) != 1 || c[0].Hist.Count() != 5 || c[0].Hist.Max() != 9e6 || c[0].Bytes != 100 || c[0].Nested != 1 || c[0].Recorded != 0 {
		t.Errorf("%+v", c)
	}
	if p.Seconds[1].Calls[0].Recorded != 1 || p.Seconds[1].Ledger[0].Max[event.Runnable] != 8e6 || p.Seconds[1].Pairs[0].NS != 9e6 {
		t.Errorf("%+v", p.Seconds[1])
	}
	e, f := s.Events[0], s.Stacks[0].Frames
	if e.Start != 11e9+100e6 || e.Dur != 9e6 || e.Runnable != 8e6 || e.Bytes != 64 || e.Stack != s.Stacks[0].Hash || e.Comm != "job" ||
		len(f) != 2 || f[0].File != "libcudart.so.12" || f[1].PyLine != 142 || f[1].PyFunc != "forward" {
		t.Errorf("%+v %+v", e, f)
	}
	if len(s.Snapshots) != 2 || s.Snapshots[1].CPU != 50 || s.Snapshots[1].Swap != 3 {
		t.Errorf("%+v", s.Snapshots)
	}
}

// What is wrong is said with its line.
func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"nothing":                                        "line 1, \"nothing\": not understood",
		"\n\nsecond x":                                   "line 3",
		"calls cudaMalloc 1 each 1ms":                    "of which second?",
		"second 1\ncalls cudaNothing 1 each 1ms":         "no operation cudaNothing",
		"second 1\ncalls cudaMalloc 1 of 1ms":            `"of" stands where "each" should`,
		"second 1\ncalls cudaMalloc 1 each soon":         `"soon" is not a time`,
		"second 1\ncalls cudaMalloc 1 each 1ms bytes":    "it ends too early",
		"second 1\nledger 1 between dreaming 1ms":        "no state dreaming",
		"second 1\nevent cudaMalloc 1 1ms at 0s stack s": "no stack s above",
		"second 1\nwaker 1 lock 5 job 1ms in 1":          "a waker is PID/TID",
		"second 1 to 2 more":                             "is too much",
		"second 1 to 99999999":                           "more than an hour",
		"stack s main":                                   "is not SYMBOL (FILE)",
		"stack s [Python] x in y()":                      "is not [Python]",
		"process 1 python3 parent":                       "it ends too early",
		"second 1\ngpu 0 throttle":                       "it ends too early",
		"second 1\nsystem heat 5":                        "no heat",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("process 7 job rank 3\nsecond 1 to 3\ncalls cudaMalloc 3 each 2ms\nledger 1 between running 1s\nevent cudaMalloc 1 1ms at 0s\nwaker 1 lock 5/6 x 1ms in 1")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) < 1000 {
			Parse(text)
		}
	})
}
