package symbol

import (
	"cmp"
	"debug/dwarf"
	"slices"
	"sort"
)

// unit is what is kept of a compile unit.
type unit struct {
	files  []string
	rows   []row // by address
	inline []inlined
	reach  []uint64 // highest end of inline[:i+1]
	names  []string // of inlined functions
	bytes  int64
}

// row says that code from addr on, up to the next row, comes from a line.
type row struct {
	addr uint64
	file int32 // -1 where the code ends
	line int32
}

// inlined is a stretch of code of a function that was inlined, and the line
// of the call.
type inlined struct {
	lo, hi      uint64
	depth, name int32
	file, line  int32
}

func (u *unit) cost() int64 {
	return 200 + u.bytes + int64(cap(u.rows)*16+cap(u.inline)*32+cap(u.reach)*8+cap(u.files)*16+cap(u.names)*16)
}

func (u *unit) file(n int32) string {
	if n < 0 || int(n) >= len(u.files) {
		return ""
	}
	return u.files[n]
}

func (u *unit) line(addr uint64) (string, int) {
	i := sort.Search(len(u.rows), func(i int) bool { return u.rows[i].addr > addr })
	if i == 0 || u.rows[i-1].file < 0 {
		return "", 0
	}
	return u.file(u.rows[i-1].file), int(u.rows[i-1].line)
}

// inlinedAt returns the inlined functions at an address, the innermost first.
func (u *unit) inlinedAt(addr uint64) (all []inlined) {
	i := sort.Search(len(u.inline), func(i int) bool { return u.inline[i].lo > addr })
	for i--; i >= 0 && u.reach[i] > addr; i-- {
		if addr < u.inline[i].hi {
			all = append(all, u.inline[i])
		}
	}
	slices.SortStableFunc(all, func(a, b inlined) int { return cmp.Compare(b.depth, a.depth) })
	return all
}

// decode reads the lines and the inlined functions of a unit.
func (l *lines) decode(n int) *unit {
	u := &unit{}
	_, root := l.root(n, nil)
	if root == nil {
		return u
	}
	at, _ := root.Val(dwarf.AttrStmtList).(int64)
	end, ok := lineProgram(l.sec.line, uint64(at))
	if !ok {
		return u
	}
	d, root := l.root(n, l.sec.line[:end])
	if root == nil {
		return u
	}
	r, err := d.LineReader(root)
	if err != nil || r == nil {
		return u
	}
	l.readRows(u, r)
	if l.units[n].end-l.units[n].off <= maxInlineUnit {
		l.readInlined(u, n, d, len(r.Files()))
	}
	return u
}

// readRows reads the line program. It consists of sequences, in any order,
// each with rising addresses; those of functions the linker threw away lie
// outside of the code.
func (l *lines) readRows(u *unit, r *dwarf.LineReader) {
	number := map[*dwarf.LineFile]int32{}
	for i, f := range r.Files() {
		name := ""
		if f != nil {
			name, number[f] = f.Name, int32(i)
		}
		u.files = append(u.files, name)
		u.bytes += int64(len(name))
	}
	first := 0 // of the sequence being read
	var e dwarf.LineEntry
	for len(u.rows) < maxRows && r.Next(&e) == nil {
		file, ok := number[e.File]
		if !ok && e.File != nil { // one that the program itself defines
			file = int32(len(u.files))
			number[e.File] = file
			u.files = append(u.files, e.File.Name)
			u.bytes += int64(len(e.File.Name))
		}
		if e.EndSequence {
			file = -1
		}
		u.rows = append(u.rows, row{e.Address, file, int32(e.Line)})
		if e.EndSequence {
			begin := u.rows[first].addr
			if _, ok := l.img.code(begin); !ok || begin >= e.Address {
				u.rows = u.rows[:first]
			}
			first = len(u.rows)
		}
	}
	u.rows = u.rows[:first] // what is left has no end
	slices.SortStableFunc(u.rows, func(a, b row) int {
		if c := cmp.Compare(a.addr, b.addr); c != 0 {
			return c
		}
		return cmp.Compare(min(a.file, 0), min(b.file, 0)) // ends first
	})
	u.rows = slices.Clip(u.rows)
}
