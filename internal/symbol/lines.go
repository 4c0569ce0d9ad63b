package symbol

import (
	"debug/dwarf"
	"sort"
	"time"

	"ingero/internal/event"
)

// lines finds source lines by DWARF. Each compile unit is decoded by itself
// when an address in it is first asked for; before that, only its root entry
// is, to learn which addresses it covers.
type lines struct {
	img   *image // whose addresses these are
	from  *image // the file with the sections
	limit int64

	tried bool
	sec   sections
	units []span
	where []covered // by lo
	open  map[int]*unit
	fixed int64 // bytes of what shed keeps
	cost  int64 // bytes of everything
}

type span struct{ off, end, abbrev uint64 }

// covered is a stretch of code that belongs to one unit.
type covered struct {
	lo, hi uint64
	unit   int
}

const (
	maxUnits  = 1 << 18
	maxRanges = 1 << 20
	maxRows   = 1 << 20         // of one unit
	maxDecode = 2 * time.Second // for the index of a file, or the inlined functions of a unit
)

// newLines returns nil where nothing says which lines code comes from.
func newLines(img, split *image, limit int64) *lines {
	for _, from := range []*image{split, img} {
		if from.hasLines() {
			return &lines{img: img, from: from, limit: limit}
		}
	}
	return nil
}

// frames fills in source and line of a frame, and returns frames for the
// functions that are inlined at its address, the innermost first.
func (l *lines) frames(f *event.Frame, addr uint64) []event.Frame {
	u := l.unit(addr)
	if u == nil {
		return nil
	}
	source, line := u.line(addr)
	var more []event.Frame
	for _, in := range u.inlinedAt(addr) {
		more = append(more, event.Frame{IP: f.IP, File: f.File, Symbol: u.names[in.name], Source: source, Line: line, Inlined: true})
		source, line = u.file(in.file), int(in.line)
	}
	f.Source, f.Line = source, line
	return more
}

// unit returns the decoded compile unit that holds an address.
func (l *lines) unit(addr uint64) *unit {
	if !l.tried {
		l.tried = true
		l.index()
	}
	i := sort.Search(len(l.where), func(i int) bool { return l.where[i].lo > addr })
	for n := 0; i > 0 && n < maxBack; n++ {
		i--
		if addr >= l.where[i].hi {
			continue
		}
		n := l.where[i].unit
		u, ok := l.open[n]
		if !ok {
			u = l.decode(n)
			l.open[n] = u
			l.cost += u.cost()
		}
		return u
	}
	return nil
}

// shed drops the decoded units.
func (l *lines) shed() {
	l.open, l.cost = map[int]*unit{}, l.fixed
}

// index learns which unit covers which addresses.
func (l *lines) index() {
	l.open = map[int]*unit{}
	var ok bool
	if l.sec, ok = l.from.debugSections(l.limit); !ok || !shortStrings(l.sec.str) || !shortStrings(l.sec.lineStr) {
		l.sec = sections{}
		return
	}
	l.sec.ranges = l.sec.ranges[:min(len(l.sec.ranges), maxRangeBytes)]
	l.sec.rangeList = l.sec.rangeList[:min(len(l.sec.rangeList), maxRangeBytes)]
	l.units = unitSpans(l.sec.info)
	left := maxRanges
	for n, until := 0, time.Now().Add(maxDecode); n < len(l.units) && left > 0 && time.Now().Before(until); n++ {
		d, root := l.root(n, nil)
		if root == nil {
			continue
		}
		ranges, err := d.Ranges(root)
		if err != nil {
			continue
		}
		ranges = ranges[:min(len(ranges), left)]
		left -= len(ranges)
		for _, r := range ranges {
			if _, ok := l.img.code(r[0]); ok && r[0] < r[1] {
				l.where = append(l.where, covered{r[0], r[1], n})
			}
		}
	}
	sort.Slice(l.where, func(i, j int) bool { return l.where[i].lo < l.where[j].lo })
	l.fixed = l.sec.unpacked + int64(cap(l.units)*24+cap(l.where)*24)
	l.cost = l.fixed
}

// unitSpans returns where the units lie in .debug_info.
func unitSpans(info []byte) (all []span) {
	for off := uint64(0); off < uint64(len(info)) && len(all) < maxUnits; {
		c := cursor{b: info[off:]}
		size, wide := c.unit()
		version, kind := c.u16(), byte(1)
		if version >= 5 {
			kind = c.u8()
			c.u8() // size of an address
		}
		abbrev := c.offset(wide)
		if c.bad {
			return all
		}
		if size <= maxUnitBytes && (kind == 1 || kind == 3 || kind == 4) { // compile, partial, skeleton
			all = append(all, span{off, off + size, abbrev})
		}
		off += size
	}
	return all
}

// root opens one unit, with as much of .debug_line as is known to be good.
// Its offsets then count from the start of the unit.
func (l *lines) root(n int, line []byte) (*dwarf.Data, *dwarf.Entry) {
	s := l.units[n]
	end, _, ok := abbreviations(l.sec.abbrev, s.abbrev)
	if !ok {
		return nil, nil
	}
	d, err := dwarf.New(l.sec.abbrev[:end], nil, nil, l.sec.info[s.off:s.end:s.end], line, nil, l.sec.ranges, l.sec.str)
	if err != nil {
		return nil, nil
	}
	for name, b := range map[string][]byte{
		".debug_line_str": l.sec.lineStr, ".debug_addr": l.sec.addr,
		".debug_str_offsets": l.sec.strOffsets, ".debug_rnglists": l.sec.rangeList,
	} {
		if d.AddSection(name, b) != nil {
			return nil, nil
		}
	}
	e, err := d.Reader().Next()
	if err != nil {
		return nil, nil
	}
	return d, e
}
