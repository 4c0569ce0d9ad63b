package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestBucketMatchesDefinition(t *testing.T) {
	check := func(v uint64) {
		i := Bucket(v)
		if v <= 1 {
			if i != 0 {
				t.Fatalf("Bucket(%d) = %d, want 0", v, i)
			}
			return
		}
		f := float64(v)
		lo, hi := Upper(i-1), Upper(i)
		if i == Buckets-1 {
			hi = math.Inf(1)
		}
		// A bound is irrational unless it is a power of two; doubles decide
		// every other case but the last few ulps.
		if f <= lo*(1-1e-9) || f > hi*(1+1e-9) {
			t.Fatalf("Bucket(%d) = %d, which holds (%g, %g]", v, i, lo, hi)
		}
	}
	for v := range uint64(1 << 16) {
		check(v)
	}
	for shift := range 63 {
		for d := -2; d <= 2; d++ {
			check(uint64(1)<<shift + uint64(int64(d))&math.MaxInt64)
		}
	}
	rapid.Check(t, func(t *rapid.T) { check(rapid.Uint64Range(0, 1<<43).Draw(t, "v")) })
}

func TestQuantileIsWithinOnePointOnePercent(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		var h Histogram
		all := make([]uint64, 5000)
		for i := range all {
			all[i] = uint64(math.Exp(r.Float64()*15) * 100)
			h.Add(all[i])
		}
		slices.Sort(all)
		for _, q := range []float64{0, 0.01, 0.5, 0.95, 0.99, 0.999, 1} {
			rank := max(int(math.Ceil(q*float64(len(all)))), 1)
			want, got := float64(all[rank-1]), float64(h.Quantile(q))
			if math.Abs(got-want) > 0.011*want {
				t.Errorf("q=%g: got %g, want %g", q, got, want)
			}
		}
		if h.Max() != all[len(all)-1] || h.Count() != uint64(len(all)) {
			t.Errorf("max %d count %d", h.Max(), h.Count())
		}
	}
}

func TestMergeAndEncodeKeepEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOf(rapid.Uint64Range(0, 1<<44))
		a, b := values.Draw(t, "a"), values.Draw(t, "b")
		var whole, x, y Histogram
		for _, v := range a {
			whole.Add(v)
			x.Add(v)
		}
		for _, v := range b {
			whole.Add(v)
			y.Add(v)
		}
		x.Merge(&y)
		var back Histogram
		if err := back.MergeEncoded(x.AppendTo(nil)); err != nil {
			t.Fatal(err)
		}
		if got, want := back.AppendTo(nil), whole.AppendTo(nil); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		if back.Count() != uint64(len(a)+len(b)) {
			t.Fatalf("count %d", back.Count())
		}
	})
}

func TestMergeLeavesCopies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sum Histogram
		var copies []Histogram
		var encoded [][]byte
		for _, values := range rapid.SliceOfN(rapid.SliceOf(rapid.Uint64Range(0, 1<<20)), 1, 8).Draw(t, "parts") {
			var part Histogram
			for _, v := range values {
				part.Add(v)
			}
			sum.Merge(&part)
			copies, encoded = append(copies, sum), append(encoded, sum.AppendTo(nil))
		}
		for i := range copies {
			if !slices.Equal(copies[i].AppendTo(nil), encoded[i]) {
				t.Fatalf("copy %d changed", i)
			}
		}
	})
}

func FuzzMergeEncoded(f *testing.F) {
	var h Histogram
	h.Add(7)
	h.Add(1 << 30)
	f.Add(h.AppendTo(nil))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var h Histogram
		if h.MergeEncoded(b) == nil {
			h.Quantile(0.5)
			h.Merge(&h)
		}
	})
}

func TestEmpty(t *testing.T) {
	var h Histogram
	if h.Quantile(0.99) != 0 || h.Mean() != 0 || h.Count() != 0 {
		t.Error("an empty histogram answers 0")
	}
}
