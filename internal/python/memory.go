package python

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"unicode/utf8"
)

// memory reads a process. It is an open /proc/PID/mem: once the process has
// ended, or runs another program, there is nothing left to read, and no
// other process with its number is ever read.
type memory struct{ io.ReaderAt }

func openMemory(pid int) (*os.File, error) {
	return os.Open(fmt.Sprintf("/proc/%d/mem", pid))
}

func (m memory) read(b []byte, at uint64) error {
	if at > math.MaxInt64-uint64(len(b)) {
		return fmt.Errorf("read memory at %#x: not of a process", at)
	}
	_, err := m.ReadAt(b, int64(at))
	return err
}

func (m memory) word(at uint64) (uint64, error) {
	var b [8]byte
	err := m.read(b[:], at)
	return binary.LittleEndian.Uint64(b[:]), err
}

// Longest texts that are kept, in characters: a name longer than that is cut.
const (
	maxName = 256
	maxPath = 4096
)

// text reads a str object, cut after most characters.
func (m memory) text(l *layout, at uint64, most int) (string, error) {
	head := make([]byte, l.strCompact)
	if err := m.read(head[:l.strASCII], at); err != nil {
		return "", err
	}
	length := binary.LittleEndian.Uint64(head[l.strLength:])
	kind, ascii, ok := stringState(binary.LittleEndian.Uint32(head[l.strState:]))
	if !ok {
		return "", fmt.Errorf("read a string at %#x: there is none", at)
	}
	cut := length > uint64(most)
	b := make([]byte, min(length, uint64(most))*uint64(kind))
	data := at + l.strCompact
	if ascii {
		data = at + l.strASCII
	}
	if err := m.read(b, data); err != nil {
		return "", err
	}
	s := decode(b, kind)
	if cut {
		s += "…"
	}
	return s, nil
}

// stringState decodes the bits of a str: how many bytes a character has, and
// if all are ASCII. They follow the interning state, which has 2 bits, 8 in
// free-threaded builds; strings of other forms are not made for code objects.
func stringState(state uint32) (kind int, ascii, ok bool) {
	for _, shift := range []int{2, 8, 16} {
		s := state >> shift
		kind, compact, ascii := int(s&7), s&8 != 0, s&16 != 0
		if compact && (kind == 1 || (kind == 2 || kind == 4) && !ascii) {
			return kind, ascii, true
		}
	}
	return 0, false, false
}

// decode turns characters of 1, 2 or 4 bytes into UTF-8; control characters
// are replaced, for these texts are printed.
func decode(b []byte, kind int) string {
	out := make([]byte, 0, len(b))
	for ; len(b) >= kind; b = b[kind:] {
		r := rune(b[0])
		switch kind {
		case 2:
			r = rune(binary.LittleEndian.Uint16(b))
		case 4:
			r = rune(min(binary.LittleEndian.Uint32(b), utf8.MaxRune+1))
		}
		if r < ' ' || r == 0x7f {
			r = utf8.RuneError
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out)
}

// data reads a bytes object, of most bytes at most.
func (m memory) data(l *layout, at uint64, most int) ([]byte, error) {
	size, err := m.word(at + l.bytesSize)
	if err != nil {
		return nil, err
	}
	if size > uint64(most) {
		return nil, fmt.Errorf("read bytes at %#x: %d of them", at, size)
	}
	b := make([]byte, size)
	return b, m.read(b, at+l.bytesData)
}
