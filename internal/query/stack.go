package query

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ingero/internal/event"
	"ingero/internal/rule"
	"ingero/internal/store"
)

// Frame is one level of a call stack: a native address with what is known of
// it, or a Python line.
type Frame struct {
	IP      string `json:"ip"`
	Symbol  string `json:"symbol,omitempty"`
	Short   string `json:"short,omitempty"` // ShortName of Symbol, if that is shorter
	File    string `json:"file,omitempty"`
	Source  string `json:"source,omitempty"`
	Line    int    `json:"line,omitempty"`
	Inlined bool   `json:"inlined,omitempty"` // into the next frame
	PyFile  string `json:"py_file,omitempty"`
	PyFunc  string `json:"py_func,omitempty"`
	PyLine  int    `json:"py_line,omitempty"`
}

func encodeFrames(all []event.Frame) []Frame {
	out := make([]Frame, len(all))
	for i, f := range all {
		out[i] = Frame{"0x" + strconv.FormatUint(f.IP, 16), f.Symbol, "", f.File, f.Source, f.Line, f.Inlined, f.PyFile, f.PyFunc, f.PyLine}
	}
	return out
}

// shorten adds the short names of an answer's frames; seen are those of others
// in it. A trace that prints events as JSON does without: it takes as long as
// all else about an event.
func shorten(frames []Frame, seen map[string]string) {
	for i := range frames {
		f := &frames[i]
		short, known := seen[f.Symbol]
		if !known {
			short = ShortName(f.Symbol)
			seen[f.Symbol] = short
		}
		if short != f.Symbol {
			f.Short = short
		}
	}
}

// StackLines tells a stack as --debug does, all of it, the call first.
func StackLines(s *event.Stack) []string {
	frames := encodeFrames(s.Frames)
	lines := []string{fmt.Sprintf("stack trace for %s (PID %d, TID %d, %d frames):", s.Op, s.PID, s.TID, len(frames))}
	for i, f := range frames {
		lines = append(lines, fmt.Sprintf("  [%d] %s", i, FrameText(f)))
	}
	return lines
}

// StackSource knows what recorded events add up to by stack.
type StackSource interface {
	// StackTimes adds up the events of the window by operation, process and
	// stack, the most time first.
	StackTimes(ctx context.Context, f store.Filter) ([]store.StackTime, error)
	// Stacks returns the frames of stacks, innermost first.
	Stacks(ctx context.Context, hashes []uint64) (map[uint64][]event.Frame, error)
}

// StackRow is the recorded events of one operation that came from one place
// in the code.
type StackRow struct {
	Op        string   `json:"op"`
	Source    string   `json:"source"`
	Count     uint64   `json:"count"` // recorded events
	Total     int64    `json:"total_ns"`
	Runnable  int64    `json:"runnable_ns"` // of the total, waiting for a CPU
	Blocked   int64    `json:"blocked_ns"`  // of the total, waiting for something else
	Max       int64    `json:"max_ns"`
	Processes []uint32 `json:"pids"`
	Stack     []Frame  `json:"stack"` // innermost first; empty: not known
}

// StacksAnswer is what ByStack returns.
type StacksAnswer struct {
	Schema   string     `json:"schema"`
	Window   Window     `json:"window"`
	Coverage Coverage   `json:"coverage"`
	Stacks   []StackRow `json:"stacks" rows:""` // the most time first
	Rest
}

// SchemaStacks names the form of StacksAnswer.
const SchemaStacks = "stacks/1"

// StacksParams narrows ByStack. From and To must both be set.
type StacksParams struct {
	store.Filter
	Limit int  // rows; 0: all
	Lost  bool // most time of waiting first, instead of most time
}

// Stacked is a Source that knows about stacks.
type Stacked interface {
	Source
	StackTimes(ctx context.Context, f store.Filter) ([]store.StackTime, error)
}

// ByStack adds up recorded events by the place in the code that they came
// from. The same place in several processes is one row.
func ByStack(ctx context.Context, s Stacked, p StacksParams) (*StacksAnswer, error) {
	times, err := s.StackTimes(ctx, p.Filter)
	if err != nil {
		return nil, err
	}
	ops, err := Ops(ctx, s, OpsParams{Filter: p.Filter})
	if err != nil {
		return nil, err
	}
	if p.Ops == nil { // what the host does has no stack
		times = slices.DeleteFunc(times, func(t store.StackTime) bool { return !t.Op.IsCall() && t.Op != opGap })
	}
	hashes := make([]uint64, 0, len(times))
	for _, t := range times {
		if t.Stack != 0 {
			hashes = append(hashes, t.Stack)
		}
	}
	frames, err := s.Stacks(ctx, hashes)
	if err != nil {
		return nil, err
	}
	a := &StacksAnswer{Schema: SchemaStacks, Window: ops.Window, Coverage: ops.Coverage, Stacks: []StackRow{}}
	rows := map[string]*StackRow{}
	var order []*StackRow
	for _, t := range times {
		key := placeInCode(t, frames[t.Stack])
		r := rows[key]
		if r == nil {
			r = &StackRow{Op: t.Op.String(), Source: t.Op.Source().String(), Stack: encodeFrames(frames[t.Stack])}
			rows[key] = r
			order = append(order, r)
		}
		r.Count, r.Total, r.Max = r.Count+t.Count, r.Total+t.Total, max(r.Max, t.Max)
		r.Runnable, r.Blocked = r.Runnable+t.Runnable, r.Blocked+t.Blocked
		if !slices.Contains(r.Processes, t.PID) {
			r.Processes = append(r.Processes, t.PID)
		}
	}
	slices.SortStableFunc(order, func(x, y *StackRow) int {
		if p.Lost {
			return cmp.Or(cmp.Compare(y.Runnable+y.Blocked, x.Runnable+x.Blocked), cmp.Compare(y.Total, x.Total))
		}
		return cmp.Compare(y.Total, x.Total)
	})
	seen := map[string]string{}
	for i, r := range order {
		if p.Limit > 0 && i == p.Limit {
			break
		}
		slices.Sort(r.Processes)
		shorten(r.Stack, seen)
		a.Stacks = append(a.Stacks, *r)
	}
	return a, nil
}

// placeInCode is the same for the same operation from the same code, whatever
// its addresses in a process are.
func placeInCode(t store.StackTime, frames []event.Frame) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d", t.Op)
	for _, f := range frames {
		if f.Symbol == "" && f.File == "" && f.PyFunc == "" {
			fmt.Fprintf(&b, "|%d:%x", t.PID, f.IP)
			continue
		}
		fmt.Fprintf(&b, "|%s\x00%s\x00%s\x00%s\x00%d", f.Symbol, f.File, f.PyFile, f.PyFunc, f.PyLine)
	}
	return b.String()
}

// told are the operations whose stacks tell where a symptom comes from.
func told(symptom event.Op) []event.Op {
	switch {
	case symptom == 0:
		return []event.Op{opGap}
	case symptom.Class() != event.Capturing:
		return []event.Op{symptom}
	}
	var captures []event.Op
	for _, i := range event.Ops() {
		if i.Class == event.Capture {
			captures = append(captures, i.ID)
		}
	}
	return captures
}

// worstStack is the stack of the symptom's operation with which the process
// spent most time while a finding lasted; empty if none is known.
func worstStack(ctx context.Context, s StackSource, f rule.Finding) ([]Frame, error) {
	times, err := s.StackTimes(ctx, store.Filter{
		From: f.Start.UnixNano(), To: f.End.UnixNano(), PIDs: []uint32{f.Process.PID}, Ops: told(f.Symptom.Op),
	})
	if err != nil {
		return nil, err
	}
	for _, t := range times {
		if t.Stack == 0 {
			continue
		}
		frames, err := s.Stacks(ctx, []uint64{t.Stack})
		if err != nil {
			return nil, err
		}
		if len(frames[t.Stack]) > 0 {
			stack := encodeFrames(frames[t.Stack])
			shorten(stack, map[string]string{})
			return stack, nil
		}
	}
	return []Frame{}, nil
}
