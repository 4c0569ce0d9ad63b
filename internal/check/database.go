package check

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const lowSpace = 1 << 30 // bytes; recording fills a disk faster than this is noticed

const otherDB = "name one: --db PATH or INGERO_DB=PATH"

// database says whether trace could write the file, without touching it. It
// is not required: trace runs without recording as well.
func database(path string) Row {
	r := Row{Name: "Database", Value: path}
	st, err := os.Stat(path)
	on := path
	switch {
	case err == nil && !st.Mode().IsRegular():
		r.Detail, r.Remedy = "is not a file", otherDB
		return r
	case err == nil:
		r.Detail = fmt.Sprintf("%s recorded", size(uint64(st.Size())))
	default:
		r.Detail = "will be created"
		for on = filepath.Dir(path); ; on = filepath.Dir(on) {
			if _, err := os.Stat(on); err == nil || on == filepath.Dir(on) {
				break
			}
		}
	}
	if err := unix.Access(on, unix.W_OK); err != nil {
		r.Detail = fmt.Sprintf("%s: %v", on, err)
		r.Remedy = otherDB + "; or trace with --record=false"
		return r
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(on, &disk); err == nil {
		free := disk.Bavail * uint64(disk.Bsize)
		r.Detail += fmt.Sprintf("; %s free on the disk", size(free))
		if free < lowSpace {
			r.Remedy = "make room, or bound it: --max-db 500m"
			return r
		}
	}
	r.OK = true
	return r
}

// size writes bytes as people do.
func size(n uint64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f kB", float64(n)/(1<<10))
}
