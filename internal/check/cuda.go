package check

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"ingero/internal/event"
	"ingero/internal/proc"
)

const maxListed = 10 // processes shown by name

// lookForCUDA finds the processes that use CUDA.
func (f *facts) lookForCUDA(p proc.FS) {
	pids, err := p.Processes()
	if err != nil {
		return // no /proc: nothing is seen, and the rows say so
	}
	for _, pid := range pids {
		libs, err := p.CUDA(pid)
		if errors.Is(err, fs.ErrPermission) {
			f.hidden++
		}
		if len(libs) == 0 {
			continue
		}
		if d, err := p.Describe(pid); err == nil {
			f.users = append(f.users, user{pid, d.Comm, libs})
		}
	}
}

// file returns the path of a library, as most processes have it, and how many
// have it at all; or else the path of one that is installed.
func (f *facts) file(lib event.Lib) (path string, loadedBy int) {
	count := map[string]int{}
	var paths []string
	for _, u := range f.users {
		for _, b := range u.libs {
			if slices.Contains(b.Libs, lib) {
				if count[b.Path]++; count[b.Path] == 1 {
					paths = append(paths, b.Path)
				}
				loadedBy++
				break
			}
		}
	}
	if len(paths) > 0 {
		slices.SortStableFunc(paths, func(a, b string) int { return count[b] - count[a] })
		return paths[0], loadedBy
	}
	for _, b := range f.installed {
		if slices.Contains(b.Libs, lib) {
			return b.Path, 0
		}
	}
	return "", 0
}

func (f *facts) runtime() Row {
	r := Row{Name: "CUDA runtime"}
	var n int
	r.Value, n = f.file(event.CUDART)
	switch {
	case n > 0:
		r.OK, r.Detail = true, fmt.Sprintf("loaded by %d process(es)", n)
	case r.Value != "":
		r.OK, r.Detail = true, "not loaded by any process"
	default:
		r.Value, r.Detail = "not found", "none in the usual places, none in use; Python packages and containers bring their own"
		r.Remedy = "start your job first, or name its library: sudo ingero trace --cuda-lib PATH"
	}
	return r
}

func (f *facts) library() Row {
	r := Row{Name: "CUDA driver (libcuda.so)"} // not required: containers have their own
	r.Value, _ = f.file(event.LIBCUDA)
	if r.OK = r.Value != ""; r.OK {
		r.Detail = "available for driver API tracing"
	} else {
		r.Value, r.Detail = "not found", "it comes with the NVIDIA driver"
		r.Remedy = "install the user-space part of the driver (Debian: sudo apt install libcuda1; Ubuntu: libnvidia-compute-VERSION)"
	}
	return r
}

func (f *facts) processes() Row {
	r := Row{Name: "CUDA processes", OK: len(f.users) > 0, Value: fmt.Sprintf("%d found", len(f.users))}
	var lines []string
	for i, u := range f.users {
		if i == maxListed {
			lines = append(lines, fmt.Sprintf("and %d more", len(f.users)-maxListed))
			break
		}
		lines = append(lines, fmt.Sprintf("PID %d (%s)", u.pid, u.comm))
	}
	if f.hidden > 0 {
		line := fmt.Sprintf("%d process(es) could not be looked at", f.hidden)
		if f.euid != 0 {
			line += ": needs root"
		}
		lines = append(lines, line)
	}
	if !r.OK {
		r.Remedy = "start your job, or let ingero start it: sudo ingero trace -- COMMAND"
	}
	r.Detail = strings.Join(lines, "\n")
	return r
}
