package proc

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// mapping is one file that a process maps with execute permission.
type mapping struct {
	start, end uint64
	ino        uint64
	path       string // as the process saw it when it opened the file
}

// mappings returns every file of which the process maps code, once each, in
// the order of addresses. Kernel threads have none.
func (p FS) mappings(pid int) ([]mapping, error) {
	f, err := os.Open(p.path(pid, "maps"))
	if err != nil {
		return nil, procError("read memory map", pid, err)
	}
	defer f.Close()
	type file struct {
		dev, path string
		ino       uint64
	}
	seen := map[file]bool{}
	var all []mapping
	s := bufio.NewScanner(f)
	s.Buffer(make([]byte, 16<<10), 1<<20)
	for s.Scan() {
		m, dev, ok := parseMapping(s.Text())
		if key := (file{dev, m.path, m.ino}); ok && !seen[key] {
			seen[key] = true
			all = append(all, m)
		}
	}
	if err := s.Err(); err != nil {
		return nil, procError("read memory map", pid, err)
	}
	return all, nil
}

// parseMapping reads one line of /proc/PID/maps:
//
//	7f1c4a200000-7f1c4a3b2000 r-xp 00028000 fd:01 1234  /usr/lib/x.so
//
// ok is false for lines that are not code from a file.
func parseMapping(line string) (m mapping, dev string, ok bool) {
	next := func() string {
		f, rest, _ := strings.Cut(line, " ")
		line = rest
		return f
	}
	span, perm, _, dev, inode := next(), next(), next(), next(), next()
	path := strings.TrimLeft(line, " ")
	if len(perm) < 3 || perm[2] != 'x' || !strings.HasPrefix(path, "/") {
		return m, dev, false
	}
	lo, hi, _ := strings.Cut(span, "-")
	var err [3]error
	m.start, err[0] = strconv.ParseUint(lo, 16, 64)
	m.end, err[1] = strconv.ParseUint(hi, 16, 64)
	m.ino, err[2] = strconv.ParseUint(inode, 10, 64)
	m.path = strings.ReplaceAll(path, `\012`, "\n") // the only escape in this file
	return m, dev, err == [3]error{} && m.ino != 0
}
