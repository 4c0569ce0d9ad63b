package symbol

import (
	"cmp"
	"debug/dwarf"
	"slices"
	"sort"
	"time"
)

const (
	maxInlineUnit = 8 << 20 // bytes of a unit that is searched for inlined functions: a second
	maxInlined    = 1 << 18 // stretches of one unit
	maxParts      = 64      // other units that one refers to
)

// function is what an entry says about the name of a function. more is where
// the entry lies that says the rest.
type function struct {
	scope, name, linkage string
	more                 uint64
}

// inlineReader collects the inlined functions of a unit. Functions are known
// by the offsets of their entries in all of .debug_info.
type inlineReader struct {
	l     *lines
	u     *unit
	part  // what is being read
	files int
	funcs map[uint64]function
	parts map[int]part
	work  int      // ranges looked at
	calls []uint64 // for each entry of u.inline, the function
}

// part is a unit that was opened.
type part struct {
	d    *dwarf.Data
	span span
	far  map[uint64]bool
}

func (l *lines) part(n int, d *dwarf.Data) part {
	_, far, _ := abbreviations(l.sec.abbrev, l.units[n].abbrev)
	return part{d, l.units[n], far}
}

func (l *lines) readInlined(u *unit, n int, d *dwarf.Data, files int) {
	in := &inlineReader{l: l, u: u, part: l.part(n, d), files: files, funcs: map[uint64]function{}, parts: map[int]part{}}
	in.walk()
	number := map[uint64]int32{}
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
			in.function(in.part, e, at.scope)
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

// refers returns the entry that an attribute names.
func (in *inlineReader) refers(p part, e *dwarf.Entry, attr dwarf.Attr) (uint64, bool) {
	o, ok := e.Val(attr).(dwarf.Offset)
	if p.far != nil {
		c := cursor{b: in.l.sec.info[p.span.off+uint64(e.Offset) : p.span.end]}
		if p.far[c.uleb()] {
			return uint64(o), ok
		}
	}
	return p.span.off + uint64(o), ok
}

func (in *inlineReader) function(p part, e *dwarf.Entry, scope string) {
	var f function
	if name, _ := e.Val(dwarf.AttrName).(string); name != "" {
		f.name, f.scope = name, scope
	}
	f.linkage, _ = e.Val(dwarf.AttrLinkageName).(string)
	if o, ok := in.refers(p, e, dwarf.AttrSpecification); ok {
		f.more = o
	} else if o, ok := in.refers(p, e, dwarf.AttrAbstractOrigin); ok {
		f.more = o
	}
	in.funcs[p.span.off+uint64(e.Offset)] = f
}

// elsewhere reads the entry of a function that lies in another unit.
func (in *inlineReader) elsewhere(at uint64) {
	units := in.l.units
	n := sort.Search(len(units), func(i int) bool { return units[i].end > at })
	if n == len(units) || at < units[n].off || units[n] == in.span {
		return
	}
	p, ok := in.parts[n]
	if !ok && len(in.parts) < maxParts {
		if d, root := in.l.root(n, nil); root != nil {
			p = in.l.part(n, d)
		}
		in.parts[n] = p
	}
	if p.d == nil {
		return
	}
	r := p.d.Reader()
	r.Seek(dwarf.Offset(at - p.span.off))
	if e, err := r.Next(); err == nil && e != nil && e.Tag == dwarf.TagSubprogram {
		in.function(p, e, "")
	}
}

func (in *inlineReader) call(e *dwarf.Entry, depth int32) {
	of, ok := in.refers(in.part, e, dwarf.AttrAbstractOrigin)
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

// name follows an entry to the one that has the name.
func (in *inlineReader) name(at uint64) string {
	best := ""
	for range 4 {
		if _, ok := in.funcs[at]; !ok {
			in.elsewhere(at)
		}
		f := in.funcs[at]
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
