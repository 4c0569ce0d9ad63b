package stats

// ZeroSeconds is the largest value, in seconds, that Seconds counts as zero.
const ZeroSeconds = 1e-9

// inSeconds is how many buckets apart a number of ns and the same time in
// seconds are: log2(1e9) × 32 is 956.715, the nearest whole number is 957.
const inSeconds = 957

// Seconds is a distribution of durations in seconds, in the buckets that
// OpenTelemetry and Prometheus have for the scale (schema) Scale.
type Seconds struct {
	Zero uint64 // how many were at most ZeroSeconds
	// First is the OpenTelemetry index of Counts[0]: index k holds the values in
	// (2^(k/32), 2^((k+1)/32)]. Prometheus calls the same bucket k+1.
	First  int
	Counts []uint64 // neither the first nor the last is zero
}

// Seconds returns the distribution of ns as one of seconds. The bounds of its
// buckets are 0.62 % too small, because only whole buckets can be moved;
// counts are exact.
func (h *Histogram) Seconds() Seconds {
	var s Seconds
	bins := h.bins
	if len(bins) > 0 && bins[0].index == 0 {
		s.Zero, bins = bins[0].count, bins[1:]
	}
	if len(bins) == 0 {
		return s
	}
	first, last := int(bins[0].index), int(bins[len(bins)-1].index)
	s.First = first - 1 - inSeconds
	s.Counts = make([]uint64, last-first+1)
	for _, b := range bins {
		s.Counts[int(b.index)-first] = b.count
	}
	return s
}
