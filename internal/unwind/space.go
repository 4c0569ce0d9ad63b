package unwind

import (
	"cmp"
	"slices"
)

// extent is a run of words.
type extent struct{ at, n uint32 }

// space hands out words of all regions.
type space struct {
	free []extent // by position; neighbours are merged
	used uint64
}

func newSpace(words uint32) *space {
	return &space{free: []extent{{1, words - 1}}} // position 0 means none
}

// take returns the first run of n words that is free.
func (s *space) take(n uint32) (uint32, bool) {
	for i := range s.free {
		e := &s.free[i]
		if e.n < n {
			continue
		}
		at := e.at
		e.at += n
		e.n -= n
		if e.n == 0 {
			s.free = slices.Delete(s.free, i, i+1)
		}
		s.used += uint64(n)
		return at, true
	}
	return 0, false
}

// give returns a run, or a part of one.
func (s *space) give(at, n uint32) {
	if n == 0 {
		return
	}
	s.used -= uint64(n)
	i, _ := slices.BinarySearchFunc(s.free, at, func(e extent, at uint32) int { return cmp.Compare(e.at, at) })
	s.free = slices.Insert(s.free, i, extent{at, n})
	for _, j := range []int{i + 1, i} { // with the one after, and the one before
		if j > 0 && j < len(s.free) && s.free[j-1].at+s.free[j-1].n == s.free[j].at {
			s.free[j-1].n += s.free[j].n
			s.free = slices.Delete(s.free, j, j+1)
		}
	}
}

// empty reports whether no word of a region is in use.
func (s *space) empty(region uint32) bool {
	first, end := region*RegionWords, (region+1)*RegionWords
	if region == 0 {
		first = 1
	}
	for _, e := range s.free {
		if e.at <= first && e.at+e.n >= end {
			return true
		}
	}
	return false
}
