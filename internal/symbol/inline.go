package symbol

import (
	"cmp"
	"debug/dwarf"
	"slices"
	"time"
)

const (
	maxInlineUnit = 8 << 20 // bytes of a unit that is searched for inlined functions: a second
	maxInlined    = 1 << 18 // stretches of one unit
)

// function is what an entry says about the name of a function. The offset is
// that of the entry which says the rest.
type function struct {
	scope, name, linkage string
	more                 dwarf.Offset
}

// inlineReader collects the inlined functions of a unit.
type inlineReader struct {
	u     *unit
	d     *dwarf.Data
	files int
	funcs map[dwarf.Offset]function
	work  int            // ranges looked at
	calls []dwarf.Offset // for each entry of u.inline, the function
}

func (l *lines) readInlined(u *unit, d *dwarf.Data, files []*dwarf.LineFile) {
	in := &inlineReader{u: u, d: d, files: len(files), funcs: map[dwarf.Offset]function{}}
	in.walk()
	number := map[dwarf.Offset]int32{}
	kept := u.inline[:0]
	for i, f := range u.inline {
		n, ok := number[in.calls[i]]
		if !ok {
			n = -1
			if name := in.name(in.calls[i]); name != "" {
				n = int32(len(u.names))
				u.names = append(u.names, name)
				u.bytes += int64(len(name))
			}
			number[in.calls[i]] = n
		}
		if n >= 0 {
			f.name = n
			kept = append(kept, f)
		}
	}
	u.inline = slices.Clip(kept)
	slices.SortStableFunc(u.inline, func(a, b inlined) int { return cmp.Compare(a.lo, b.lo) })
	u.reach = make([]uint64, len(u.inline))
	high := uint64(0)
	for i, f := range u.inline {
		high = max(high, f.hi)
		u.reach[i] = high
	}
}

// level is an entry that encloses others.
type level struct {
	depth int32  // inlined functions around
	scope string // namespaces and classes around, as "std::vector::"
}

// walk goes through the tree of entries.
func (in *inlineReader) walk() {
	r := in.d.Reader()
	levels := []level{{}}
	until := time.Now().Add(maxDecode)
	for n := 0; len(in.calls) < maxInlined && in.work < maxRanges; n++ {
		if n%16 == 0 && time.Now().After(until) {
			return
		}
		e, err := r.Next()
		if err != nil || e == nil {
			return
		}
		if e.Tag == 0 {
			if len(levels) > 1 {
				levels = levels[:len(levels)-1]
			}
			continue
		}
		at := levels[len(levels)-1]
		switch e.Tag {
		case dwarf.TagSubprogram:
			in.function(e, at.scope)
			at.scope = ""
		case dwarf.TagInlinedSubroutine:
			in.call(e, at.depth)
			at.depth++
		case dwarf.TagNamespace, dwarf.TagClassType, dwarf.TagStructType:
			if name, _ := e.Val(dwarf.AttrName).(string); name != "" && e.Children && len(at.scope)+len(name) < maxName {
				at.scope += name + "::"
			}
		case dwarf.TagEnumerationType, dwarf.TagArrayType, dwarf.TagSubroutineType, dwarf.TagCallSite:
			if e.Children {
				r.SkipChildren()
			}
			continue
		}
		if e.Children {
			levels = append(levels, at)
		}
	}
}

func (in *inlineReader) function(e *dwarf.Entry, scope string) {
	var f function
	if name, _ := e.Val(dwarf.AttrName).(string); name != "" {
		f.name, f.scope = name, scope
	}
	f.linkage, _ = e.Val(dwarf.AttrLinkageName).(string)
	if o, ok := e.Val(dwarf.AttrSpecification).(dwarf.Offset); ok {
		f.more = o
	} else if o, ok := e.Val(dwarf.AttrAbstractOrigin).(dwarf.Offset); ok {
		f.more = o
	}
	in.funcs[e.Offset] = f
}

func (in *inlineReader) call(e *dwarf.Entry, depth int32) {
	of, ok := e.Val(dwarf.AttrAbstractOrigin).(dwarf.Offset)
	if !ok {
		return
	}
	file, _ := e.Val(dwarf.AttrCallFile).(int64)
	line, _ := e.Val(dwarf.AttrCallLine).(int64)
	ranges, err := in.d.Ranges(e)
	if err != nil || file < 0 || file >= int64(in.files) {
		return
	}
	in.work += len(ranges)
	for _, r := range ranges {
		if r[0] < r[1] && len(in.u.inline) < maxInlined {
			in.u.inline = append(in.u.inline, inlined{r[0], r[1], depth, 0, int32(file), int32(line)})
			in.calls = append(in.calls, of)
		}
	}
}

// name follows an entry to the one that has the name. An entry of another
// unit, which only optimisation across units makes, is not followed.
func (in *inlineReader) name(at dwarf.Offset) string {
	best := ""
	for range 4 {
		f, ok := in.funcs[at]
		if !ok {
			break
		}
		if f.linkage != "" {
			return readable(f.linkage)
		}
		if best == "" {
			best = f.scope + f.name
		}
		if f.more == 0 {
			break
		}
		at = f.more
	}
	return best
}
