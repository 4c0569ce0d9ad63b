package symbol

import (
	"slices"

	"golang.org/x/sys/unix"
)

// maxSpace is how much address space the files of one process may take of
// ours. Ten times what the largest have, it is there for sparse files.
const maxSpace = 256 << 30

// openAll maps the files of mappings, each once; nil where one cannot be
// opened.
func openAll(pid int, maps []mapping) []*object {
	type ident struct {
		dev, path string
		ino       uint64
	}
	seen := map[ident]*object{}
	all := make([]*object, len(maps))
	space := maxSpace
	for i := range maps {
		m := &maps[i]
		if m.file != nil {
			continue
		}
		id := ident{m.Dev, m.Path, m.Inode}
		b, ok := seen[id]
		if !ok {
			if key, data, err := m.open(pid); err == nil && space-len(data) < 0 {
				unix.Munmap(data)
			} else if err == nil {
				space -= len(data)
				b = &object{key: key, data: data, heap: m.Path == vdso}
			}
			seen[id] = b
		}
		all[i] = b
	}
	return all
}

// reuse gives mappings that are as they were before the files they had.
func (p *process) reuse(maps []mapping) {
	for i := range maps {
		m := &maps[i]
		old := p.find(m.Start)
		if old == nil || old.file == nil || old.file.data == nil {
			continue
		}
		same := *old
		if same.file = nil; same == *m {
			m.file = old.file
		}
	}
}

// intern returns the object that stands for a file, with one more mapping
// that refers to it.
func (r *Resolver) intern(b *object) *object {
	if b == nil {
		return nil
	}
	known := r.files[b.key]
	if known == nil || known.data == nil {
		r.files[b.key] = b
		known = b
	} else if known != b {
		b.close()
	}
	known.refs++
	known.used = r.tick()
	return known
}

func (r *Resolver) release(b *object) {
	if b == nil {
		return
	}
	if b.refs--; b.refs == 0 {
		r.discard(b)
	}
}

func (r *Resolver) discard(b *object) {
	b.close()
	if r.files[b.key] == b {
		delete(r.files, b.key)
	}
}

func (r *Resolver) forget(key procKey) {
	p := r.procs[key]
	if p == nil {
		return
	}
	delete(r.procs, key)
	for _, m := range p.maps {
		r.release(m.file)
	}
	p.maps = nil
}

// evict keeps the numbers of processes and files within bounds. What was
// used last stays; so does keep.
func (r *Resolver) evict(keep *process) {
	for len(r.procs) > r.opts.Processes {
		var oldest *process
		for _, p := range r.procs {
			if p != keep && (oldest == nil || p.used < oldest.used) {
				oldest = p
			}
		}
		if oldest == nil {
			break
		}
		r.forget(procKey{oldest.pid, oldest.start})
	}
	if over := len(r.files) - r.opts.Binaries; over > 0 {
		for _, b := range r.byUse()[:over] {
			r.discard(b)
		}
	}
}

// byUse returns the files, the one that was asked least recently first.
func (r *Resolver) byUse() []*object {
	all := make([]*object, 0, len(r.files))
	for _, b := range r.files {
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b *object) int {
		if a.used < b.used {
			return -1
		}
		return 1
	})
	return all
}

// ready returns the object behind a mapping with its tables read, or nil if
// there is nothing to read.
func (r *Resolver) ready(p *process, m *mapping) *object {
	if m.file == nil {
		return nil
	}
	if m.file.data == nil && !r.reopen(p, m) {
		return nil
	}
	b := m.file
	b.used = r.tick()
	b.load()
	if b.img == nil {
		return nil
	}
	if b.tab == nil {
		err := guarded(func() {
			if !b.sought {
				b.sought = true
				r.findSplit(b, p.pid, m.Path)
			}
			b.tab = newTable(b.img, b.split)
			if !r.opts.NoLines {
				b.lines = newLines(b.img, b.split, r.opts.LineBytes/2)
			}
		})
		if err != nil {
			b.img, b.tab, b.lines = nil, nil, nil
			return nil
		}
		r.shrink(b)
	}
	return b
}

// reopen maps a file again that was closed for want of room. The process may
// have ended meanwhile, or have become another one.
func (r *Resolver) reopen(p *process, m *mapping) bool {
	if sameProcess(p.pid, p.start) != nil {
		return false
	}
	key, data, err := m.open(p.pid)
	if err != nil {
		return false
	}
	b := &object{key: key, data: data, heap: m.Path == vdso}
	if key != m.file.key {
		b.close()
		return false
	}
	m.file = r.intern(b)
	r.evict(p)
	return m.file.data != nil
}

// shrink drops the tables that were used least recently until the rest fits.
func (r *Resolver) shrink(keep *object) {
	var tables, lines int64
	for _, b := range r.files {
		if b.tab != nil {
			tables += b.tab.bytes()
		}
		if b.lines != nil {
			lines += b.lines.cost
		}
	}
	if tables <= r.opts.TableBytes && lines <= r.opts.LineBytes {
		return
	}
	for _, b := range r.byUse() {
		if b == keep || b.tab == nil {
			continue
		}
		tables -= b.tab.bytes()
		if b.lines != nil {
			lines -= b.lines.cost
		}
		b.drop()
		if tables <= r.opts.TableBytes && lines <= r.opts.LineBytes {
			return
		}
	}
}
