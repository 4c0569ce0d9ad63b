package stats

import (
	"encoding/binary"
	"fmt"
)

// Slab decodes many histograms into few pieces of memory, which live as long
// as any of the histograms. The zero value is ready to use.
type Slab struct {
	bins  []bin
	hists []Histogram
}

const (
	slabBins  = 4096
	slabHists = 256
)

func (s *Slab) histogram() *Histogram {
	if len(s.hists) == cap(s.hists) {
		s.hists = make([]Histogram, 0, slabHists)
	}
	s.hists = append(s.hists, Histogram{})
	return &s.hists[len(s.hists)-1]
}

// Decode returns the histogram that AppendTo wrote. It does not keep b.
func (s *Slab) Decode(b []byte) (*Histogram, error) {
	if len(b) == 0 || b[0] != encoding {
		return nil, errHistogram
	}
	b = b[1:]
	values := 0
	for _, x := range b {
		if x < 0x80 { // ends a varint
			values++
		}
	}
	if values < 2 || values%2 != 0 || b[len(b)-1] >= 0x80 {
		return nil, fmt.Errorf("%w: cut short", errHistogram)
	}
	n := values/2 - 1
	if cap(s.bins)-len(s.bins) < n {
		s.bins = make([]bin, 0, max(slabBins, n))
	}
	start := len(s.bins)
	bad := false
	next := func() uint64 {
		if x := b[0]; x < 0x80 {
			b = b[1:]
			return uint64(x)
		}
		v, w := binary.Uvarint(b)
		if w <= 0 {
			bad, w = true, -w
		}
		b = b[w:]
		return v
	}
	sum, most := next(), next()
	last := uint64(0)
	for i := range n {
		if bad {
			break
		}
		step, count := next(), next()
		if step >= Buckets || last+step >= Buckets || (step == 0 && i > 0) {
			return nil, fmt.Errorf("%w: bucket %d", errHistogram, last+step)
		}
		last += step
		s.bins = append(s.bins, bin{uint16(last), count})
	}
	if bad {
		return nil, fmt.Errorf("%w: a number too large", errHistogram)
	}
	h := s.histogram()
	h.bins, h.sum, h.max = s.bins[start:len(s.bins):len(s.bins)], sum, most
	return h, nil
}

// Sum returns a histogram of which only count, sum and maximum are known; its
// quantiles are the mean.
func (s *Slab) Sum(count, sum, most uint64) *Histogram {
	h := s.histogram()
	h.sum, h.max = sum, most
	if count > 0 {
		if len(s.bins) == cap(s.bins) {
			s.bins = make([]bin, 0, slabBins)
		}
		s.bins = append(s.bins, bin{uint16(Bucket(sum / count)), count})
		h.bins = s.bins[len(s.bins)-1 : len(s.bins) : len(s.bins)]
	}
	return h
}
