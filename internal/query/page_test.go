package query

import (
	"slices"
	"strings"
	"testing"
	"time"

	"ingero/internal/event"
	"ingero/internal/store"
)

func TestPage(t *testing.T) {
	all := []int{1, 2, 3, 4, 5}
	for _, x := range []struct {
		offset, n int
		want      []int
		more      int
	}{{0, 5, all, 0}, {0, 2, []int{1, 2}, 3}, {2, 2, []int{3, 4}, 1}, {4, 2, []int{5}, 0}, {9, 2, []int{}, 0}} {
		if got, rest := page(all, x.offset, x.n); !slices.Equal(got, x.want) || rest.Left() != x.more {
			t.Errorf("%+v: %v, %d", x, got, rest.Left())
		}
	}
}

// Pages of what is in the order of time begin with the newest, and together
// they are everything.
func TestPages(t *testing.T) {
	a := asked(t, func(w *store.Writer) {
		for i := range 10 {
			w.Append([]event.Event{{Start: base.Add(time.Duration(i) * time.Second).UnixNano(), Dur: 1, PID: 7, TID: 7, Op: event.MakeOp(event.CUDA, 3), Rank: event.NoRank}})
		}
		for i, op := range []string{"a", "a", "b", "a"} {
			w.Chain(store.Chain{ID: "n:" + string(rune('0'+i)), Kind: "block_io", Severity: "HIGH", PID: 7, Op: op,
				Started: base.UnixNano(), Ended: base.UnixNano() + 1e9, LostNS: uint64(i+1) * 1e9})
		}
	})
	var seconds []int
	for _, params := range [][]string{{"limit=4"}, {"limit=4", "offset=4"}, {"limit=4", "offset=8"}} {
		got := answer[*EventsAnswer](t, a, "events", params...)
		for _, e := range slices.Backward(got.Events) {
			seconds = append(seconds, e.Timestamp.Second())
		}
		if (got.More > 0) != (len(got.Events) == 4) {
			t.Errorf("%v: %d events, %d more", params, len(got.Events), got.More)
		}
	}
	if !slices.Equal(seconds, []int{9, 8, 7, 6, 5, 4, 3, 2, 1, 0}) {
		t.Error(seconds)
	}
	// Of findings that are alike the worst stands for the others.
	e := answer[*Explanation](t, a, "chains", "distinct=true")
	if len(e.Chains) != 2 || e.Chains[0].ID != "n:3" || e.Chains[0].Same != 2 || e.Chains[1].ID != "n:2" || e.Chains[1].Same != 0 {
		t.Errorf("%+v", e.Chains)
	}
	if e := answer[*Explanation](t, a, "chains", "limit=1", "offset=1"); len(e.Chains) != 1 || e.Chains[0].ID != "n:2" || e.More != 2 {
		t.Errorf("%+v", e.Chains)
	}
}

// A mistake in JSON is told in the words of who asks.
func TestJSONMistakes(t *testing.T) {
	q, _ := Find("events")
	for text, want := range map[string]string{
		`{"limit": "x"}`: "limit: give a number, not a string",
		`{"since": 5}`:   "since: give a text, not a number",
		`{"wrong": 5}`:   `it takes no "wrong"`,
		`{"limit": -1}`:  "limit: -1 is not a number from 0 on",
		`{"offset": -1}`: "offset: -1 is not a number from 0 on",
	} {
		if err := q.Decode(q.New(), []byte(text)); !isParamError(err) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "Go ") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
