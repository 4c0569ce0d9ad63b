// Package stats keeps distributions of durations: base-2 exponential
// histograms of scale 5, which merge exactly and answer any quantile within
// 1.1 %. The kernel side fills the same buckets (bpf/histogram.h).
package stats

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"sort"
)

const (
	// Scale is the OpenTelemetry exponential histogram scale: 2^Scale
	// buckets to each power of two.
	Scale   = 5
	perOct  = 1 << Scale
	octaves = 42 // up to 2^42 ns, 73 minutes; longer is counted in the last bucket
	// Buckets is the number of buckets. Bucket 0 holds 0 and 1, and bucket
	// i > 0 holds the values in (2^((i-1)/32), 2^(i/32)].
	Buckets = octaves*perOct + 1
)

// Bounds[k] is 2^31 × 2^(k/32), rounded down: the upper bounds of the
// buckets of one octave, scaled to 32 bits. Guess[j] is the number of whole
// buckets below the j-th 64th of an octave; a 64th never spans more than one
// bound, so that one comparison finds the bucket. Both are written into the
// kernel side's read-only data as well.
var (
	Bounds [perOct + 1]uint32
	Guess  [64]uint8
)

func init() {
	for k := range perOct {
		Bounds[k] = uint32(math.Floor(math.Ldexp(math.Exp2(float64(k)/perOct), 31)))
	}
	Bounds[perOct] = math.MaxUint32
	for j := range Guess {
		lower := uint32(64+j) << 25
		g := 0
		for g+1 < perOct && Bounds[g+1] <= lower {
			g++
		}
		Guess[j] = uint8(g)
	}
}

// Bucket returns the bucket that holds v.
func Bucket(v uint64) int {
	if v <= 1 {
		return 0
	}
	msb := bits.Len64(v) - 1
	var m uint32 // v scaled so that its highest bit is bit 31
	if msb >= 31 {
		m = uint32(v >> (msb - 31))
	} else {
		m = uint32(v << (31 - msb))
	}
	if m == 1<<31 && v&(v-1) == 0 {
		return min(msb*perOct, Buckets-1) // a power of two closes its bucket
	}
	g := int(Guess[(m>>25)&63])
	if m > Bounds[g+1] {
		g++
	}
	return min(msb*perOct+g+1, Buckets-1)
}

// Upper returns the largest value of bucket i, as a real number.
func Upper(i int) float64 { return math.Exp2(float64(i) / perOct) }

// Middle returns the value reported for bucket i: its geometric middle, off
// by at most 1.1 % from any value in it.
func Middle(i int) uint64 {
	if i == 0 {
		return 1
	}
	return uint64(math.Round(math.Exp2((float64(i) - 0.5) / perOct)))
}

// Histogram is a distribution of non-negative integers, usually durations in
// ns. The zero value is empty and ready to use.
type Histogram struct {
	bins []bin // ordered by index
	sum  uint64
	max  uint64
}

type bin struct {
	index uint16
	count uint64
}

// Add counts the value v.
func (h *Histogram) Add(v uint64) {
	h.AddBucket(Bucket(v), 1)
	h.sum += v
	h.max = max(h.max, v)
}

// AddBucket counts n values of bucket i without knowing them exactly; the
// caller reports their sum and maximum by AddSum.
func (h *Histogram) AddBucket(i int, n uint64) {
	if n == 0 {
		return
	}
	k := len(h.bins)
	if k > 0 && int(h.bins[k-1].index) >= i {
		k = sort.Search(len(h.bins), func(j int) bool { return int(h.bins[j].index) >= i })
		if int(h.bins[k].index) == i {
			h.bins[k].count += n
			return
		}
	}
	h.bins = append(h.bins, bin{})
	copy(h.bins[k+1:], h.bins[k:])
	h.bins[k] = bin{uint16(i), n}
}

// AddSum adds to the sum of all values and raises the maximum.
func (h *Histogram) AddSum(sum, maximum uint64) {
	h.sum += sum
	h.max = max(h.max, maximum)
}

// Merge adds everything that o counted. What was copied from h by assignment
// before stays as it was, if both only change by Merge.
func (h *Histogram) Merge(o *Histogram) {
	if len(h.bins) == 0 {
		h.bins = append(h.bins, o.bins...)
	} else if len(o.bins) > 0 {
		merged := make([]bin, 0, len(h.bins)+len(o.bins))
		a, b := h.bins, o.bins
		for len(a) > 0 && len(b) > 0 {
			switch {
			case a[0].index < b[0].index:
				merged, a = append(merged, a[0]), a[1:]
			case a[0].index > b[0].index:
				merged, b = append(merged, b[0]), b[1:]
			default:
				merged = append(merged, bin{a[0].index, a[0].count + b[0].count})
				a, b = a[1:], b[1:]
			}
		}
		h.bins = append(append(merged, a...), b...)
	}
	h.sum += o.sum
	h.max = max(h.max, o.max)
}

// Count returns how many values were counted: always the sum of the buckets.
func (h *Histogram) Count() uint64 {
	var n uint64
	for _, b := range h.bins {
		n += b.count
	}
	return n
}

// Sum returns the sum of all values.
func (h *Histogram) Sum() uint64 { return h.sum }

// Max returns the largest value.
func (h *Histogram) Max() uint64 { return h.max }

// Mean returns the average, 0 when empty.
func (h *Histogram) Mean() uint64 {
	if n := h.Count(); n > 0 {
		return h.sum / n
	}
	return 0
}

// Quantile returns the value below which the share q (0 to 1) of all values
// lies, within 1.1 %, and never more than Max. It is 0 when empty.
func (h *Histogram) Quantile(q float64) uint64 {
	n := h.Count()
	if n == 0 {
		return 0
	}
	rank := uint64(math.Ceil(q * float64(n)))
	rank = min(max(rank, 1), n)
	if rank == n && h.max > 0 {
		return h.max
	}
	for _, b := range h.bins {
		if b.count >= rank {
			if h.max > 0 {
				return min(Middle(int(b.index)), h.max)
			}
			return Middle(int(b.index))
		}
		rank -= b.count
	}
	return h.max
}

// Each calls f for every bucket that is not empty, in rising order.
func (h *Histogram) Each(f func(bucket int, count uint64)) {
	for _, b := range h.bins {
		f(int(b.index), b.count)
	}
}

// Clone returns a copy that shares nothing with h.
func (h *Histogram) Clone() Histogram {
	c := *h
	c.bins = append([]bin(nil), h.bins...)
	return c
}

// Reset empties h and keeps its memory.
func (h *Histogram) Reset() { h.bins, h.sum, h.max = h.bins[:0], 0, 0 }

const encoding = 1 // first byte of the encoded form

// AppendTo appends the encoded form of h to b: the version, then sum and
// maximum, then pairs of bucket distance and count, all as varints.
func (h *Histogram) AppendTo(b []byte) []byte {
	b = append(b, encoding)
	b = binary.AppendUvarint(b, h.sum)
	b = binary.AppendUvarint(b, h.max)
	last := 0
	for _, x := range h.bins {
		b = binary.AppendUvarint(b, uint64(int(x.index)-last))
		b = binary.AppendUvarint(b, x.count)
		last = int(x.index)
	}
	return b
}

var errHistogram = errors.New("not a histogram")

// MergeEncoded adds an encoded histogram to h.
func (h *Histogram) MergeEncoded(b []byte) error {
	if len(b) == 0 || b[0] != encoding {
		return errHistogram
	}
	var o Histogram
	b = b[1:]
	var bad bool
	next := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			bad, b = true, nil
			return 0
		}
		b = b[n:]
		return v
	}
	o.sum, o.max = next(), next()
	last := uint64(0)
	for len(b) > 0 {
		step, count := next(), next()
		if step >= Buckets || last+step >= Buckets || (step == 0 && len(o.bins) > 0) {
			return fmt.Errorf("%w: bucket %d", errHistogram, last+step)
		}
		last += step
		o.bins = append(o.bins, bin{uint16(last), count})
	}
	if bad {
		return fmt.Errorf("%w: cut short", errHistogram)
	}
	h.Merge(&o)
	return nil
}
