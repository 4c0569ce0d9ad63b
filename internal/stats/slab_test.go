package stats

import (
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
)

func TestSlabDecodesWhatMergeDecodes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var slab Slab
	var all, want []*Histogram
	for range 1000 {
		h := new(Histogram)
		for range r.IntN(200) {
			h.Add(uint64(math.Exp(20 * r.Float64())))
		}
		h.AddBucket(r.IntN(Buckets), r.Uint64())
		got, err := slab.Decode(h.AppendTo(nil))
		if err != nil {
			t.Fatal(err)
		}
		all, want = append(all, got), append(want, h)
	}
	for i, h := range all { // none has taken the memory of another
		if !reflect.DeepEqual(*h, *want[i]) {
			t.Fatalf("histogram %d: %+v, want %+v", i, *h, *want[i])
		}
	}
	all[3].Add(5)
	all[3].Merge(all[4])
	if !reflect.DeepEqual(*all[5], *want[5]) {
		t.Error("changing one histogram changed another")
	}
}

func TestSlabRefusesWhatMergeRefuses(t *testing.T) {
	var h Histogram
	h.Add(5)
	h.Add(1 << 30)
	good := h.AppendTo(nil)
	r := rand.New(rand.NewPCG(1, 1))
	for range 20_000 {
		b := append([]byte(nil), good[:r.IntN(len(good)+1)]...)
		for range r.IntN(4) {
			b = append(b, byte(r.Uint32()), 0xff)
		}
		if len(b) > 1 && r.IntN(2) == 0 {
			b[r.IntN(len(b))] = byte(r.Uint32())
		}
		got, err := new(Slab).Decode(b)
		var want Histogram
		if wantErr := want.MergeEncoded(b); (err == nil) != (wantErr == nil) {
			t.Fatalf("%x: %v, want %v", b, err, wantErr)
		} else if err == nil && (got.Count() != want.Count() || got.Sum() != want.Sum() || got.Max() != want.Max()) {
			t.Fatalf("%x: %+v, want %+v", b, got, want)
		}
	}
}

func TestSlabSum(t *testing.T) {
	h := new(Slab).Sum(10, 1000, 400)
	if h.Count() != 10 || h.Sum() != 1000 || h.Max() != 400 || h.Mean() != 100 {
		t.Errorf("%+v", h)
	}
	if e := new(Slab).Sum(0, 5, 5); e.Count() != 0 {
		t.Errorf("%+v", e)
	}
}
