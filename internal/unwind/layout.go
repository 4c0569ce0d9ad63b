package unwind

// The words of all tables are in regions of the kernel, as bpf/unwind.h says.
// A position counts words through all regions.
const (
	RegionWords = 1 << 16
	MaxRegions  = 256
	blockBits   = 10
	blockSize   = 1 << blockBits
)

func (t *Table) blocks() int { return (int(t.Size) + blockSize - 1) >> blockBits }

// room is the number of words that layout needs at most.
func (t *Table) room() int {
	n := 2*t.blocks() + len(t.Rows) // a block begins with the rule already in force
	return n + (n/RegionWords+1)*blockSize
}

// layout returns the words of the table for the position they will be at:
// the index, then the rules of each block.
func (t *Table) layout(at uint32) []uint64 {
	blocks := t.blocks()
	words := make([]uint64, blocks, t.room())
	rule, next := Rule(Hole), 0
	for b := range blocks {
		start := uint32(b) << blockBits
		end := start + blockSize
		from := next
		for next < len(t.Rows) && t.Rows[next].PC < end {
			next++
		}
		rows := t.Rows[from:next]
		whole := len(rows) > 0 && rows[0].PC == start
		if len(rows) == 0 && rule.Kind() == Hole {
			continue
		}
		n := uint32(len(rows))
		if !whole {
			n++
		}
		pos := at + uint32(len(words))
		if last := pos + n - 1; last/RegionWords != pos/RegionWords {
			skip := RegionWords - pos%RegionWords
			words = append(words, make([]uint64, skip)...)
			pos += skip
		}
		words[b] = uint64(n)<<32 | uint64(pos)
		if !whole {
			words = append(words, uint64(rule)<<32)
		}
		for _, r := range rows {
			words = append(words, uint64(r.Rule)<<32|uint64(r.PC-start))
			rule = r.Rule
		}
	}
	return words
}
