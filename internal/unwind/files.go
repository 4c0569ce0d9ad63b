package unwind

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// fileKey tells files apart, and states of a file that is written again.
type fileKey struct {
	dev, ino    uint64
	size, mtime int64
}

func keyOf(st fs.FileInfo) (fileKey, bool) {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok || !st.Mode().IsRegular() {
		return fileKey{}, false
	}
	return fileKey{uint64(sys.Dev), sys.Ino, st.Size(), st.ModTime().UnixNano()}, true
}

// file is one that was looked into. Without a table at is 0.
type file struct {
	table Table // without rows: those are in the kernel
	at, n uint32
	users int
	used  time.Time
	err   error
}

// files holds the tables that are in the kernel. Those no process uses stay
// until their room is needed.
type files struct {
	kernel Kernel
	space  *space
	known  map[fileKey]*file
	stats  *Stats
}

const (
	grace    = time.Second // after which no walk that began with a table is still reading it
	maxFiles = 1 << 14
)

// load returns the file, with its table in the kernel if there is one.
func (f *files) load(h *os.File, key fileKey) *file {
	if known := f.known[key]; known != nil && !errors.Is(known.err, errNoRoom) {
		return known
	}
	start := time.Now()
	t, err := Read(h, key.size)
	e := &file{err: err, used: time.Now()}
	if len(f.known) >= maxFiles {
		f.drop()
	}
	f.known[key] = e
	if err == nil {
		e.table = Table{Base: t.Base, Size: t.Size, Segments: t.Segments}
		e.err = f.place(e, t)
	}
	switch {
	case e.err == nil:
		f.stats.Files++
		f.stats.Rows += uint64(len(t.Rows))
	case errors.Is(e.err, errNoRoom):
		f.stats.NoRoom++
	default:
		f.stats.NoTable++
	}
	f.stats.Built += time.Since(start)
	return e
}

var errNoRoom = errors.New("no room for more unwind tables")

func (f *files) place(e *file, t *Table) error {
	room := uint32(t.room())
	at, ok := f.space.take(room)
	if !ok {
		if at, ok = f.evict(room); !ok {
			return errNoRoom
		}
	}
	words := t.layout(at)
	n := uint32(len(words))
	f.space.give(at+n, room-n)
	if err := f.kernel.WriteWords(at, words); err != nil {
		f.space.give(at, n)
		return fmt.Errorf("write unwind tables: %w", err)
	}
	e.at, e.n = at, n
	return nil
}

// evict drops files until there is a run of room for so many words.
func (f *files) evict(room uint32) (at uint32, ok bool) {
	for f.drop() {
		if at, ok = f.space.take(room); ok {
			return at, true
		}
	}
	return 0, false
}

// drop forgets the file that has been without a process for longest. It
// reports whether there was one.
func (f *files) drop() bool {
	var oldest fileKey
	var e *file
	for k, c := range f.known {
		if c.users == 0 && time.Since(c.used) > grace && (e == nil || c.used.Before(e.used)) {
			oldest, e = k, c
		}
	}
	if e == nil {
		return false
	}
	delete(f.known, oldest)
	if e.n == 0 {
		return true
	}
	f.stats.Files--
	f.stats.Evicted++
	f.space.give(e.at, e.n)
	for region := e.at / RegionWords; region <= (e.at+e.n-1)/RegionWords; region++ {
		if f.space.empty(region) {
			_ = f.kernel.DropRegion(region) // costs memory only
		}
	}
	return true
}
