package prom

import (
	"math"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"ingero/internal/stats"
)

// Classic buckets end at powers of four ns, which are bounds of our buckets
// too, so that their counts are exact: 4^5 ns, 1.024 µs, to 4^18 ns, 69 s.
const (
	firstPower, lastPower = 5, 18
	perPower              = 2 << stats.Scale // buckets of ours in one of them
)

// shift turns numbers of our buckets into those of a native histogram of the
// same scale: ours count in ns, theirs in s, and 10^9 is 2^(956.72/32). It is
// rounded up to whole buckets, so a native histogram shows durations
// 2^(0.285/32), 0.62 %, shorter than they are, besides the 1.1 % by which a
// value may differ from the middle of its bucket.
const shift = 957

// zero is how long what is in the lowest bucket, of 0 and 1 ns, takes at most.
const zero = 1e-9

// maxGap is how many empty buckets are written rather than a new span: a span
// takes more room.
const maxGap = 2

// histogram writes a distribution of ns as one of seconds.
func histogram(h *stats.Histogram) *dto.Histogram {
	out := &dto.Histogram{
		SampleCount: proto.Uint64(h.Count()), SampleSum: proto.Float64(float64(h.Sum()) / 1e9),
		Schema: proto.Int32(stats.Scale), ZeroThreshold: proto.Float64(zero), ZeroCount: proto.Uint64(0),
	}
	classic(out, h)
	buckets := 0
	h.Each(func(int, uint64) { buckets++ })
	out.PositiveDelta = make([]int64, 0, 2*buckets)
	next, last := int32(0), int64(0) // the bucket after the one before, and its count
	h.Each(func(bucket int, count uint64) {
		if bucket == 0 {
			out.ZeroCount = proto.Uint64(count)
			return
		}
		gap, n := int32(bucket-shift)-next, len(out.PositiveSpan)
		if n == 0 || gap > maxGap {
			out.PositiveSpan = append(out.PositiveSpan, &dto.BucketSpan{Offset: &gap, Length: proto.Uint32(0)})
			n++
		} else {
			for range gap {
				out.PositiveDelta = append(out.PositiveDelta, -last)
				last = 0
			}
			*out.PositiveSpan[n-1].Length += uint32(gap)
		}
		out.PositiveDelta = append(out.PositiveDelta, int64(count)-last)
		*out.PositiveSpan[n-1].Length++
		next, last = int32(bucket-shift)+1, int64(count)
	})
	return out
}

// classic adds the cumulative buckets. The last, +Inf, follows by itself.
func classic(out *dto.Histogram, h *stats.Histogram) {
	counts := new([lastPower - firstPower + 1]uint64)
	h.Each(func(bucket int, count uint64) {
		power := max((bucket+perPower-1)/perPower, firstPower) // the first that holds it
		if power <= lastPower {
			counts[power-firstPower] += count
		}
	})
	buckets := make([]dto.Bucket, len(counts))
	out.Bucket = make([]*dto.Bucket, len(counts))
	for i := range buckets {
		if i > 0 {
			counts[i] += counts[i-1]
		}
		buckets[i].CumulativeCount, buckets[i].UpperBound = &counts[i], &bounds[i]
		out.Bucket[i] = &buckets[i]
	}
}

var bounds = func() (b [lastPower - firstPower + 1]float64) {
	for i := range b {
		b[i] = math.Exp2(float64(2*(firstPower+i))) / 1e9
	}
	return b
}()
