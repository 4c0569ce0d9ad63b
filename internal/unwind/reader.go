package unwind

import "encoding/binary"

// reader takes numbers from the front of b. After the first failure it is
// bad and yields zeros.
type reader struct {
	b    []byte
	addr uint64 // of b[0], as the file counts
	bad  bool
}

func (r *reader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	r.addr += n
	return b
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) uleb() uint64 {
	var v uint64
	for shift := uint(0); ; shift += 7 {
		c := r.u8()
		if r.bad || shift > 63 {
			r.bad = true
			return 0
		}
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
}

func (r *reader) sleb() int64 {
	var v int64
	for shift := uint(0); ; {
		c := r.u8()
		if r.bad || shift > 63 {
			r.bad = true
			return 0
		}
		v |= int64(c&0x7f) << shift
		shift += 7
		if c < 0x80 {
			if c&0x40 != 0 && shift < 64 {
				v |= -1 << shift
			}
			return v
		}
	}
}

func (r *reader) text() string {
	for i, c := range r.b {
		if r.bad || i >= 16 {
			break
		}
		if c == 0 {
			return string(r.take(uint64(i) + 1)[:i])
		}
	}
	r.bad = true
	return ""
}

// Pointer encodings, LSB "DWARF Exception Header Encoding".
const (
	encOmit     = 0xff
	encPCRel    = 0x10
	encDataRel  = 0x30
	encIndirect = 0x80
)

// value reads a number in the format of an encoding.
func (r *reader) value(enc uint8) uint64 {
	switch enc & 0x0f {
	case 0x00, 0x04, 0x0c:
		return r.u64()
	case 0x01:
		return r.uleb()
	case 0x02:
		return uint64(r.u16())
	case 0x03:
		return uint64(r.u32())
	case 0x09:
		return uint64(r.sleb())
	case 0x0a:
		return uint64(int16(r.u16()))
	case 0x0b:
		return uint64(int32(r.u32()))
	}
	r.bad = true
	return 0
}

// pointer reads an address; data is what encDataRel counts from.
func (r *reader) pointer(enc uint8, data uint64) uint64 {
	at := r.addr
	v := r.value(enc)
	switch enc & 0x70 {
	case 0:
	case encPCRel:
		v += at
	case encDataRel:
		v += data
	default:
		r.bad = true
	}
	if enc&encIndirect != 0 {
		r.bad = true
	}
	return v
}
