package symbol

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"ingero/internal/proc"
)

// process is what is known of the memory of one process.
type process struct {
	pid   int
	start int64
	used  uint64
	maps  []mapping // by address, not overlapping
	next  time.Time // when the memory map may be read again
	pause time.Duration
}

// mapping is code in the memory of a process.
type mapping struct {
	proc.Mapping
	file *object
}

const (
	maxMappings = 1 << 14
	maxVDSO     = 1 << 16
	maxPause    = 2 * time.Second
)

func (p *process) find(ip uint64) *mapping {
	i := sort.Search(len(p.maps), func(i int) bool { return p.maps[i].End > ip })
	if i < len(p.maps) && p.maps[i].Start <= ip {
		return &p.maps[i]
	}
	return nil
}

// readMaps returns where a process maps code from files.
func readMaps(pid int) ([]mapping, error) {
	var all []mapping
	for m, err := range (proc.FS{}).Mappings(pid) {
		if err != nil {
			return nil, err
		}
		if m.Code && (m.OfFile() || m.Path == vdso) && len(all) < maxMappings {
			all = append(all, mapping{Mapping: m})
		}
	}
	return all, nil
}

// name is the mapped file's base name, for display.
func (m *mapping) name() string {
	return filepath.Base(strings.TrimSuffix(m.Path, " (deleted)"))
}

// open maps the file behind a mapping.
func (m *mapping) open(pid int) (fileKey, []byte, error) {
	if m.Path == vdso {
		return m.readVDSO(pid)
	}
	return mapFile(proc.FS{}.OpenMapped(pid, m.Mapping))
}

const vdso = "[vdso]"

// contents of a vDSO are told apart by hash: there is no file.
var vdsoSeed = maphash.MakeSeed()

func (m *mapping) readVDSO(pid int) (fileKey, []byte, error) {
	if m.End-m.Start > maxVDSO {
		return fileKey{}, nil, errNotELF
	}
	b, err := readAll(fmt.Sprintf("/proc/%d/mem", pid), int64(m.Start), int(m.End-m.Start))
	if err != nil {
		return fileKey{}, nil, err
	}
	return fileKey{ino: maphash.Bytes(vdsoSeed, b), size: int64(len(b))}, bytes.Clone(b), nil
}

// merge puts new mappings over old ones. Old ones stay where nothing new is,
// for stacks that were captured before a library was unloaded.
func merge(old, now []mapping) (all []mapping, dropped []mapping) {
	for _, o := range old {
		i := sort.Search(len(now), func(i int) bool { return now[i].End > o.Start })
		if i < len(now) && now[i].Start < o.End || len(now)+len(all) >= 2*maxMappings {
			dropped = append(dropped, o)
		} else {
			all = append(all, o)
		}
	}
	all = append(all, now...)
	sort.Slice(all, func(i, j int) bool { return all[i].Start < all[j].Start })
	return all, dropped
}
