package symbol

import (
	"bytes"
	"compress/zlib"
	"debug/elf"
	"encoding/binary"
	"io"

	"github.com/klauspost/compress/zstd"
)

// sections are the parts of DWARF that lines and inlined functions need:
// parts of the mapped file or, where the file has them compressed, unpacked
// ones on the heap.
type sections struct {
	abbrev, info, line, str, ranges      []byte
	lineStr, addr, strOffsets, rangeList []byte

	unpacked int64
}

// hasLines reports whether a file says where its code comes from.
func (i *image) hasLines() bool {
	if i == nil {
		return false
	}
	_, line := i.find(func(s section) bool { return i.debugName(s) == "line" })
	_, info := i.find(func(s section) bool { return i.debugName(s) == "info" })
	return line && info
}

// debugName returns "line" for .debug_line, and for .zdebug_line as older
// linkers call it when it is compressed.
func (i *image) debugName(s section) string {
	if s.typ == elf.SHT_NOBITS {
		return ""
	}
	name := text(i.names, s.name, 32)
	if after, ok := bytes.CutPrefix(name, []byte(".debug_")); ok {
		return string(after)
	}
	after, _ := bytes.CutPrefix(name, []byte(".zdebug_"))
	if len(after) == len(name) {
		return ""
	}
	return string(after)
}

// debugSections finds the parts, and unpacks at most limit bytes.
func (i *image) debugSections(limit int64) (d sections, ok bool) {
	into := map[string]*[]byte{
		"abbrev": &d.abbrev, "info": &d.info, "line": &d.line, "str": &d.str, "ranges": &d.ranges,
		"line_str": &d.lineStr, "addr": &d.addr, "str_offsets": &d.strOffsets, "rnglists": &d.rangeList,
	}
	for n := range i.shnum {
		s, _ := i.section(n)
		to := into[i.debugName(s)]
		if to == nil || *to != nil {
			continue
		}
		b, ok := i.content(s)
		if !ok {
			return d, false
		}
		if *to, ok = i.unpack(s, b, limit-d.unpacked); !ok {
			return d, false
		}
		if len(*to) > 0 && len(b) > 0 && &(*to)[0] != &b[0] {
			d.unpacked += int64(len(*to))
		}
	}
	return d, len(d.info) > 0 && len(d.line) > 0
}

// unpack returns the bytes of a section, those of a compressed one if they
// are no more than limit.
func (i *image) unpack(s section, b []byte, limit int64) ([]byte, bool) {
	old := bytes.HasPrefix(text(i.names, s.name, 32), []byte(".z"))
	var kind elf.CompressionType
	var size uint64
	switch {
	case s.flags&elf.SHF_COMPRESSED != 0 && len(b) >= 24:
		kind, size, b = elf.CompressionType(le.Uint32(b)), le.Uint64(b[8:]), b[24:]
	case s.flags&elf.SHF_COMPRESSED != 0:
		return nil, false
	case old && len(b) >= 12 && string(b[:4]) == "ZLIB":
		kind, size, b = elf.COMPRESS_ZLIB, binary.BigEndian.Uint64(b[4:]), b[12:]
	default:
		return b, true
	}
	if limit < 0 || size > uint64(limit) {
		return nil, false
	}
	var r io.Reader
	switch kind {
	case elf.COMPRESS_ZLIB:
		z, err := zlib.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, false
		}
		r = z
	case elf.COMPRESS_ZSTD:
		z, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(uint64(limit)+1<<20))
		if err != nil {
			return nil, false
		}
		defer z.Close()
		r = z
	default:
		return nil, false
	}
	if size > 2000*uint64(len(b)) && kind == elf.COMPRESS_ZLIB { // more than zlib can
		return nil, false
	}
	out := make([]byte, size)
	_, err := io.ReadFull(r, out)
	return out, err == nil
}
