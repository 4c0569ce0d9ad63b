package store

import (
	"encoding/binary"
	"strconv"
)

// rowWriter makes the rows of events.
type rowWriter struct {
	tree   *btree
	types  []byte // what the values of a row are
	values []byte
	record []byte
	id     []byte
}

// number adds a value, in as few bytes as it needs.
func (x *rowWriter) number(v int64) {
	switch {
	case v == 0:
		x.types = append(x.types, 8)
	case v == 1:
		x.types = append(x.types, 9)
	case int64(int8(v)) == v:
		x.types, x.values = append(x.types, 1), append(x.values, byte(v))
	case int64(int16(v)) == v:
		x.types, x.values = append(x.types, 2), binary.BigEndian.AppendUint16(x.values, uint16(v))
	case v<<40>>40 == v:
		x.types, x.values = append(x.types, 3), append(x.values, byte(v>>16), byte(v>>8), byte(v))
	case int64(int32(v)) == v:
		x.types, x.values = append(x.types, 4), binary.BigEndian.AppendUint32(x.values, uint32(v))
	case v<<16>>16 == v:
		x.types = append(x.types, 5)
		x.values = binary.BigEndian.AppendUint32(append(x.values, byte(v>>40), byte(v>>32)), uint32(v))
	default:
		x.types, x.values = append(x.types, 6), binary.BigEndian.AppendUint64(x.values, uint64(v))
	}
}

// known is number, where negative is NULL.
func (x *rowWriter) known(v int64) {
	if v >= 0 {
		x.number(v)
		return
	}
	x.types = append(x.types, 0)
}

func (x *rowWriter) text(s []byte) {
	x.types = appendNumber(x.types, uint64(13+2*len(s)))
	x.values = append(x.values, s...)
}

// write adds a row, with the columns of eventColumns.
func (x *rowWriter) write(e *Stored) error {
	x.id = append(append(x.id[:0], e.Node...), ':')
	x.text(strconv.AppendInt(x.id, e.Seq, 10))
	x.number(e.Start)
	x.number(int64(e.PID))
	x.number(int64(e.TID))
	x.number(int64(e.Op.Source()))
	x.number(int64(e.Op.Code()))
	x.number(e.Dur)
	x.number(int64(e.GPU))
	x.number(int64(e.Arg0()))
	x.number(int64(e.Arg1()))
	x.number(int64(e.Ret))
	x.number(int64(e.Stack))
	x.text(x.id[:len(e.Node)])
	x.known(int64(e.Rank.Rank))
	x.known(int64(e.Rank.Local))
	x.known(int64(e.Rank.World))
	x.number(int64(e.Cgroup))
	x.types = appendNumber(x.types, uint64(13+2*len(e.Comm)))
	x.values = append(x.values, e.Comm...)
	x.number(int64(e.Bytes))
	x.number(int64(e.Handle))
	x.number(int64(e.Dir))
	x.number(int64(e.Depth))
	running := int64(-1)
	if e.Runnable >= 0 && e.Blocked >= 0 {
		running = max(e.Dur-e.Runnable-e.Blocked, 0)
	}
	x.known(running)
	x.known(e.Runnable)
	x.known(e.Blocked)
	return x.end()
}

// end adds the row that was made of values, and begins the next.
func (x *rowWriter) end() error {
	// The head of a record has its own length, too.
	head := len(x.types) + 1
	if head > 127 {
		head++
	}
	x.record = append(appendNumber(x.record[:0], uint64(head)), x.types...)
	x.record = append(x.record, x.values...)
	x.types, x.values = x.types[:0], x.values[:0]
	return x.tree.add(x.record)
}
