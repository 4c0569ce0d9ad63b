package stats

import (
	"math"
	"testing"
)

// Every value lies in the bucket of seconds that it was counted in, but for
// the part of a bucket that could not be moved.
func TestSeconds(t *testing.T) {
	const off = 1.0063
	for v := uint64(2); v < 1<<41; v += v/37 + 1 {
		var h Histogram
		h.Add(v)
		s := h.Seconds()
		if s.Zero != 0 || len(s.Counts) != 1 || s.Counts[0] != 1 {
			t.Fatalf("%d ns: %+v", v, s)
		}
		seconds := float64(v) / 1e9
		lower, upper := math.Exp2(float64(s.First)/perOct), math.Exp2(float64(s.First+1)/perOct)
		if seconds <= lower || seconds > upper*off {
			t.Errorf("%d ns is said to be in (%g, %g] s", v, lower, upper)
		}
		if lower < ZeroSeconds {
			t.Errorf("%d ns: its bucket begins at %g s, where zero is", v, lower)
		}
	}
}

func TestSecondsCounts(t *testing.T) {
	var h Histogram
	if s := h.Seconds(); s.Zero != 0 || s.Counts != nil {
		t.Errorf("nothing counted: %+v", s)
	}
	h.Add(0)
	h.Add(1)
	if s := h.Seconds(); s.Zero != 2 || s.Counts != nil {
		t.Errorf("zero and 1 ns: %+v", s)
	}
	h.Add(1000)
	h.Add(1000)
	h.Add(4000) // two octaves above
	s := h.Seconds()
	if s.Zero != 2 || len(s.Counts) != 2*perOct+1 || s.Counts[0] != 2 || s.Counts[2*perOct] != 1 {
		t.Errorf("%+v", s)
	}
	if want := Bucket(1000) - 1 - 957; s.First != want {
		t.Errorf("the first index is %d, want %d", s.First, want)
	}
}
