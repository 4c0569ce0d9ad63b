package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"ingero/internal/event"
)

// FileID tells files apart, whatever path leads to them. Probes belong to
// the inode, so one FileID must be probed only once.
type FileID struct{ Dev, Ino uint64 }

// Binary is an ELF file that holds traced functions.
type Binary struct {
	ID    FileID
	Path  string      // as the process sees it, for display
	Open  string      // a path this process can open and the kernel can attach to; may lead through /proc/PID and end with the process
	Libs  []event.Lib // which tables to look up in it
	Build string      // version from the file's name, as "12.4.127" or "550.163.01"; empty when it has none
}

var (
	runtimeName = regexp.MustCompile(`^libcudart([-.].*)?\.so(\.|$)`) // wheels rename it libcudart-<hash>.so.11.0
	driverName  = regexp.MustCompile(`^libcuda(-[0-9a-f]+)?\.so(\.|$)`)
	ncclName    = regexp.MustCompile(`^libnccl([-.].*)?\.so(\.|$)`)
	buildName   = regexp.MustCompile(`\.so\.([0-9][0-9.]*)$`)
)

// IsCUDA reports whether the name of a file is that of libcudart or libcuda.
func IsCUDA(path string) bool { return isRuntime(path) || isDriver(path) }

func isRuntime(path string) bool { return runtimeName.MatchString(filepath.Base(path)) }
func isDriver(path string) bool  { return driverName.MatchString(filepath.Base(path)) }

// traced returns the names the tables export from a library.
var traced = sync.OnceValue(func() map[event.Lib][]string {
	names := map[event.Lib][]string{}
	for _, c := range event.Calls {
		names[c.Lib] = append(names[c.Lib], c.Exports()...)
	}
	return names
})

// Cache remembers which files define runtime functions, so that a file
// mapped by many processes is looked into once. It is safe for concurrent
// use.
type Cache struct {
	mu   sync.Mutex
	libs map[version][]event.Lib
}

// version is one state of a file: a changed file is looked into again.
type version struct {
	id    FileID
	size  int64
	mtime int64
}

const maxCached = 1 << 14

func (c *Cache) get(v version) ([]event.Lib, bool) {
	if c == nil {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	libs, ok := c.libs[v]
	return libs, ok
}

func (c *Cache) put(v version, libs []event.Lib) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.libs == nil || len(c.libs) >= maxCached {
		c.libs = map[version][]event.Lib{}
	}
	c.libs[v] = libs
}

// holds says which tables to look up in a file. The driver's functions count
// only in the driver itself: interposers define them too, and pass each call
// on to it. A file that is no ELF file of this machine holds none.
func (c *Cache) holds(open, path string, st fs.FileInfo) ([]event.Lib, error) {
	sys := st.Sys().(*syscall.Stat_t)
	v := version{FileID{uint64(sys.Dev), sys.Ino}, st.Size(), st.ModTime().UnixNano()}
	if libs, ok := c.get(v); ok {
		return libs, nil
	}
	libs, err := holds(open, path)
	if errors.Is(err, errNotELF) || errors.Is(err, errCorrupt) {
		err = nil
	}
	if err == nil {
		c.put(v, libs)
	}
	return libs, err
}

func holds(open, path string) ([]event.Lib, error) {
	img, err := openImage(open)
	if err != nil {
		return nil, err
	}
	defer img.Close()
	if !img.native() {
		return nil, nil
	}
	return img.holds(path)
}

func (i *image) holds(path string) ([]event.Lib, error) {
	ask := []event.Lib{event.CUDART}
	if isDriver(path) {
		ask = append(ask, event.LIBCUDA)
	}
	if ncclName.MatchString(filepath.Base(path)) {
		ask = append(ask, event.LIBNCCL)
	}
	var libs []event.Lib
	for _, lib := range ask {
		found, err := i.functions(traced()[lib], lib == event.CUDART)
		if err != nil {
			return nil, err
		}
		if len(found) > 0 {
			libs = append(libs, lib)
		}
	}
	return libs, nil
}

// newBinary describes the file at open, which is known by the name path.
func newBinary(open, path string, libs []event.Lib) (Binary, error) {
	id, err := fileID(open)
	if err != nil {
		return Binary{}, err
	}
	b := Binary{ID: id, Path: path, Open: open, Libs: libs}
	name := path
	if real, err := filepath.EvalSymlinks(open); err == nil && buildName.MatchString(real) {
		name = real
	}
	if m := buildName.FindStringSubmatch(name); m != nil {
		b.Build = m[1]
	}
	return b, nil
}

// fileID identifies the file that the kernel attaches to. Two containers of
// one image show the same file on two overlays: the device numbers differ
// while the kernel, which looks below the overlay, sees one inode. There the
// times and the size stand for the device.
func fileID(path string) (FileID, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return FileID{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	id := FileID{uint64(st.Dev), st.Ino}
	var on unix.Statfs_t
	if unix.Statfs(path, &on) == nil && on.Type == unix.OVERLAYFS_SUPER_MAGIC {
		id.Dev = 1<<63 | uint64(st.Size)<<32 ^ uint64(st.Mtim.Nano()) ^ uint64(st.Ctim.Nano())<<1
	}
	return id, nil
}

// OpenBinary makes a Binary from a path the user gave. The error says what
// is wrong with the file: missing, not ELF, for another machine, or without
// any function we trace.
func OpenBinary(path string) (Binary, error) {
	fail := func(err error) (Binary, error) {
		return Binary{}, fmt.Errorf("open CUDA library %s: %w", path, err)
	}
	if st, err := os.Stat(path); err != nil {
		return fail(cause(err))
	} else if st.IsDir() {
		return fail(errors.New("is a directory; give the path of libcudart.so or libcuda.so"))
	}
	img, err := openImage(path)
	if err != nil {
		return fail(cause(err))
	}
	defer img.Close()
	if !img.native() {
		return fail(fmt.Errorf("built for %v %v, not for this machine", img.f.Class, img.f.Machine))
	}
	var libs []event.Lib
	for _, lib := range []event.Lib{event.CUDART, event.LIBCUDA, event.LIBNCCL} {
		found, err := img.functions(traced()[lib], true)
		if err != nil {
			return fail(err)
		}
		if len(found) > 0 {
			libs = append(libs, lib)
		}
	}
	if len(libs) == 0 {
		return fail(errors.New("holds no CUDA function; give the path of libcudart.so or libcuda.so, or of a program with the runtime linked in and not stripped"))
	}
	b, err := newBinary(path, path, libs)
	if err != nil {
		return fail(cause(err))
	}
	return b, nil
}

// cause drops the path from an error whose message already names it.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// addBinary appends b unless its file is there already; then it adds what b
// knows more.
func addBinary(all []Binary, b Binary) []Binary {
	for i := range all {
		if all[i].ID != b.ID {
			continue
		}
		for _, lib := range b.Libs {
			if !slices.Contains(all[i].Libs, lib) {
				all[i].Libs = append(all[i].Libs, lib)
			}
		}
		return all
	}
	return append(all, b)
}
