package proc

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"ingero/internal/event"
)

// awaited returns the driver that a process will load with its first CUDA
// call: the runtime opens libcuda.so.1 by name, and finds it as the loader
// does. A probe that waits there misses no call; one that is put in after
// the fact misses the first milliseconds.
func (p FS) awaited(pid int, found []Binary) []Binary {
	environ, err := readSome(p.path(pid, "environ"), maxEnviron)
	if err != nil {
		return nil
	}
	dirs := filepath.SplitList(getenv(splitEnviron(environ), "LD_LIBRARY_PATH"))
	for _, b := range found {
		if img, err := openImage(b.Open); err == nil && slices.Contains(b.Libs, event.CUDART) {
			dir := filepath.Dir(b.Path)
			dirs = slices.Concat(dirs, img.searchPath(elf.DT_RPATH, dir), img.searchPath(elf.DT_RUNPATH, dir))
			img.Close()
		}
	}
	const name = "libcuda.so.1"
	var at []string
	for _, d := range dirs {
		if filepath.IsAbs(d) {
			at = append(at, filepath.Join(d, name))
		}
	}
	if cache, err := p.inside(pid, "/etc/ld.so.cache"); err == nil {
		at = append(at, readLDCache(cache)[name]...)
	}
	for _, d := range thisSystem().dirs {
		at = append(at, filepath.Join(d, name))
	}
	for _, path := range at {
		if open, err := p.inside(pid, path); err == nil {
			if st, err := os.Stat(open); err == nil && st.Mode().IsRegular() {
				if b, err := p.binary(open, path, st); err == nil && b != nil {
					return []Binary{*b}
				}
			}
		}
	}
	return nil
}

// inside returns a path by which this process opens a file of another one,
// with links followed as that process would: an absolute link of a container
// must not lead to a file of the host.
func (p FS) inside(pid int, path string) (string, error) {
	fail := func(err error) (string, error) { return "", fmt.Errorf("find %s of process %d: %w", path, pid, err) }
	root := p.path(pid, "root")
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	defer unix.Close(dir)
	fd, err := unix.Openat2(dir, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
	if err != nil {
		return fail(err)
	}
	defer unix.Close(fd)
	var want unix.Stat_t
	if err := unix.Fstat(fd, &want); err != nil {
		return fail(err)
	}
	real, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return fail(err)
	}
	// The name counts from our root, or from that of another mount namespace.
	for _, open := range []string{real, root + real, root + path} {
		var have unix.Stat_t
		if unix.Stat(open, &have) == nil && have.Dev == want.Dev && have.Ino == want.Ino {
			return open, nil
		}
	}
	return fail(unix.ENOENT)
}
