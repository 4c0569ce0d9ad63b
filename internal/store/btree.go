package store

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
)

// btree writes the rows of a table into a closed SQLite file, page by page as
// https://www.sqlite.org/fileformat2.html defines them. Rows come in the order
// of their rowid, 1 and up, so that every page is written once and in order:
// some ten times as fast as INSERT. The table is empty before.
//
//	leaf page:     0x0d, rows         cell: size, rowid, record
//	interior page: 0x05, children     cell: child, its last rowid
//
// A page's cells lie at its end, the last one first, and offsets of them after
// its head.
type btree struct {
	file  *os.File
	out   *bufio.Writer
	size  int    // of a page
	page  uint32 // the last one of the file
	lock  uint32 // SQLite takes its locks where this page is, which stays unused
	root  uint32 // of the table
	rowid int64  // of the last row
	leaf  pageBuffer
	upper []level // the one above the leaves first
	spare pageBuffer
}

// level is the interior page that is being filled at one height of the tree.
type level struct {
	pages []uint32
	last  []int64 // rowid of each
}

// pageBuffer is a page that is being filled.
type pageBuffer struct {
	b     []byte
	head  int // bytes before the offsets of the cells
	cells int
	low   int // begin of the cells
}

// Offsets in the head of the file.
const (
	fileHead     = 100
	filePageSize = 16
	filePages    = 28
)

const (
	leafPage     = 0x0d
	interiorPage = 0x05
	leafHead     = 8
	interiorHead = 12
	lockedByte   = 1 << 30
)

// openTree opens the file to fill the table whose root page is given.
func openTree(path string, root uint32) (*btree, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	t := &btree{file: f, root: root}
	if err := t.begin(); err != nil {
		f.Close()
		return nil, err
	}
	return t, nil
}

func (t *btree) begin() error {
	head := make([]byte, fileHead)
	if _, err := t.file.ReadAt(head, 0); err != nil {
		return err
	}
	t.size = int(binary.BigEndian.Uint16(head[filePageSize:]))
	t.page = binary.BigEndian.Uint32(head[filePages:])
	if t.size < 512 || t.root < 2 || t.page < t.root {
		return fmt.Errorf("a new database has %d pages of %d bytes, the table of events begins at %d", t.page, t.size, t.root)
	}
	t.lock = uint32(lockedByte/t.size) + 1
	if _, err := t.file.Seek(int64(t.page)*int64(t.size), 0); err != nil {
		return err
	}
	t.out = bufio.NewWriterSize(t.file, 1<<20)
	t.leaf.b, t.spare.b = make([]byte, t.size), make([]byte, t.size)
	t.leaf.clear(leafPage, leafHead)
	return nil
}

// add appends a row, as a record.
func (t *btree) add(record []byte) error {
	t.rowid++
	local := t.local(len(record))
	cell := numberLen(uint64(len(record))) + numberLen(uint64(t.rowid)) + local
	overflow := local < len(record)
	if overflow {
		cell += 4
	}
	if !t.leaf.fits(cell) {
		if err := t.endLeaf(t.rowid - 1); err != nil {
			return err
		}
	}
	b := t.leaf.cell(cell)
	b = appendNumber(b, uint64(len(record)))
	b = appendNumber(b, uint64(t.rowid))
	b = append(b, record[:local]...)
	if !overflow {
		return nil
	}
	binary.BigEndian.AppendUint32(b, t.next(t.page))
	return t.overflow(record[local:])
}

// local is how much of a record lies in its leaf.
func (t *btree) local(record int) int {
	most, least := t.size-35, (t.size-12)*32/255-23
	if record <= most {
		return record
	}
	if n := least + (record-least)%(t.size-4); n <= most {
		return n
	}
	return least
}

// overflow writes the rest of a record, as a list of pages.
func (t *btree) overflow(rest []byte) error {
	for len(rest) > 0 {
		n := min(len(rest), t.size-4)
		clear(t.spare.b)
		copy(t.spare.b[4:], rest[:n])
		if rest = rest[n:]; len(rest) > 0 {
			binary.BigEndian.PutUint32(t.spare.b, t.next(t.next(t.page)))
		}
		if _, err := t.append(t.spare.b); err != nil {
			return err
		}
	}
	return nil
}

// next is the page that will be written after one.
func (t *btree) next(page uint32) uint32 {
	if page+1 == t.lock {
		return page + 2
	}
	return page + 1
}

// append writes the next page and returns its number.
func (t *btree) append(b []byte) (uint32, error) {
	if t.page+1 == t.lock {
		if _, err := t.out.Write(make([]byte, t.size)); err != nil {
			return 0, err
		}
	}
	t.page = t.next(t.page)
	_, err := t.out.Write(b)
	return t.page, err
}

// endLeaf writes the leaf, whose last row is given.
func (t *btree) endLeaf(last int64) error {
	page, err := t.append(t.leaf.done())
	if err != nil {
		return err
	}
	t.leaf.clear(leafPage, leafHead)
	return t.child(0, page, last)
}

// child adds a page to the interior page of a height. A full one is written when
// two children are left for the next, since SQLite wants a key in each.
func (t *btree) child(height int, page uint32, last int64) error {
	if height == len(t.upper) {
		t.upper = append(t.upper, level{})
	}
	l := &t.upper[height]
	l.pages, l.last = append(l.pages, page), append(l.last, last)
	n := len(l.pages) - 2
	if n < (t.size-interiorHead)/(2+4+9) { // offset, page, the longest number
		return nil
	}
	number, err := t.append(t.interior(l.pages[:n], l.last[:n]))
	if err != nil {
		return err
	}
	end := l.last[n-1]
	l.pages, l.last = append(l.pages[:0], l.pages[n:]...), append(l.last[:0], l.last[n:]...)
	return t.child(height+1, number, end)
}

// interior makes the page that has these children.
func (t *btree) interior(pages []uint32, last []int64) []byte {
	t.spare.clear(interiorPage, interiorHead)
	n := len(pages) - 1
	for i := range n {
		b := t.spare.cell(4 + numberLen(uint64(last[i])))
		appendNumber(binary.BigEndian.AppendUint32(b, pages[i]), uint64(last[i]))
	}
	binary.BigEndian.PutUint32(t.spare.b[8:], pages[n])
	return t.spare.done()
}

// finish writes what is left, the root last, and the file's new size.
func (t *btree) finish() error {
	root := t.leaf.done()
	if len(t.upper) > 0 {
		if err := t.endLeaf(t.rowid); err != nil {
			return err
		}
		for h := 0; h < len(t.upper)-1; h++ {
			l := &t.upper[h]
			number, err := t.append(t.interior(l.pages, l.last))
			if err != nil {
				return err
			}
			if err := t.child(h+1, number, l.last[len(l.last)-1]); err != nil {
				return err
			}
		}
		top := &t.upper[len(t.upper)-1]
		root = t.interior(top.pages, top.last)
	}
	if err := t.out.Flush(); err != nil {
		return err
	}
	if _, err := t.file.WriteAt(root, int64(t.root-1)*int64(t.size)); err != nil {
		return err
	}
	if _, err := t.file.WriteAt(binary.BigEndian.AppendUint32(nil, t.page), filePages); err != nil {
		return err
	}
	return t.close()
}

// close closes the file, finished or not.
func (t *btree) close() error { return t.file.Close() }

func (p *pageBuffer) clear(kind byte, head int) {
	clear(p.b)
	p.b[0] = kind
	p.head, p.cells, p.low = head, 0, len(p.b)
}

func (p *pageBuffer) fits(cell int) bool { return p.low-cell >= p.head+2*p.cells+2 }

// cell makes room for a cell, which is to be appended to what is returned.
func (p *pageBuffer) cell(size int) []byte {
	p.low -= size
	binary.BigEndian.PutUint16(p.b[p.head+2*p.cells:], uint16(p.low))
	p.cells++
	return p.b[p.low : p.low : p.low+size]
}

func (p *pageBuffer) done() []byte {
	binary.BigEndian.PutUint16(p.b[3:], uint16(p.cells))
	binary.BigEndian.PutUint16(p.b[5:], uint16(p.low))
	return p.b
}

// appendNumber appends a number as SQLite writes it: 7 bits a byte, the high
// ones first, the ninth byte with 8.
func appendNumber(b []byte, v uint64) []byte {
	n := numberLen(v)
	if n == 9 {
		for shift := 57; shift >= 8; shift -= 7 {
			b = append(b, byte(v>>shift)|0x80)
		}
		return append(b, byte(v))
	}
	for i := n - 1; i > 0; i-- {
		b = append(b, byte(v>>(7*i))|0x80)
	}
	return append(b, byte(v)&0x7f)
}

func numberLen(v uint64) int {
	n := 1
	for v >>= 7; v > 0 && n < 9; v >>= 7 {
		n++
	}
	return n
}
