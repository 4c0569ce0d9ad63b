// Package unwind prepares what the kernel side needs to walk stacks of code
// that was built without frame pointers: it turns the .eh_frame of each binary
// into a compact table, and tells the kernel which process maps which table
// where.
package unwind

import "fmt"

// Kind says how a caller's frame is found; bpf/unwind.h has the same list.
type Kind uint8

// The kinds of rules. The canonical frame address (CFA) is the stack pointer
// before the call; the return address is just below it.
const (
	Hole        Kind = iota // the file says nothing about this code
	StackPtr                // CFA = rsp + offset
	FramePtr                // CFA = rbp + offset
	Realigned               // CFA = the word at rbp + offset: functions that realign their stack
	PLT                     // CFA = rsp + 8, and 8 more from byte N of a 16-byte entry on
	Signal                  // the kernel's signal frame, at rsp
	End                     // the outermost frame
	Unsupported             // a rule that the kernel side does not know: the walk stops
)

// Rule says how to get from one frame to its caller:
//
//	bits 0-3    Kind
//	bits 4-13   where the caller's rbp is: Same, AtFrame, Lost, or n for the
//	            word at CFA - 8n; for PLT the N above
//	bits 14-31  offset in words, signed
type Rule uint32

// Where the caller's rbp is, besides CFA - 8n.
const (
	Same    = 0    // in rbp still
	AtFrame = 1    // at rbp; CFA - 8 holds the return address
	Lost    = 1023 // nowhere
)

const word = 8

func makeRule(k Kind, bp uint32, offset int64) Rule {
	w := offset / word
	if offset%word != 0 || w < -1<<17 || w >= 1<<17 {
		return Rule(Unsupported)
	}
	return Rule(uint32(k) | bp<<4 | uint32(int32(w))<<14)
}

// Kind returns how the caller's frame is found.
func (r Rule) Kind() Kind { return Kind(r & 15) }

// BP returns where the caller's rbp is.
func (r Rule) BP() uint32 { return uint32(r) >> 4 & 1023 }

// Offset returns the offset in bytes.
func (r Rule) Offset() int64 { return int64(int32(r)>>14) * word }

func (r Rule) String() string {
	names := [...]string{"hole", "rsp", "rbp", "*rbp", "plt", "signal", "end", "unsupported"}
	k := r.Kind()
	if int(k) >= len(names) {
		return fmt.Sprintf("rule %#x", uint32(r))
	}
	s := names[k]
	if k == StackPtr || k == FramePtr || k == Realigned {
		s += fmt.Sprintf("%+d", r.Offset())
		switch bp := r.BP(); bp {
		case Same:
		case AtFrame:
			s += " bp=*rbp"
		case Lost:
			s += " bp=?"
		default:
			s += fmt.Sprintf(" bp=c-%d", bp*word)
		}
	}
	return s
}

// Row is a rule and the first address it is for, relative to Table.Base.
type Row struct {
	PC   uint32
	Rule Rule
}

// Table holds the rules of one file. A row is in force up to the next one;
// before the first there is a hole.
type Table struct {
	Base     uint64 // the lowest address of code, as the file counts
	Size     uint32 // of all code
	Rows     []Row
	Segments []Segment
	Dropped  int // entries of .eh_frame that made no sense
}

// Segment is one piece of code that the loader maps.
type Segment struct{ Offset, Addr, Size uint64 }

// Find returns the rule at an address as the file counts.
func (t *Table) Find(addr uint64) Rule {
	if addr < t.Base || addr-t.Base >= uint64(t.Size) {
		return Rule(Hole)
	}
	pc := uint32(addr - t.Base)
	lo, hi := 0, len(t.Rows)
	for lo < hi {
		if mid := (lo + hi) / 2; t.Rows[mid].PC <= pc {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 {
		return Rule(Hole)
	}
	return t.Rows[lo-1].Rule
}

// At returns the position in the table, relative to Base, of what is mapped
// from an offset of the file on.
func (t *Table) At(offset uint64) (uint32, bool) {
	for _, s := range t.Segments {
		page := s.Offset &^ (pageSize - 1)
		if offset >= page && offset < s.Offset+s.Size {
			at := int64(offset-s.Offset+s.Addr) - int64(t.Base)
			return uint32(at), at >= 0 && at < int64(t.Size)
		}
	}
	return 0, false
}

const pageSize = 4096
