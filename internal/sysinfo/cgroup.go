package sysinfo

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroupMount is one hierarchy of cgroups as it is mounted in our own mount
// namespace.
type cgroupMount struct {
	v1    []string // its controllers; nil is version 2
	root  string   // the group that is mounted, relative to our own cgroup namespace
	point string   // where
}

var mountEscapes = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// parseMounts reads /proc/self/mountinfo, see proc_pid_mountinfo(5). Mounts
// that show more come first: a container may have its own groups at
// /sys/fs/cgroup, and those of the host somewhere else.
func parseMounts(text string) []cgroupMount {
	var all []cgroupMount
	for line := range strings.Lines(text) {
		before, after, ok := strings.Cut(line, " - ")
		f, super := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 5 || len(super) < 3 {
			continue
		}
		m := cgroupMount{root: mountEscapes.Replace(f[3]), point: mountEscapes.Replace(f[4])}
		switch super[0] {
		case "cgroup":
			m.v1 = strings.Split(super[2], ",") // with options such as rw, which are no controllers
		case "cgroup2":
		default:
			continue
		}
		all = append(all, m)
	}
	slices.SortStableFunc(all, func(a, b cgroupMount) int {
		return cmp.Or(cmp.Compare(strings.Count(b.root, ".."), strings.Count(a.root, "..")), cmp.Compare(len(a.root), len(b.root)))
	})
	return all
}

// below returns the place of a group in the mount, false if it lies outside.
// Both paths are relative to our own cgroup namespace, and start with /..
// where they lead out of it.
func (m *cgroupMount) below(group string) (string, bool) {
	rest := group
	if m.root != "/" {
		var ok bool
		if rest, ok = strings.CutPrefix(group, m.root); !ok || rest != "" && rest[0] != '/' {
			return "", false
		}
	}
	if rest == "/.." || strings.HasPrefix(rest, "/../") {
		return "", false
	}
	return filepath.Join(m.point, rest), true
}

// chain is the folder of a process's group in one hierarchy, and those of
// the groups around it that we can see, outwards. It is empty when the group
// cannot be seen.
type chain struct {
	v1   bool
	dirs []string
}

// find returns the chain of the group that rules a process's use of a
// resource, given the text of its /proc/PID/cgroup. A controller that is not
// bound to a hierarchy of version 1 belongs to version 2, if anywhere.
func find(mounts []cgroupMount, text, controller string) chain {
	var group string
	var v1 bool
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3) // 4:cpu,cpuacct:/path
		if len(f) != 3 {
			continue
		}
		if slices.Contains(strings.Split(f[1], ","), controller) {
			group, v1 = f[2], true
			break
		}
		if f[0] == "0" && f[1] == "" {
			group = f[2]
		}
	}
	if group == "" {
		return chain{}
	}
	for i := range mounts {
		m := &mounts[i]
		if v1 != (m.v1 != nil) || v1 && !slices.Contains(m.v1, controller) {
			continue
		}
		dir, ok := m.below(group)
		if !ok {
			continue
		}
		c := chain{v1: v1, dirs: []string{dir}}
		for dir != m.point && len(dir) > len(m.point) {
			dir = filepath.Dir(dir)
			c.dirs = append(c.dirs, dir)
		}
		return c
	}
	return chain{}
}

// group is the folder of one cgroup, kept open: a group that is made again
// under the same name is another one, and counts from 0.
type group struct {
	folder   *os.File
	used     uint64 // the round in which it was last asked for
	round    uint64 // the round in which it was last read, of each resource
	memRound uint64
	throttle throttleCounter
	memory   memoryCounter
}

// groups keeps the cgroups in use. Whatever many processes share is read
// once a round.
type groups struct {
	open  map[string]*group
	round uint64
	buf   []byte
}

// get returns the group in a folder, nil if there is none.
func (c *groups) get(dir string) *group {
	g := c.open[dir]
	if g != nil && g.used != c.round && unix.Faccessat(int(g.folder.Fd()), "cgroup.procs", unix.F_OK, 0) != nil {
		g.folder.Close()
		delete(c.open, dir)
		g = nil
	}
	if g == nil {
		f, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return nil
		}
		g = &group{folder: f}
		c.open[dir] = g
	}
	g.used = c.round
	return g
}

// next begins a round, and forgets groups that the last one did not use.
func (c *groups) next() {
	for dir, g := range c.open {
		if g.used != c.round {
			g.folder.Close()
			delete(c.open, dir)
		}
	}
	c.round++
}

// close forgets all.
func (c *groups) close() {
	for _, g := range c.open {
		g.folder.Close()
	}
	clear(c.open)
}

// read returns a file of a group, valid until the next read; nil if there is
// none.
func (c *groups) read(g *group, name string) []byte {
	b, err := readInto(int(g.folder.Fd()), name, c.buf)
	c.buf = b[:0]
	if err != nil {
		return nil
	}
	return b
}

// maxFile is more than any file of /proc/PID and cgroupfs that we read.
const maxFile = 64 << 10

// readInto reads a file below a folder with three system calls and without
// memory of its own: this is done hundreds of times a second. It returns the
// buffer in any case.
func readInto(folder int, name string, buf []byte) ([]byte, error) {
	buf = buf[:0]
	fd, err := unix.Openat(folder, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return buf, err
	}
	defer unix.Close(fd)
	for len(buf) < maxFile {
		buf = slices.Grow(buf, 1024)
		n, err := unix.Read(fd, buf[len(buf):cap(buf)])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return buf, err
		}
		buf = buf[:len(buf)+n]
	}
	return buf, nil
}
