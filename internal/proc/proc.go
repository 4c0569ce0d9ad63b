// Package proc looks at running processes through /proc and at the ELF files
// they map: which of them use CUDA, where their functions are, and what the
// kernel knows of the process itself. It only reads.
package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// FS reads processes below a procfs mount.
type FS struct {
	Root  string // where procfs is mounted; empty means /proc
	Cache *Cache // remembers what files define; may be nil
}

// ErrGone is the error of a process that ended, or never was.
var ErrGone = errors.New("no such process")

func (p FS) root() string {
	if p.Root == "" {
		return "/proc"
	}
	return p.Root
}

func (p FS) path(pid int, name string) string {
	return filepath.Join(p.root(), strconv.Itoa(pid), name)
}

// Processes returns the PIDs of all processes that procfs shows, in rising
// order.
func (p FS) Processes() ([]int, error) {
	d, err := os.Open(p.root())
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// procError says which process could not be read; it wraps ErrGone when the
// process ended meanwhile.
func procError(doing string, pid int, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		err = ErrGone
	}
	return fmt.Errorf("%s of process %d: %w", doing, pid, err)
}
