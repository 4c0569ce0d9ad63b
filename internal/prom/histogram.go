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

// maxGap is how many empty buckets are written rather than a new span, which
// takes more room.
const maxGap = 2

// histogram writes a distribution of ns as one of seconds, with classic
// buckets, which are exact.
func histogram(h *stats.Histogram) *dto.Histogram {
	out := &dto.Histogram{SampleCount: proto.Uint64(h.Count()), SampleSum: proto.Float64(float64(h.Sum()) / 1e9)}
	classic(out, h)
	return out
}

// span is a run of buckets with what it points to.
type span struct {
	dto.BucketSpan
	offset int32
	length uint32
}

// native adds the buckets of a native histogram. In it durations look 0.62 % shorter
// than they are (stats.Seconds says why), besides the 1.1 % by which a value
// may differ from the middle of its bucket.
func native(out *dto.Histogram, h *stats.Histogram) {
	s := h.Seconds()
	out.Schema, out.ZeroThreshold, out.ZeroCount = proto.Int32(stats.Scale), proto.Float64(stats.ZeroSeconds), proto.Uint64(s.Zero)
	full := 0
	for _, count := range s.Counts {
		if count > 0 {
			full++
		}
	}
	spans := make([]span, 0, full) // one piece of memory
	out.PositiveDelta = make([]int64, 0, full*(1+maxGap))
	next, last := 0, int64(0) // the bucket after the one before, and its count
	for i, count := range s.Counts {
		if count == 0 {
			continue
		}
		at, n := s.First+1+i, len(out.PositiveSpan)
		if gap := at - next; n == 0 || gap > maxGap {
			spans = append(spans, span{offset: int32(gap), length: 1})
			x := &spans[len(spans)-1]
			x.Offset, x.Length = &x.offset, &x.length
			out.PositiveSpan = append(out.PositiveSpan, &x.BucketSpan)
		} else {
			for range gap {
				out.PositiveDelta = append(out.PositiveDelta, -last)
				last = 0
			}
			*out.PositiveSpan[n-1].Length += uint32(gap) + 1
		}
		out.PositiveDelta = append(out.PositiveDelta, int64(count)-last)
		next, last = at+1, int64(count)
	}
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
