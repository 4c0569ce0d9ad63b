package proc

import (
	"bytes"
	"encoding/binary"
	"os"
	"runtime"
)

// ldCache maps the name of a library to the files the loader may take for
// it, best first.
type ldCache map[string][]string

// cacheMagic starts the format of glibc 2.2 and later, which may follow
// after a table in the older one; see elf/dl-cache.h in glibc.
var cacheMagic = []byte("glibc-ld.so.cache1.1")

const (
	cacheHeader = 48
	cacheEntry  = 24
	maxLDCache  = 16 << 20
)

// readLDCache reads /etc/ld.so.cache. Without one (musl has none) the answer
// is empty, as it is for a damaged one.
func readLDCache(path string) ldCache {
	if st, err := os.Stat(path); err != nil || st.Size() > maxLDCache {
		return nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return parseLDCache(b)
}

func parseLDCache(b []byte) ldCache {
	start := bytes.Index(b, cacheMagic)
	if start < 0 {
		return nil
	}
	b = b[start:] // offsets count from here
	if len(b) < cacheHeader {
		return nil
	}
	text := func(off uint32) string {
		if uint64(off) >= uint64(len(b)) {
			return ""
		}
		s, _, ok := bytes.Cut(b[off:], []byte{0})
		if !ok {
			return ""
		}
		return string(s)
	}
	// The second byte of an entry's flags is the kind of machine code.
	arch := map[string]uint32{"amd64": 0x0300, "arm64": 0x0a00}[runtime.GOARCH]
	n := binary.LittleEndian.Uint32(b[len(cacheMagic):])
	n = min(n, uint32((len(b)-cacheHeader)/cacheEntry))
	found := ldCache{}
	for i := range int(n) {
		e := b[cacheHeader+i*cacheEntry:]
		if binary.LittleEndian.Uint32(e)&0xff00 != arch {
			continue
		}
		name, path := text(binary.LittleEndian.Uint32(e[4:])), text(binary.LittleEndian.Uint32(e[8:]))
		if name != "" && path != "" {
			found[name] = append(found[name], path)
		}
	}
	return found
}
