package export

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"io"
	"path"
	"slices"
	"strings"

	"ingero/internal/event"
	"ingero/internal/query"
)

// Value is what a folded stack counts.
type Value string

// Values of stacks.
const (
	Lost Value = "lost" // ns spent waiting: for a CPU, or blocked
	Time Value = "time" // ns from the begin of a call to its end
)

// stackSum is what recorded calls, or gaps, of one process from one place
// add up to.
type stackSum struct {
	query.StackTime
	frames []event.Frame // innermost first
}

func (s *stackSum) lost() int64 { return s.Runnable + s.Blocked }

// sums reads the stacks. What the host does has none. Each has the time that it
// spent itself, without traced calls within.
func sums(ctx context.Context, src query.Streamed, o *Options) (all []stackSum, r Result, err error) {
	times, err := src.StackTimes(ctx, o.Filter)
	if err != nil {
		return nil, r, err
	}
	var hashes []uint64
	for _, t := range times {
		if t.Op.IsCall() || query.IsGap(t.Op) {
			all = append(all, stackSum{StackTime: t})
			hashes = append(hashes, t.Stack)
			r.Events += t.Count
		}
	}
	frames, err := src.Stacks(ctx, hashes)
	if err != nil {
		return nil, r, err
	}
	for i := range all {
		s := &all[i]
		s.frames = frames[s.Stack]
		if query.IsGap(s.Op) || len(s.frames) == 0 {
			// A gap has the stack of the call that ended it.
			s.frames = append([]event.Frame{{Symbol: eventName(s.Op)}}, s.frames...)
		}
	}
	onlyOwn(all)
	return all, r, nil
}

// place is a stack of functions in a process, as a hash.
type place struct {
	pid  uint32
	hash uint64
}

// onlyOwn takes the time of calls that were made from within another traced
// call (the driver's from the runtime's) off that one, so that no time counts
// twice: each stack keeps what it spent itself.
func onlyOwn(all []stackSum) {
	seed := maphash.MakeSeed()
	// The hash of a stack and of each that it was called from, outermost last.
	hashes := func(s *stackSum, each func(depth int, p place) bool) {
		list := make([]place, len(s.frames))
		h := uint64(0)
		for k := len(s.frames) - 1; k >= 0; k-- {
			h = maphash.Comparable(seed, struct {
				h    uint64
				name string
			}{h, frameName(&s.frames[k])})
			list[k] = place{s.PID, h}
		}
		for k, p := range list {
			if !each(k, p) {
				return
			}
		}
	}
	calls := map[place]*stackSum{}
	for i := range all {
		if s := &all[i]; s.Op.IsCall() {
			hashes(s, func(_ int, p place) bool {
				calls[p] = s
				return false
			})
		}
	}
	type own struct{ total, runnable, blocked int64 }
	within := map[*stackSum]own{}
	for i := range all {
		s := &all[i]
		if !s.Op.IsCall() {
			continue
		}
		hashes(s, func(depth int, p place) bool {
			outer := calls[p]
			if depth == 0 || outer == nil {
				return true
			}
			x := within[outer]
			within[outer] = own{x.total + s.Total, x.runnable + s.Runnable, x.blocked + s.Blocked}
			return false
		})
	}
	for s, x := range within {
		s.Total, s.Runnable, s.Blocked = max(s.Total-x.total, 0), max(s.Runnable-x.runnable, 0), max(s.Blocked-x.blocked, 0)
	}
}

// frameLabel is a function with its place: "forward (train.py:6)",
// "cudaMalloc (libcudart.so.12)".
func frameLabel(f *event.Frame) string {
	name := frameName(f)
	file, line := frameFile(f)
	switch {
	case line > 0:
		return fmt.Sprintf("%s (%s:%d)", name, path.Base(file), line)
	case file != "" && !strings.HasPrefix(name, "["):
		return fmt.Sprintf("%s (%s)", name, path.Base(file))
	}
	return name
}

// folded adds up stacks by their names, the outermost function first, with the
// process at the bottom.
func folded(all []stackSum, value func(*stackSum) int64) (names []string, values map[string]int64) {
	values = map[string]int64{}
	for i := range all {
		s := &all[i]
		v := value(s)
		if v <= 0 {
			continue
		}
		words := []string{fmt.Sprintf("PID %d", s.PID)}
		for k := len(s.frames) - 1; k >= 0; k-- {
			words = append(words, strings.NewReplacer(";", ":", "\n", " ").Replace(frameLabel(&s.frames[k])))
		}
		name := strings.Join(words, ";")
		if _, known := values[name]; !known {
			names = append(names, name)
		}
		values[name] += v
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(values[b], values[a]), cmp.Compare(a, b)) })
	return names, values
}

// writeFolded writes a line for each stack, as flamegraph.pl reads them.
func writeFolded(ctx context.Context, src query.Streamed, o *Options, w io.Writer) (Result, error) {
	all, r, err := sums(ctx, src, o)
	if err != nil {
		return r, err
	}
	value := (*stackSum).lost
	if o.Value == Time {
		value = func(s *stackSum) int64 { return s.Total }
	}
	names, values := folded(all, value)
	for _, name := range names {
		if _, err := fmt.Fprintf(w, "%s %d\n", name, values[name]); err != nil {
			return r, err
		}
	}
	return r, nil
}

// speedscopeFile is as in speedscope's src/lib/file-format-spec.ts.
type speedscopeFile struct {
	Schema   string `json:"$schema"`
	Exporter string `json:"exporter"`
	Name     string `json:"name"`
	Shared   struct {
		Frames []speedscopeFrame `json:"frames"`
	} `json:"shared"`
	Profiles []speedscopeProfile `json:"profiles"`
}

type speedscopeFrame struct {
	Name string `json:"name"`
}

type speedscopeProfile struct {
	Type    string  `json:"type"`
	Name    string  `json:"name"`
	Unit    string  `json:"unit"`
	Start   int64   `json:"startValue"`
	End     int64   `json:"endValue"`
	Samples [][]int `json:"samples"` // indexes of frames, the outermost first
	Weights []int64 `json:"weights"`
}

func writeSpeedscope(ctx context.Context, src query.Streamed, o *Options, w io.Writer) (Result, error) {
	all, r, err := sums(ctx, src, o)
	if err != nil {
		return r, err
	}
	f := speedscopeFile{Schema: "https://www.speedscope.app/file-format-schema.json", Exporter: "ingero", Name: "ingero"}
	f.Shared.Frames = []speedscopeFrame{}
	index := map[string]int{}
	for _, kind := range []struct {
		name  string
		value func(*stackSum) int64
	}{
		{"lost time: waiting for a CPU, or blocked", (*stackSum).lost},
		{"time in calls and between them", func(s *stackSum) int64 { return s.Total }},
	} {
		p := speedscopeProfile{Type: "sampled", Name: kind.name, Unit: "nanoseconds", Samples: [][]int{}, Weights: []int64{}}
		names, values := folded(all, kind.value)
		for _, name := range names {
			var sample []int
			for word := range strings.SplitSeq(name, ";") {
				i, known := index[word]
				if !known {
					i = len(f.Shared.Frames)
					index[word] = i
					f.Shared.Frames = append(f.Shared.Frames, speedscopeFrame{word})
				}
				sample = append(sample, i)
			}
			p.Samples, p.Weights, p.End = append(p.Samples, sample), append(p.Weights, values[name]), p.End+values[name]
		}
		if len(names) > 0 {
			f.Profiles = append(f.Profiles, p)
		}
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return r, e.Encode(f)
}
