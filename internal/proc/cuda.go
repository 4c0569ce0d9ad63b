package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// CUDA returns the files with traced functions that the process maps:
// libcudart, libcuda and, once it maps either or its program contains the
// runtime, every other file that defines runtime functions. It is empty,
// without error, for a process that does not use CUDA. The error wraps
// fs.ErrPermission when only root may look, and ErrGone when the process
// ended.
func (p FS) CUDA(pid int) ([]Binary, error) {
	maps, err := p.mappings(pid)
	if err != nil {
		return nil, err
	}
	if len(maps) == 0 {
		return nil, nil // a kernel thread or a zombie
	}
	named := false
	for _, m := range maps {
		named = named || IsCUDA(m.path)
	}
	if !named {
		program, err := p.program(pid, maps)
		if err != nil || program == nil {
			return nil, err
		}
		if b, err := p.inspect(pid, *program); err != nil || len(b) == 0 {
			return nil, ignoreLost(err)
		}
	}
	var all []Binary
	var failed error
	for _, m := range maps {
		found, err := p.inspect(pid, m)
		for _, b := range found {
			all = addBinary(all, b)
		}
		// Any file may vanish or be unreadable; only the libraries matter.
		if err != nil && IsCUDA(m.path) && failed == nil {
			failed = fmt.Errorf("open %s of process %d: %w", m.path, pid, err)
		}
	}
	if len(all) > 0 {
		return all, nil
	}
	return nil, failed
}

func ignoreLost(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

// program returns the mapping of the process's executable; nil when it has
// none.
func (p FS) program(pid int, maps []mapping) (*mapping, error) {
	exe, err := os.Readlink(p.path(pid, "exe"))
	if err != nil {
		return nil, procError("read program", pid, err)
	}
	for i := range maps {
		if maps[i].path == exe {
			return &maps[i], nil
		}
	}
	return nil, nil
}

// inspect returns the mapped file as a Binary if it holds traced functions.
func (p FS) inspect(pid int, m mapping) ([]Binary, error) {
	open, st, err := p.reach(pid, m)
	if err != nil || open == "" {
		return nil, err
	}
	path := strings.TrimSuffix(m.path, " (deleted)")
	libs, err := p.Cache.holds(open, path, st)
	if err != nil || len(libs) == 0 {
		return nil, err
	}
	b, err := newBinary(open, path, libs)
	if err != nil {
		return nil, err
	}
	return []Binary{b}, nil
}

// reach finds a path by which this process can open a mapped file: its plain
// path where both see the same file, the path below the process's root when
// it lives in another mount namespace, or the mapping itself when the file
// was deleted or replaced. open is empty for what is no regular file.
func (p FS) reach(pid int, m mapping) (open string, st fs.FileInfo, err error) {
	inside := p.path(pid, "root") + m.path
	if st, err = os.Stat(inside); err == nil && inode(st) == m.ino {
		if !st.Mode().IsRegular() {
			return "", nil, nil
		}
		if own, err := os.Stat(m.path); err == nil && os.SameFile(own, st) {
			return m.path, own, nil
		}
		return inside, st, nil
	}
	mapped := p.path(pid, filepath.Join("map_files", fmt.Sprintf("%x-%x", m.start, m.end)))
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
