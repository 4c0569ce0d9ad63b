package export

import (
	"context"
	"fmt"
	"io"

	"github.com/google/pprof/profile"

	"ingero/internal/event"
	"ingero/internal/query"
)

// writePprof writes a profile of https://github.com/google/pprof.
func writePprof(ctx context.Context, src query.Streamed, o *Options, w io.Writer) (Result, error) {
	all, r, err := sums(ctx, src, o)
	if err != nil {
		return r, err
	}
	processes, err := src.Processes(ctx)
	if err != nil {
		return r, err
	}
	comm := map[uint32]string{}
	for _, p := range processes {
		comm[p.PID] = p.Comm
	}
	b := profileBuilder{functions: map[string]*profile.Function{}, locations: map[event.Frame]*profile.Location{}}
	b.p = &profile.Profile{
		SampleType: []*profile.ValueType{
			{Type: "calls", Unit: "count"}, {Type: "time", Unit: "nanoseconds"}, {Type: "runnable", Unit: "nanoseconds"},
			{Type: "blocked", Unit: "nanoseconds"}, {Type: "lost", Unit: "nanoseconds"},
		},
		DefaultSampleType: string(Lost), TimeNanos: o.Begin, DurationNanos: o.End - o.Begin,
		Comments: []string{
			"ingero: recorded calls, each without traced calls within it, and gaps of 1 ms or more between calls; lost = runnable + blocked.",
			"Fast launches and copies are recorded as samples; 'ingero query' has exact totals.",
		},
	}
	var lost int64
	for i := range all {
		s := &all[i]
		lost += s.lost()
		x := &profile.Sample{
			Value:    []int64{int64(s.Count), s.Total, s.Runnable, s.Blocked, s.lost()},
			NumLabel: map[string][]int64{"pid": {int64(s.PID)}}, Label: map[string][]string{"op": {eventName(s.Op)}},
		}
		if name := comm[s.PID]; name != "" {
			x.Label["comm"] = []string{name}
		}
		for k := range s.frames {
			x.Location = append(x.Location, b.location(&s.frames[k]))
		}
		b.p.Sample = append(b.p.Sample, x)
	}
	if lost == 0 { // not measured, as in older recordings
		b.p.DefaultSampleType = string(Time)
	}
	if err := b.p.CheckValid(); err != nil {
		return r, fmt.Errorf("make a profile: %w", err)
	}
	return r, b.p.Write(w)
}

type profileBuilder struct {
	p         *profile.Profile
	functions map[string]*profile.Function
	locations map[event.Frame]*profile.Location
}

func (b *profileBuilder) location(f *event.Frame) *profile.Location {
	key := *f
	key.IP = 0 // the same code is at another address in another process
	if key.Symbol == "" && key.PyFunc == "" {
		key.IP = f.IP
	}
	if l := b.locations[key]; l != nil {
		return l
	}
	file, line := frameFile(f)
	name := frameName(f)
	fn := b.functions[name+"\x00"+file]
	if fn == nil {
		fn = &profile.Function{ID: uint64(len(b.p.Function)) + 1, Name: name, SystemName: name, Filename: file}
		b.functions[name+"\x00"+file] = fn
		b.p.Function = append(b.p.Function, fn)
	}
	l := &profile.Location{ID: uint64(len(b.p.Location)) + 1, Address: key.IP, Line: []profile.Line{{Function: fn, Line: int64(line)}}}
	b.locations[key] = l
	b.p.Location = append(b.p.Location, l)
	return l
}
