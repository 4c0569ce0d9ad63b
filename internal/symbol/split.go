package symbol

import (
	"bytes"
	"encoding/hex"
	"hash/crc32"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"ingero/internal/proc"
)

// maxSummed is the largest file whose checksum is worth computing: a second.
const maxSummed = 1 << 30

// findSplit looks for the file that the debug information of a binary was
// split off to: by build id, then by .gnu_debuglink beside the binary and
// under the debug folders, first in the root of the process, then here. Here
// only the build id counts: another system's paths mean nothing.
func (r *Resolver) findSplit(b *object, pid int, path string) {
	if b.heap || b.img == nil {
		return
	}
	id := b.img.buildID()
	link, sum, linked := b.img.debugLink()
	var byID, byLink []string
	for _, dir := range r.opts.DebugDirs {
		if len(id) > 1 {
			h := hex.EncodeToString(id)
			byID = append(byID, filepath.Join(dir, ".build-id", h[:2], h[2:]+".debug"))
		}
		if own := filepath.Dir(path); linked && strings.HasPrefix(own, "/") {
			byLink = append(byLink, filepath.Join(dir, own, link))
		}
	}
	if own := filepath.Dir(path); linked && strings.HasPrefix(own, "/") {
		byLink = append([]string{filepath.Join(own, link), filepath.Join(own, ".debug", link)}, byLink...)
	}
	try := func(data []byte, err error, sum *uint32) bool {
		if err != nil {
			return false
		}
		img, err := parseImage(data)
		if err == nil && belongs(img, b.img, id, sum) {
			b.split, b.splits = img, data
			return true
		}
		unix.Munmap(data)
		return false
	}
	for _, p := range byID {
		_, data, err := mapFile(proc.FS{}.OpenInside(pid, p))
		if try(data, err, nil) {
			return
		}
		_, data, err = mapFile(proc.OpenRegular(p))
		if try(data, err, nil) {
			return
		}
	}
	for _, p := range byLink {
		key, data, err := mapFile(proc.FS{}.OpenInside(pid, p))
		if key == b.key && data != nil { // a link to itself
			unix.Munmap(data)
			continue
		}
		if try(data, err, &sum) {
			return
		}
	}
}

// belongs reports whether a file holds the debug information of img: it has
// the same build id or, where one of them has none, the checksum that img
// asks for.
func belongs(split, img *image, id []byte, sum *uint32) bool {
	if have := split.buildID(); len(have) > 0 && len(id) > 0 {
		return bytes.Equal(have, id)
	}
	return sum != nil && len(split.data) <= maxSummed && crc32.ChecksumIEEE(split.data) == *sum
}
