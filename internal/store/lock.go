package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lockOffset is a byte that SQLite never locks (its own range ends at
// 1 GiB + 512) and no database reaches.
const lockOffset = 1 << 62

// lockFile makes this process the only writer of the file until f is closed,
// even by a crash. The lock belongs to the open file, so that other opens and
// closes of the same file in this process do not drop it.
func lockFile(f *os.File) error {
	l := unix.Flock_t{Type: unix.F_WRLCK, Start: lockOffset, Len: 1}
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &l)
}

// claim opens path for writing, making the file if it is missing, and locks
// it. Made is true if this call made the file.
func claim(path string) (f *os.File, made bool, err error) {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil, false, fmt.Errorf("create database: %s is a directory; give --db the path of a file", path)
	case err == nil && !info.Mode().IsRegular():
		return nil, false, fmt.Errorf("create database: %s is not a regular file; give --db another path", path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, false, fmt.Errorf("create database: %w; give --db another path", err)
	}
	made = err != nil
	if made {
		if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
			return nil, false, fmt.Errorf("create database: directory %s does not exist; make it or give --db another path", filepath.Dir(path))
		}
	}
	f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, false, fmt.Errorf("create database: %w; give --db a path that can be written", err)
	}
	if err := lockFile(f); err != nil {
		f.Close()
		if made && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			os.Remove(path)
		}
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			return nil, made, inUse(path)
		}
		return nil, made, fmt.Errorf("lock database %s: %w; give --db a path on a local disk", path, err)
	}
	return f, made, nil
}

// inUse names the process that records into path, as far as the database
// says.
func inUse(path string) error {
	who := ""
	if r, err := Open(path); err == nil {
		err = r.do(context.Background(), func(ctx context.Context, c *readConn) error {
			var pid int
			err := c.QueryRowContext(ctx, "SELECT agent_pid FROM sessions ORDER BY id DESC LIMIT 1").Scan(&pid)
			who = fmt.Sprintf(" (PID %d)", pid)
			return err
		})
		if err != nil {
			who = ""
		}
	}
	return fmt.Errorf("create database %s: %w%s; stop it or give another path with --db", path, ErrInUse, who)
}

// InUse reports whether an agent records into the database now. The file is not
// opened for that: to close it would drop the locks that SQLite holds in this
// process.
func (r *Reader) InUse() (bool, error) {
	var s unix.Stat_t
	if err := unix.Stat(r.path, &s); err != nil {
		return false, fmt.Errorf("look at database %s: %w", r.path, err)
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return false, fmt.Errorf("list locks: %w", err)
	}
	// As in the kernel's fs/locks.c: major and minor in hexadecimal.
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(s.Dev), unix.Minor(s.Dev), s.Ino)
	for line := range strings.Lines(string(locks)) {
		f := strings.Fields(line) // 1: OFDLCK ADVISORY WRITE -1 fd:00:42 0 EOF
		if len(f) == 8 && f[5] == file && f[6] == strconv.Itoa(lockOffset) {
			return true, nil
		}
	}
	return false, nil
}
