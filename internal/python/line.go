package python

// oldLine returns the line of an instruction in the table of 3.10: pairs of
// bytes, how many bytes of code and how many lines further; -128 is no line.
// See Objects/lnotab_notes.txt. 0 is no line.
func oldLine(table []byte, first int, at int64) int {
	if at < 0 {
		return first
	}
	line, end := first, int64(0)
	for ; len(table) >= 2; table = table[2:] {
		delta := int(int8(table[1]))
		if delta != -128 {
			line += delta
		}
		end += int64(table[0])
		if at < end {
			if delta == -128 {
				return 0
			}
			return max(line, 0)
		}
	}
	return 0
}

// Codes of an entry of a location table, and bits of a varint.
const (
	codeNone     = 15
	codeLong     = 14
	codeNoColumn = 13
	codeOneLine0 = 10
	entryStart   = 0x80
	varintMore   = 0x40
	maxVarint    = 6 // six bits each
)

// varint reads a number of six bits a byte, the lowest first.
func varint(b []byte) (v uint, rest []byte) {
	for i := 0; len(b) > 0 && i < maxVarint; i++ {
		c := b[0]
		b = b[1:]
		v |= uint(c&(varintMore-1)) << (6 * i)
		if c&varintMore == 0 {
			break
		}
	}
	return v, b
}

// newLine returns the line of an instruction, at bytes from the first, in
// the location table of 3.11 and later. See Objects/locations.md (later
// InternalDocs/code_objects.md). 0 is no line.
func newLine(table []byte, first int, at int64) int {
	if at < 0 {
		return first
	}
	line, end := first, int64(0)
	for len(table) > 0 {
		head := table[0]
		table = table[1:]
		code := head >> 3 & 15
		switch {
		case code == codeLong || code == codeNoColumn:
			var v uint
			v, table = varint(table)
			if v&1 != 0 {
				line -= int(v >> 1)
			} else {
				line += int(v >> 1)
			}
		case code >= codeOneLine0 && code < codeNoColumn:
			line += int(code - codeOneLine0)
		}
		for len(table) > 0 && table[0]&entryStart == 0 {
			table = table[1:] // columns
		}
		end += 2 * (int64(head&7) + 1)
		if at < end {
			if code == codeNone {
				return 0
			}
			return max(line, 0)
		}
	}
	return 0
}
