package unwind

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// area is code that a process maps.
type area struct {
	start, end, offset uint64
	path               string // empty for memory without a file
	span               string // as procfs names it
}

// areas reads the code mappings of a process, in the order of addresses.
func areas(root string, pid int) ([]area, error) {
	f, err := os.Open(filepath.Join(root, strconv.Itoa(pid), "maps"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []area
	s := bufio.NewScanner(f)
	s.Buffer(make([]byte, 16<<10), 1<<20)
	for s.Scan() {
		if a, ok := parseArea(s.Text()); ok {
			all = append(all, a)
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("read the memory map of process %d: %w", pid, err)
	}
	return all, nil
}

// parseArea reads one line; ok is false for what is not code of the process.
func parseArea(line string) (a area, ok bool) {
	fields := strings.SplitN(line, " ", 6)
	if len(fields) < 5 || len(fields[1]) < 3 || fields[1][2] != 'x' {
		return a, false
	}
	a.span = fields[0]
	lo, hi, _ := strings.Cut(fields[0], "-")
	var err [3]error
	a.start, err[0] = strconv.ParseUint(lo, 16, 64)
	a.end, err[1] = strconv.ParseUint(hi, 16, 64)
	a.offset, err[2] = strconv.ParseUint(fields[2], 16, 64)
	if len(fields) == 6 && fields[4] != "0" {
		a.path = strings.ReplaceAll(strings.TrimLeft(fields[5], " "), `\012`, "\n")
	}
	return a, err == [3]error{} && a.start < a.end && a.start < 1<<63
}

// open opens the file of an area: the very file that is mapped, whatever its
// path leads to now, or else what the process sees at that path.
func (a area) open(root string, pid int) (*os.File, error) {
	dir := filepath.Join(root, strconv.Itoa(pid))
	lo, hi, _ := strings.Cut(a.span, "-")
	err := ErrNone
	for _, path := range []string{
		filepath.Join(dir, "map_files", strings.TrimLeft(lo, "0")+"-"+strings.TrimLeft(hi, "0")),
		filepath.Join(dir, "root", a.path),
	} {
		// Only regular files: to open a device or a pipe may do harm or block.
		st, err2 := os.Stat(path)
		if err2 != nil || !st.Mode().IsRegular() {
			continue
		}
		f, err2 := os.Open(path)
		if err2 == nil {
			return f, nil
		}
		err = err2
	}
	return nil, err
}
