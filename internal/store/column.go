package store

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// How the values of a column are written; the first byte of the column.
const (
	encConst  = 0 // one varint for all
	encDict   = 1 // number of keys - 1, the keys as varints, one index byte for each value
	encDelta  = 2 // varints of the difference to the value before
	encVarint = 3 // varints
)

var errColumn = errors.New("damaged column")

// dictionary finds up to 256 distinct values. It is a hash table with open
// addressing, since it is asked for every value of nearly every column.
type dictionary struct {
	slots [1024]uint16 // index + 1
	keys  []int64
}

func (d *dictionary) reset() {
	clear(d.slots[:])
	d.keys = d.keys[:0]
}

// index returns the index of v, adding it; false when the dictionary is full.
func (d *dictionary) index(v int64) (uint8, bool) {
	h := uint64(v) * 0x9e3779b97f4a7c15 >> 54
	for {
		s := d.slots[h]
		if s == 0 {
			break
		}
		if d.keys[s-1] == v {
			return uint8(s - 1), true
		}
		h = (h + 1) & uint64(len(d.slots)-1)
	}
	if len(d.keys) == 256 {
		return 0, false
	}
	d.keys = append(d.keys, v)
	d.slots[h] = uint16(len(d.keys))
	return uint8(len(d.keys) - 1), true
}

// appendInts writes the column v in the form that suits its values.
func appendInts(dst []byte, v []int64, d *dictionary) []byte {
	if same(v) {
		dst = append(dst, encConst)
		if len(v) == 0 {
			return append(dst, 0)
		}
		return binary.AppendVarint(dst, v[0])
	}
	if out, ok := appendDict(dst, v, d); ok {
		return out
	}
	var plain, delta int
	last := int64(0)
	for _, x := range v {
		plain += varintLen(x)
		delta += varintLen(x - last)
		last = x
	}
	if delta < plain {
		dst = append(dst, encDelta)
		last = 0
		for _, x := range v {
			dst = binary.AppendVarint(dst, x-last)
			last = x
		}
		return dst
	}
	dst = append(dst, encVarint)
	for _, x := range v {
		dst = binary.AppendVarint(dst, x)
	}
	return dst
}

func appendDict(dst []byte, v []int64, d *dictionary) ([]byte, bool) {
	d.reset()
	// Columns that are all distinct, like time, are recognised early.
	for i, x := range v {
		if _, ok := d.index(x); !ok || (i == 64 && len(d.keys) > 60) {
			return dst, false
		}
	}
	dst = append(dst, encDict, uint8(len(d.keys)-1))
	for _, k := range d.keys {
		dst = binary.AppendVarint(dst, k)
	}
	for _, x := range v {
		i, _ := d.index(x)
		dst = append(dst, i)
	}
	return dst, true
}

func same(v []int64) bool {
	for _, x := range v {
		if x != v[0] {
			return false
		}
	}
	return true
}

func varintLen(x int64) int {
	u := uint64(x<<1) ^ uint64(x>>63)
	n := 1
	for u >= 0x80 {
		u >>= 7
		n++
	}
	return n
}

// decodeInts reads a column of n values into dst, reusing its memory. The
// bytes may be hostile.
func decodeInts(dst []int64, b []byte, n int) ([]int64, error) {
	dst = dst[:0]
	if len(b) == 0 {
		return dst, fmt.Errorf("%w: empty", errColumn)
	}
	kind, b := b[0], b[1:]
	switch kind {
	case encConst:
		v, w := binary.Varint(b)
		if w <= 0 || w != len(b) {
			return dst, fmt.Errorf("%w: constant", errColumn)
		}
		for range n {
			dst = append(dst, v)
		}
		return dst, nil
	case encDict:
		return decodeDict(dst, b, n)
	case encDelta, encVarint:
		return decodeVarints(dst, b, n, kind == encDelta)
	}
	return dst, fmt.Errorf("%w: encoding %d", errColumn, kind)
}

func decodeDict(dst []int64, b []byte, n int) ([]int64, error) {
	if len(b) == 0 {
		return dst, fmt.Errorf("%w: no keys", errColumn)
	}
	count, b := int(b[0])+1, b[1:]
	var keys [256]int64
	for i := range count {
		v, w := binary.Varint(b)
		if w <= 0 {
			return dst, fmt.Errorf("%w: key %d", errColumn, i)
		}
		keys[i], b = v, b[w:]
	}
	if len(b) != n {
		return dst, fmt.Errorf("%w: %d indexes for %d values", errColumn, len(b), n)
	}
	for _, i := range b {
		if int(i) >= count {
			return dst, fmt.Errorf("%w: index %d of %d", errColumn, i, count)
		}
		dst = append(dst, keys[i])
	}
	return dst, nil
}

func decodeVarints(dst []int64, b []byte, n int, delta bool) ([]int64, error) {
	if len(b) < n {
		return dst, fmt.Errorf("%w: cut short", errColumn)
	}
	last := int64(0)
	for i := range n {
		v, w := binary.Varint(b)
		if w <= 0 {
			return dst, fmt.Errorf("%w: value %d", errColumn, i)
		}
		b = b[w:]
		if delta {
			last += v
			v = last
		}
		dst = append(dst, v)
	}
	if len(b) != 0 {
		return dst, fmt.Errorf("%w: %d bytes too many", errColumn, len(b))
	}
	return dst, nil
}

// appendStrings writes a column of text: the number of distinct texts, each
// with its length, then their indexes as a column of integers.
func appendStrings(dst []byte, texts []string, index []int64, d *dictionary) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(texts)))
	for _, s := range texts {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	return appendInts(dst, index, d)
}

// decodeStrings reads a column of text; every index is valid in texts.
func decodeStrings(dst []int64, b []byte, n int) (texts []string, index []int64, err error) {
	count, w := binary.Uvarint(b)
	if w <= 0 || count > uint64(n) {
		return nil, dst[:0], fmt.Errorf("%w: number of texts", errColumn)
	}
	b = b[w:]
	texts = make([]string, 0, count)
	for i := range count {
		size, w := binary.Uvarint(b)
		if w <= 0 || size > uint64(len(b)-w) {
			return nil, dst[:0], fmt.Errorf("%w: text %d", errColumn, i)
		}
		texts = append(texts, string(b[w:w+int(size)]))
		b = b[w+int(size):]
	}
	if index, err = decodeInts(dst, b, n); err != nil {
		return nil, index, err
	}
	for _, i := range index {
		if i < 0 || i >= int64(len(texts)) {
			return nil, index, fmt.Errorf("%w: text %d of %d", errColumn, i, len(texts))
		}
	}
	return texts, index, nil
}
