package proc

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"ingero/internal/event"
)

// Addresses says which file an address of a process is from, also after the
// process has ended: what it maps is read when it is first asked about, and
// again when an address is in nothing known. It is not safe for concurrent use.
type Addresses struct {
	FS    FS
	known map[processID]*codeMap
}

// processID is a process for ever: numbers are used again.
type processID struct {
	pid       uint32
	startBoot uint64 // ns since boot
}

// codeMap is what a process maps as code, by address.
type codeMap struct {
	code []code
	read time.Time
	used time.Time
}

type code struct {
	start, end, offset uint64
	name               string
}

const (
	maxCodeMaps = 1024
	// rereadAfter bounds how often an address in nothing makes us look again.
	rereadAfter = 100 * time.Millisecond
)

// Resolve returns one frame for each address, with file and offset in it.
func (a *Addresses) Resolve(s event.RawStack) []event.Frame {
	id := processID{s.PID, s.StartBoot}
	m := a.mapOf(id)
	found, complete := m.findAll(s.IPs)
	if !complete && time.Since(m.read) > rereadAfter {
		a.reread(id, m)
		found, _ = m.findAll(s.IPs) // the others may be from something newer, too
	}
	out := make([]event.Frame, len(s.IPs))
	for i, ip := range s.IPs {
		out[i].IP = ip
		if c := found[i]; c != nil {
			out[i].File = fmt.Sprintf("%s+%#x", c.name, ip-c.start+c.offset)
		}
	}
	return out
}

func (m *codeMap) findAll(ips []uint64) (found []*code, complete bool) {
	complete = true
	for i, ip := range ips {
		if i > 0 {
			ip-- // a return address may be the end of its function
		}
		c := m.find(ip)
		found, complete = append(found, c), complete && c != nil
	}
	return found, complete
}

func (a *Addresses) mapOf(id processID) *codeMap {
	m := a.known[id]
	if m == nil {
		if a.known == nil {
			a.known = map[processID]*codeMap{}
		}
		if len(a.known) >= maxCodeMaps {
			a.evict()
		}
		m = &codeMap{}
		a.known[id] = m
		a.reread(id, m)
	}
	m.used = time.Now()
	return m
}

// evict forgets the half that was not asked about for longest.
func (a *Addresses) evict() {
	ids := make([]processID, 0, len(a.known))
	for id := range a.known {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(x, y processID) int { return a.known[x].used.Compare(a.known[y].used) })
	for _, id := range ids[:len(ids)/2] {
		delete(a.known, id)
	}
}

// reread adds what the process maps now, if it still lives. What it no longer
// maps is kept where nothing new is: older stacks may mean it.
func (a *Addresses) reread(id processID, m *codeMap) {
	m.read = time.Now()
	if !a.isStill(id) {
		return
	}
	fresh, err := a.FS.code(int(id.pid))
	if err != nil || !a.isStill(id) {
		return
	}
	for _, old := range m.code {
		overlaps := func(c code) bool { return c.start < old.end && old.start < c.end }
		if !slices.ContainsFunc(fresh, overlaps) {
			fresh = append(fresh, old)
		}
	}
	slices.SortFunc(fresh, func(x, y code) int { return cmp.Compare(x.start, y.start) })
	m.code = fresh
}

// isStill reports whether the process of that number is the one that was meant.
func (a *Addresses) isStill(id processID) bool {
	var d event.Process
	b, err := os.ReadFile(a.FS.path(int(id.pid), "stat"))
	if err != nil {
		return false
	}
	ticks, err := parseStat(b, &d)
	return err == nil && ticks == int64(id.startBoot)/int64(tick)
}

func (m *codeMap) find(ip uint64) *code {
	i, ok := slices.BinarySearchFunc(m.code, ip, func(c code, ip uint64) int {
		switch {
		case c.end <= ip:
			return -1
		case c.start > ip:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return &m.code[i]
}

// code returns everything a process maps with execute permission, in the
// order of addresses.
func (p FS) code(pid int) ([]code, error) {
	f, err := os.Open(p.path(pid, "maps"))
	if err != nil {
		return nil, procError("read memory map", pid, err)
	}
	defer f.Close()
	var all []code
	s := bufio.NewScanner(f)
	s.Buffer(make([]byte, 16<<10), 1<<20)
	for s.Scan() {
		if c, ok := parseCode(s.Text()); ok {
			all = append(all, c)
		}
	}
	if err := s.Err(); err != nil {
		return nil, procError("read memory map", pid, err)
	}
	return all, nil
}

// parseCode reads a line of /proc/PID/maps; false if it is not code.
func parseCode(line string) (c code, ok bool) {
	f := strings.SplitN(line, " ", 6) // start-end perms offset dev inode path
	if len(f) < 5 || len(f[1]) < 3 || f[1][2] != 'x' {
		return c, false
	}
	lo, hi, _ := strings.Cut(f[0], "-")
	var err [3]error
	c.start, err[0] = strconv.ParseUint(lo, 16, 64)
	c.end, err[1] = strconv.ParseUint(hi, 16, 64)
	c.offset, err[2] = strconv.ParseUint(f[2], 16, 64)
	c.name = "[anon]" // code made at run time
	if len(f) == 6 {
		if name := strings.TrimSuffix(strings.TrimLeft(f[5], " "), " (deleted)"); name != "" {
			c.name = path.Base(name)
		}
	}
	return c, err == [3]error{}
}
