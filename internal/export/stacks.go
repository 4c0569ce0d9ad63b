package export

import (
	"context"
	"strings"

	"ingero/internal/event"
	"ingero/internal/query"
)

// stacks knows the number that an encoder gave to each call stack.
type stacks struct {
	ids    map[uint64]uint64
	intern func([]event.Frame) uint64 // numbers a stack, innermost first
	news   []uint64
}

func newStacks(intern func([]event.Frame) uint64) *stacks {
	return &stacks{ids: map[uint64]uint64{}, intern: intern}
}

// learn reads the stacks of a batch that are new.
func (t *stacks) learn(ctx context.Context, src query.Streamed, batch []query.Stored) error {
	t.news = t.news[:0]
	for i := range batch {
		h := batch[i].Stack
		if h == 0 {
			continue
		}
		if _, known := t.ids[h]; !known {
			t.ids[h] = 0
			t.news = append(t.news, h)
		}
	}
	if len(t.news) == 0 {
		return nil
	}
	frames, err := src.Stacks(ctx, t.news)
	if err != nil {
		return err
	}
	for _, h := range t.news {
		if f := frames[h]; len(f) > 0 {
			t.ids[h] = t.intern(f)
		}
	}
	return nil
}

// frameName is a function as profiles name it: without the offset of the
// address in it.
func frameName(f *event.Frame) string {
	switch {
	case f.PyFunc != "":
		return f.PyFunc
	case f.Symbol != "":
		name, _, _ := strings.Cut(f.Symbol, "+0x")
		return name
	case f.PyFile != "":
		return f.PyFile
	case f.File != "":
		return "[" + f.File + "]"
	}
	return "[unknown]"
}

// frameFile is the source or, where that is not known, the file that a
// function is in.
func frameFile(f *event.Frame) (name string, line int) {
	switch {
	case f.PyFile != "":
		return f.PyFile, f.PyLine
	case f.Source != "":
		return f.Source, f.Line
	}
	return f.File, 0
}
