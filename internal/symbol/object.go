package symbol

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// fileKey is one state of one file.
type fileKey struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64
}

// An object is a file that processes map code from. All of it is mapped here
// from the time it is first seen, so that it can be read after the process
// and the file are gone; nothing is read before someone asks for a name.
type object struct {
	key  fileKey
	data []byte // nil once it was closed
	heap bool   // data is not a mapping
	refs int    // mappings of processes that point here
	used uint64 // when it was last asked, in the resolver's count

	loaded bool
	img    *image // nil if it is no ELF file, or damaged
	split  *image // the file its debug information is in; may be nil
	splits []byte // of split, to unmap
	sought bool   // split was looked for
	tab    *table
	lines  *lines
}

// mapFile maps a whole file, and closes it.
func mapFile(f *os.File, err error) (fileKey, []byte, error) {
	if err != nil {
		return fileKey{}, nil, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fileKey{}, nil, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	if st.Size <= 0 || st.Size > maxSpace {
		return fileKey{}, nil, fmt.Errorf("map %s: %w", f.Name(), errNotELF)
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(st.Size), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return fileKey{}, nil, &os.PathError{Op: "mmap", Path: f.Name(), Err: err}
	}
	return fileKey{uint64(st.Dev), st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano()}, data, nil
}

// guarded runs f, which reads mapped files and decodes what it finds there.
// Reading a mapped page fails when the file was cut short or its disk does
// not answer; debug/dwarf may stumble over what a hostile file holds. Both
// end as an error, not as the end of the program.
func guarded(f func()) (err error) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			e, ok := r.(runtime.Error)
			if !ok {
				panic(r)
			}
			err = fmt.Errorf("%w: %w", errCorrupt, e)
		}
	}()
	f()
	return nil
}

// load reads the headers, once.
func (b *object) load() {
	if b.loaded || b.data == nil {
		return
	}
	b.loaded = true
	if err := guarded(func() { b.img, _ = parseImage(b.data) }); err != nil {
		b.img = nil
	}
}

// drop forgets what can be had again from the mapped files.
func (b *object) drop() {
	b.tab, b.lines = nil, nil
}

func (b *object) close() {
	b.drop()
	if b.data != nil && !b.heap {
		unix.Munmap(b.data)
	}
	if b.splits != nil {
		unix.Munmap(b.splits)
	}
	b.data, b.splits, b.img, b.split = nil, nil, nil, nil
}

// readAll reads a small part of a file, as the vDSO from the memory of a
// process.
func readAll(path string, off int64, n int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(f, off, int64(n)), b); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return b, nil
}
