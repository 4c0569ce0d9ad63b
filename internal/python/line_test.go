package python

import "testing"

func TestOldLine(t *testing.T) {
	// Two instructions on line 10, one without a line, one on line 8.
	table := []byte{4, 0, 2, 0x80, 2, 0xfe}
	for at, want := range map[int64]int{-2: 10, 0: 10, 2: 10, 4: 0, 6: 8, 8: 0} {
		if got := oldLine(table, 10, at); got != want {
			t.Errorf("line at %d is %d, want %d", at, got, want)
		}
	}
}

func TestNewLine(t *testing.T) {
	table := []byte{
		0x80 | 0<<3 | 1, 0x12, // two units on line 10, short form
		0x80 | 11<<3 | 0, 3, 9, // one unit a line further
		0x80 | 15<<3 | 0,                // no line
		0x80 | 13<<3 | 0, 0x40 | 0xb, 4, // no column: svarint, 0xb + 4<<6 = 267: back 133
		0x80 | 14<<3 | 7, 6, 0, 1, 1, // long: 3 lines further
	}
	for at, want := range map[int64]int{-2: 200, 0: 200, 2: 200, 4: 201, 6: 0, 8: 68, 10: 71, 24: 71, 26: 0} {
		if got := newLine(table, 200, at); got != want {
			t.Errorf("line at %d is %d, want %d", at, got, want)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add([]byte{4, 0, 2, 0x80, 2, 0xfe}, 10, int64(4))
	f.Add([]byte{0x81, 0x12, 0xd8, 3, 9, 0xf8, 0xe8, 0x4b, 4, 0xf7, 6, 0, 1, 1}, 200, int64(8))
	f.Fuzz(func(t *testing.T, table []byte, first int, at int64) {
		first &= 1<<31 - 1
		for _, line := range []int{oldLine(table, first, at), newLine(table, first, at)} {
			if line < 0 {
				t.Errorf("line %d", line)
			}
		}
	})
}
