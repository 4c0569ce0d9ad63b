package proc

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Mapping is a stretch of memory of a process, as /proc/PID/maps has it.
type Mapping struct {
	Start, End uint64
	Offset     uint64 // of Start in the file
	Code       bool   // may be executed
	Dev        string // with Inode, the file; Inode is 0 without one
	Inode      uint64
	Path       string // as the process saw it when it opened the file; "[vdso]", "[heap]" and so on without one
}

// Mappings returns what a process maps, in the order of addresses. An error
// comes last. Kernel threads map nothing.
func (p FS) Mappings(pid int) iter.Seq2[Mapping, error] {
	return func(yield func(Mapping, error) bool) {
		f, err := os.Open(p.path(pid, "maps"))
		if err != nil {
			yield(Mapping{}, procError("read memory map", pid, err))
			return
		}
		defer f.Close()
		s := bufio.NewScanner(f)
		s.Buffer(make([]byte, 16<<10), 1<<20)
		for s.Scan() {
			if m, ok := ParseMapping(s.Text()); ok && !yield(m, nil) {
				return
			}
		}
		if err := s.Err(); err != nil {
			yield(Mapping{}, procError("read memory map", pid, err))
		}
	}
}

// ParseMapping reads one line of /proc/PID/maps:
//
//	7f1c4a200000-7f1c4a3b2000 r-xp 00028000 fd:01 1234  /usr/lib/x.so
func ParseMapping(line string) (m Mapping, ok bool) {
	next := func() string {
		f, rest, _ := strings.Cut(line, " ")
		line = rest
		return f
	}
	span, perm, offset, dev, inode := next(), next(), next(), next(), next()
	lo, hi, _ := strings.Cut(span, "-")
	var err [4]error
	m.Start, err[0] = strconv.ParseUint(lo, 16, 64)
	m.End, err[1] = strconv.ParseUint(hi, 16, 64)
	m.Offset, err[2] = strconv.ParseUint(offset, 16, 64)
	m.Inode, err[3] = strconv.ParseUint(inode, 10, 64)
	m.Dev, m.Code = dev, len(perm) > 2 && perm[2] == 'x'
	m.Path = strings.ReplaceAll(strings.TrimLeft(line, " "), `\012`, "\n") // the only escape in this file
	return m, err == [4]error{} && m.Start < m.End
}

// OfFile reports whether it is a file that is mapped, and not a device of the
// kernel's own or nothing.
func (m *Mapping) OfFile() bool { return m.Inode != 0 && strings.HasPrefix(m.Path, "/") }

// code returns every file of which the process maps code, once each.
func (p FS) code(pid int) ([]Mapping, error) {
	type file struct {
		dev, path string
		ino       uint64
	}
	seen := map[file]bool{}
	var all []Mapping
	for m, err := range p.Mappings(pid) {
		if err != nil {
			return nil, err
		}
		if key := (file{m.Dev, m.Path, m.Inode}); m.Code && m.OfFile() && !seen[key] {
			seen[key] = true
			all = append(all, m)
		}
	}
	return all, nil
}

// OpenMapped opens the very file behind a mapping, deleted or not, in whatever
// container: through map_files, or where that is closed to us through its path
// as the process sees it, if that still leads to the same inode.
func (p FS) OpenMapped(pid int, m Mapping) (*os.File, error) {
	f, err := OpenRegular(p.path(pid, fmt.Sprintf("map_files/%x-%x", m.Start, m.End)))
	if err == nil {
		return f, nil
	}
	f, err2 := p.OpenInside(pid, strings.TrimSuffix(m.Path, " (deleted)"))
	if err2 != nil {
		return nil, err
	}
	if st, err2 := f.Stat(); err2 != nil || inode(st) != m.Inode {
		f.Close()
		return nil, err
	}
	return f, nil
}

// OpenInside opens a regular file by a path that means something to a process,
// which may be in a container. Links are followed within the root of the
// process: they must not lead us to a file of the host.
func (p FS) OpenInside(pid int, path string) (*os.File, error) {
	root, err := unix.Open(p.path(pid, "root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(root)
	return openRegular(root, path, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
}

// OpenRegular opens a file to read if it is a regular one. Devices and pipes
// are not touched: opening one may do harm or block.
func OpenRegular(path string) (*os.File, error) { return openRegular(unix.AT_FDCWD, path, 0) }

func openRegular(dir int, path string, resolve uint64) (*os.File, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolve}
	fd, err := unix.Openat2(dir, path, &how)
	if resolve == 0 && (errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM)) { // no such call, or not allowed
		fd, err = unix.Openat(dir, path, int(how.Flags), 0)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errNotRegular}
	}
	file, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(file), path), nil
}

var errNotRegular = errors.New("not a regular file")
