package symbol

import (
	"bufio"
	"bytes"
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
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

// mapping is a stretch of code in the memory of a process.
type mapping struct {
	start, end, off uint64
	dev             string // with ino, as /proc/PID/maps has them
	ino             uint64
	path            string // as the process sees it; "[vdso]"
	file            *object
}

const (
	maxMappings = 1 << 14
	maxVDSO     = 1 << 16
	maxPause    = 2 * time.Second
)

func (p *process) find(ip uint64) *mapping {
	i := sort.Search(len(p.maps), func(i int) bool { return p.maps[i].end > ip })
	if i < len(p.maps) && p.maps[i].start <= ip {
		return &p.maps[i]
	}
	return nil
}

// readMaps returns where a process maps code from files.
func readMaps(pid int) ([]mapping, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []mapping
	s := bufio.NewScanner(f)
	s.Buffer(make([]byte, 16<<10), 1<<20)
	for s.Scan() && len(all) < maxMappings {
		if m, ok := parseMapping(s.Text()); ok {
			all = append(all, m)
		}
	}
	return all, s.Err()
}

// parseMapping reads one line of /proc/PID/maps:
//
//	7f1c4a200000-7f1c4a3b2000 r-xp 00028000 fd:01 1234  /usr/lib/x.so
func parseMapping(line string) (m mapping, ok bool) {
	next := func() string {
		f, rest, _ := strings.Cut(line, " ")
		line = rest
		return f
	}
	span, perm, off, dev, inode := next(), next(), next(), next(), next()
	path := strings.TrimLeft(line, " ")
	if len(perm) < 3 || perm[2] != 'x' || !strings.HasPrefix(path, "/") && path != "[vdso]" {
		return m, false
	}
	lo, hi, _ := strings.Cut(span, "-")
	var err [4]error
	m.start, err[0] = strconv.ParseUint(lo, 16, 64)
	m.end, err[1] = strconv.ParseUint(hi, 16, 64)
	m.off, err[2] = strconv.ParseUint(off, 16, 64)
	m.ino, err[3] = strconv.ParseUint(inode, 10, 64)
	m.dev, m.path = dev, strings.ReplaceAll(path, `\012`, "\n") // the only escape in this file
	return m, err == [4]error{} && m.start < m.end
}

// name is the mapped file's base name, for display.
func (m *mapping) name() string {
	return filepath.Base(strings.TrimSuffix(m.path, " (deleted)"))
}

// open maps the file behind a mapping. The way through map_files leads to
// the very file, deleted or not, in whatever container; where it is closed
// to us the path is followed within the root of the process, and counts if
// it ends at the same inode.
func (m *mapping) open(pid int) (fileKey, []byte, error) {
	if m.path == "[vdso]" {
		return m.vdso(pid)
	}
	key, data, err := mapFile(unix.AT_FDCWD, fmt.Sprintf("/proc/%d/map_files/%x-%x", pid, m.start, m.end), &unix.OpenHow{})
	if err == nil {
		return key, data, nil
	}
	key, data, err2 := mapInRoot(pid, strings.TrimSuffix(m.path, " (deleted)"))
	if err2 == nil && key.ino != m.ino {
		unix.Munmap(data)
		err2 = err
	}
	if err2 != nil {
		return fileKey{}, nil, err
	}
	return key, data, nil
}

// mapInRoot maps a file that a process names, or that may lie in its
// container. Links are followed within the process's root: they must not
// lead us to a file of the host.
func mapInRoot(pid int, path string) (fileKey, []byte, error) {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fileKey{}, nil, err
	}
	defer unix.Close(root)
	return mapFile(root, path, &unix.OpenHow{Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
}

// contents of a vDSO are told apart by hash: there is no file.
var vdsoSeed = maphash.MakeSeed()

func (m *mapping) vdso(pid int) (fileKey, []byte, error) {
	if m.end-m.start > maxVDSO {
		return fileKey{}, nil, errNotELF
	}
	b, err := readAll(fmt.Sprintf("/proc/%d/mem", pid), int64(m.start), int(m.end-m.start))
	if err != nil {
		return fileKey{}, nil, err
	}
	return fileKey{ino: maphash.Bytes(vdsoSeed, b), size: int64(len(b))}, bytes.Clone(b), nil
}

// merge puts new mappings over old ones. Old ones stay where nothing new is,
// for stacks that were captured before a library was unloaded.
func merge(old, now []mapping) (all []mapping, dropped []mapping) {
	for _, o := range old {
		i := sort.Search(len(now), func(i int) bool { return now[i].end > o.start })
		if i < len(now) && now[i].start < o.end || len(now)+len(all) >= 2*maxMappings {
			dropped = append(dropped, o)
		} else {
			all = append(all, o)
		}
	}
	all = append(all, now...)
	sort.Slice(all, func(i, j int) bool { return all[i].start < all[j].start })
	return all, dropped
}
