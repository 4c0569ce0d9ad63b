package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"

	"ingero/internal/event"
)

// A chunk is up to chunkEvents events, column by column:
//
//	1 byte   version
//	uvarint  number of events
//	uvarint  number of columns
//	for each column: uvarint id, uvarint size once unpacked (0: the column is
//	                 not compressed), uvarint size as stored
//	the columns in the same order, each its own zstd frame
//
// A reader skips columns it does not know and takes those that are missing
// as NULL, so columns can be added.
const (
	chunkVersion = 1
	chunkEvents  = 4096
	maxEvents    = 1 << 16 // more than any writer puts into a chunk
	maxColumn    = 8 << 20 // unpacked bytes of a column; bounds hostile input
	minPacked    = 32      // shorter columns are stored as they are
)

// column identifies a column on disk: never renumber, never reuse.
type column uint8

const (
	colStart column = iota + 1
	colDur
	colPID
	colTID
	colOp
	colDepth
	colDir
	colGPU
	colRet
	colBytes
	colHandle
	colStack
	colCgroup
	colComm
	colRank
	colLocal
	colWorld
	colRunnable
	colBlocked
	numColumns = iota + 1
)

// intColumns says how an event becomes columns and back; comm is text and
// handled apart.
var intColumns = []struct {
	id  column
	get func(*event.Event) int64
	set func(*event.Event, int64)
}{
	{colStart, func(e *event.Event) int64 { return e.Start }, func(e *event.Event, v int64) { e.Start = v }},
	{colDur, func(e *event.Event) int64 { return e.Dur }, func(e *event.Event, v int64) { e.Dur = v }},
	{colPID, func(e *event.Event) int64 { return int64(e.PID) }, func(e *event.Event, v int64) { e.PID = uint32(v) }},
	{colTID, func(e *event.Event) int64 { return int64(e.TID) }, func(e *event.Event, v int64) { e.TID = uint32(v) }},
	{colOp, func(e *event.Event) int64 { return int64(e.Op) }, func(e *event.Event, v int64) { e.Op = event.Op(v) }},
	{colDepth, func(e *event.Event) int64 { return int64(e.Depth) }, func(e *event.Event, v int64) { e.Depth = uint8(v) }},
	{colDir, func(e *event.Event) int64 { return int64(e.Dir) }, func(e *event.Event, v int64) { e.Dir = event.Direction(v) }},
	{colGPU, func(e *event.Event) int64 { return int64(e.GPU) }, func(e *event.Event, v int64) { e.GPU = int16(v) }},
	{colRet, func(e *event.Event) int64 { return int64(e.Ret) }, func(e *event.Event, v int64) { e.Ret = int32(v) }},
	{colBytes, func(e *event.Event) int64 { return int64(e.Bytes) }, func(e *event.Event, v int64) { e.Bytes = uint64(v) }},
	{colHandle, func(e *event.Event) int64 { return int64(e.Handle) }, func(e *event.Event, v int64) { e.Handle = uint64(v) }},
	{colStack, func(e *event.Event) int64 { return int64(e.Stack) }, func(e *event.Event, v int64) { e.Stack = uint64(v) }},
	{colCgroup, func(e *event.Event) int64 { return int64(e.Cgroup) }, func(e *event.Event, v int64) { e.Cgroup = uint64(v) }},
	{colRank, func(e *event.Event) int64 { return int64(e.Rank.Rank) }, func(e *event.Event, v int64) { e.Rank.Rank = int32(v) }},
	{colLocal, func(e *event.Event) int64 { return int64(e.Rank.Local) }, func(e *event.Event, v int64) { e.Rank.Local = int32(v) }},
	{colWorld, func(e *event.Event) int64 { return int64(e.Rank.World) }, func(e *event.Event, v int64) { e.Rank.World = int32(v) }},
	{colRunnable, func(e *event.Event) int64 { return e.Runnable }, func(e *event.Event, v int64) { e.Runnable = v }},
	{colBlocked, func(e *event.Event) int64 { return e.Blocked }, func(e *event.Event, v int64) { e.Blocked = v }},
}

// encoder turns events into chunks; not for concurrent use.
type encoder struct {
	zstd   *zstd.Encoder
	dict   dictionary
	ints   []int64
	raw    []byte
	header []byte
	body   []byte
	texts  []string
	comms  map[string]int64
}

func newEncoder() (*encoder, error) {
	// Checksums are left out: SQLite's pages and our own checks of every
	// length and index already catch damage without a crash.
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("start compression: %w", err)
	}
	return &encoder{zstd: z, comms: map[string]int64{}}, nil
}

// encode returns the chunk that holds events, in memory of its own.
func (e *encoder) encode(events []event.Event) []byte {
	e.header = append(e.header[:0], chunkVersion)
	e.header = binary.AppendUvarint(e.header, uint64(len(events)))
	e.header = binary.AppendUvarint(e.header, uint64(len(intColumns)+1))
	e.body = e.body[:0]
	for _, c := range intColumns {
		e.ints = e.ints[:0]
		for i := range events {
			e.ints = append(e.ints, c.get(&events[i]))
		}
		e.raw = appendInts(e.raw[:0], e.ints, &e.dict)
		e.add(c.id)
	}
	e.encodeComm(events)
	e.add(colComm)
	out := make([]byte, 0, len(e.header)+len(e.body))
	return append(append(out, e.header...), e.body...)
}

func (e *encoder) encodeComm(events []event.Event) {
	clear(e.comms)
	e.texts, e.ints = e.texts[:0], e.ints[:0]
	last, index := "", int64(-1)
	for i := range events {
		if s := events[i].Comm; index < 0 || s != last {
			known := false
			if index, known = e.comms[s]; !known {
				index = int64(len(e.texts))
				e.comms[s] = index
				e.texts = append(e.texts, s)
			}
			last = s
		}
		e.ints = append(e.ints, index)
	}
	e.raw = appendStrings(e.raw[:0], e.texts, e.ints, &e.dict)
}

// add appends e.raw to the chunk, compressed where that is shorter.
func (e *encoder) add(id column) {
	e.header = append(e.header, byte(id))
	start := len(e.body)
	if len(e.raw) >= minPacked {
		e.body = e.zstd.EncodeAll(e.raw, e.body)
		if packed := len(e.body) - start; packed < len(e.raw) {
			e.header = binary.AppendUvarint(e.header, uint64(len(e.raw)))
			e.header = binary.AppendUvarint(e.header, uint64(packed))
			return
		}
	}
	e.body = append(e.body[:start], e.raw...)
	e.header = append(e.header, 0)
	e.header = binary.AppendUvarint(e.header, uint64(len(e.raw)))
}

var errChunk = errors.New("damaged chunk of events")

// chunk is a parsed chunk; the columns are still packed.
type chunk struct {
	n    int
	cols [numColumns]packed
}

type packed struct {
	data []byte // nil: the chunk lacks this column
	raw  int    // size once unpacked; 0: not compressed
}

// parseChunk checks the header of a chunk that may be hostile.
func parseChunk(b []byte) (chunk, error) {
	var c chunk
	if len(b) == 0 || b[0] != chunkVersion {
		return c, fmt.Errorf("%w: unknown version", errChunk)
	}
	b = b[1:]
	bad := false
	next := func(limit uint64) int {
		v, w := binary.Uvarint(b)
		if w <= 0 || v > limit {
			bad, b = true, nil
			return 0
		}
		b = b[w:]
		return int(v)
	}
	c.n = next(maxEvents)
	count := next(255)
	type entry struct{ id, raw, size int }
	entries := make([]entry, 0, numColumns)
	for range count {
		entries = append(entries, entry{next(255), next(maxColumn), next(maxColumn)})
	}
	if bad {
		return c, fmt.Errorf("%w: header", errChunk)
	}
	for _, x := range entries {
		if x.size > len(b) {
			return c, fmt.Errorf("%w: column %d is cut short", errChunk, x.id)
		}
		if x.id > 0 && x.id < numColumns {
			if c.cols[x.id].data != nil {
				return c, fmt.Errorf("%w: column %d comes twice", errChunk, x.id)
			}
			c.cols[x.id] = packed{b[:x.size:x.size], x.raw}
		}
		b = b[x.size:]
	}
	return c, nil
}

// decoder unpacks columns; not for concurrent use.
type decoder struct {
	raw    []byte
	values []int64
}

// Decoders of zstd are costly to make and safe to share in DecodeAll.
var unzstd = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxColumn))
})

// unpack returns the bytes of a column, valid until the next call, or nil if
// the chunk lacks it.
func (d *decoder) unpack(c *chunk, id column) ([]byte, error) {
	p := c.cols[id]
	if p.data == nil || p.raw == 0 {
		return p.data, nil
	}
	z, err := unzstd()
	if err != nil {
		return nil, fmt.Errorf("start decompression: %w", err)
	}
	if d.raw, err = z.DecodeAll(p.data, d.raw[:0]); err != nil {
		return nil, fmt.Errorf("%w: column %d: %w", errChunk, id, err)
	}
	if len(d.raw) != p.raw {
		return nil, fmt.Errorf("%w: column %d has %d bytes, not %d", errChunk, id, len(d.raw), p.raw)
	}
	return d.raw, nil
}

// ints unpacks a column of integers into dst; false if the chunk lacks it.
func (d *decoder) ints(c *chunk, id column, dst []int64) ([]int64, bool, error) {
	b, err := d.unpack(c, id)
	if err != nil || b == nil {
		return dst[:0], false, err
	}
	dst, err = decodeInts(dst, b, c.n)
	return dst, err == nil, err
}

// strings unpacks a column of text; false if the chunk lacks it.
func (d *decoder) strings(c *chunk, id column, dst []int64) ([]string, []int64, bool, error) {
	b, err := d.unpack(c, id)
	if err != nil || b == nil {
		return nil, dst[:0], false, err
	}
	texts, dst, err := decodeStrings(dst, b, c.n)
	return texts, dst, err == nil, err
}

// events unpacks the events that keep returns true for, given the index of
// the event; nil keeps all.
func (d *decoder) events(c *chunk, keep func(i int) bool) ([]event.Event, error) {
	var at []int
	for i := range c.n {
		if keep == nil || keep(i) {
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return nil, nil
	}
	return d.fill(make([]event.Event, len(at)), c, at)
}

// all unpacks all events into the memory of dst, if there is enough.
func (d *decoder) all(dst []event.Event, c *chunk) ([]event.Event, error) {
	dst = slices.Grow(dst[:0], c.n)[:c.n]
	clear(dst)
	return d.fill(dst, c, nil)
}

// fill unpacks the events with the indexes at into out; nil is all.
func (d *decoder) fill(out []event.Event, c *chunk, at []int) ([]event.Event, error) {
	for k := range out {
		out[k].Runnable, out[k].Blocked = -1, -1 // older chunks do not have them
	}
	var err error
	for _, col := range intColumns {
		var ok bool
		if d.values, ok, err = d.ints(c, col.id, d.values); err != nil {
			return nil, err
		} else if !ok {
			continue
		}
		if at == nil {
			for i, v := range d.values {
				col.set(&out[i], v)
			}
			continue
		}
		for k, i := range at {
			col.set(&out[k], d.values[i])
		}
	}
	texts, index, ok, err := d.strings(c, colComm, d.values)
	d.values = index
	if err != nil || !ok {
		return out, err
	}
	for k := range out {
		i := k
		if at != nil {
			i = at[k]
		}
		out[k].Comm = texts[index[i]]
	}
	return out, nil
}
