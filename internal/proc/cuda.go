package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"ingero/internal/event"
)

// CUDA returns the files with traced functions that the process maps:
// libcudart, libcuda and, once it maps either or its program contains the
// runtime, every other file that defines runtime functions; also the libcuda
// that it will load, if it has not yet made its first call. It is empty,
// without error, for a process that does not use CUDA. The error wraps
// fs.ErrPermission when only root may look, and ErrGone when the process
// ended.
func (p FS) CUDA(pid int) ([]Binary, error) {
	maps, err := p.code(pid)
	if err != nil {
		return nil, err
	}
	if len(maps) == 0 {
		return nil, nil // a kernel thread or a zombie
	}
	named := false
	for _, m := range maps {
		named = named || IsCUDA(m.Path)
	}
	if !named {
		program, err := p.program(pid, maps)
		if err != nil || program == nil {
			return nil, err
		}
		if b, err := p.inspect(pid, *program); err != nil || b == nil {
			return nil, ignoreLost(err)
		}
	}
	var all []Binary
	var failed error
	for _, m := range maps {
		b, err := p.inspect(pid, m)
		if b != nil && err == nil {
			all = addBinary(all, *b)
		}
		// Any file may vanish or be unreadable; only the libraries matter.
		if err != nil && IsCUDA(m.Path) && failed == nil {
			failed = fmt.Errorf("open %s of process %d: %w", m.Path, pid, err)
		}
	}
	if len(all) == 0 {
		return nil, failed
	}
	if !slices.ContainsFunc(all, func(b Binary) bool { return slices.Contains(b.Libs, event.LIBCUDA) }) {
		all = append(all, p.awaited(pid, all)...)
	}
	return all, nil
}

func ignoreLost(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

// program returns the mapping of the process's executable; nil when it has
// none.
func (p FS) program(pid int, maps []Mapping) (*Mapping, error) {
	exe, err := os.Readlink(p.path(pid, "exe"))
	if err != nil {
		return nil, procError("read program", pid, err)
	}
	for i := range maps {
		if maps[i].Path == exe {
			return &maps[i], nil
		}
	}
	return nil, nil
}

// inspect returns the mapped file as a Binary; nil if it holds nothing to
// trace.
func (p FS) inspect(pid int, m Mapping) (*Binary, error) {
	open, st, err := p.reach(pid, m)
	if err != nil || open == "" {
		return nil, err
	}
	path := strings.TrimSuffix(m.Path, " (deleted)")
	return p.binary(open, path, st)
}

// binary describes a file; nil if it holds nothing to trace.
func (p FS) binary(open, path string, st fs.FileInfo) (*Binary, error) {
	libs, err := p.Cache.holds(open, path, st)
	if err != nil || len(libs) == 0 {
		return nil, err
	}
	b, err := newBinary(open, path, libs)
	return &b, err
}

// reach finds a path by which this process can open a mapped file: its plain
// path where both see the same file, the path below the process's root when
// it lives in another mount namespace, or the mapping itself when the file
// was deleted or replaced. open is empty for what is no regular file.
func (p FS) reach(pid int, m Mapping) (open string, st fs.FileInfo, err error) {
	inside := p.path(pid, "root") + m.Path
	if st, err = os.Stat(inside); err == nil && inode(st) == m.Inode {
		if !st.Mode().IsRegular() {
			return "", nil, nil
		}
		if own, err := os.Stat(m.Path); err == nil && os.SameFile(own, st) {
			return m.Path, own, nil
		}
		return inside, st, nil
	}
	mapped := p.path(pid, filepath.Join("map_files", fmt.Sprintf("%x-%x", m.Start, m.End)))
	byMap, mapErr := os.Stat(mapped)
	switch {
	case mapErr == nil && byMap.Mode().IsRegular():
		return mapped, byMap, nil
	case mapErr == nil:
		return "", nil, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", nil, err
	}
	return "", nil, mapErr
}

func inode(st fs.FileInfo) uint64 { return st.Sys().(*syscall.Stat_t).Ino }
