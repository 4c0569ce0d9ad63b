// Package symbol says which function, file and line an address of a process
// belongs to. It knows memory maps, ELF symbols and DWARF lines, and keeps
// what it needs for addresses of processes that have ended.
package symbol

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ianlancetaylor/demangle"

	"ingero/internal/event"
	"ingero/internal/proc"
)

// Options bound what a Resolver keeps. Zero means the default.
type Options struct {
	Processes  int      // whose memory maps are kept: 256
	Binaries   int      // files kept mapped, which is address space and not memory: 4096
	TableBytes int64    // heap for the tables of functions: 64 MB
	LineBytes  int64    // memory for source lines, and unpacked debug sections: 32 MB
	DebugDirs  []string // where debug information that was split off lies: /usr/lib/debug
	NoLines    bool     // functions only
}

// Resolver names addresses. It is safe for concurrent use.
type Resolver struct {
	opts Options
	now  func() time.Time

	mu    sync.Mutex
	count uint64 // calls, the clock of what was used last
	procs map[procKey]*process
	files map[fileKey]*object
	names map[nameKey]string
}

type procKey struct {
	pid   int
	start int64
}

type nameKey struct {
	file *object
	ref  uint32
}

// maxNames is how many demangled names are kept, some 100 bytes each.
const maxNames = 1 << 14

func New(opts Options) *Resolver {
	opts.Processes = cmp.Or(opts.Processes, 256)
	opts.Binaries = cmp.Or(opts.Binaries, 4096)
	opts.TableBytes = cmp.Or(opts.TableBytes, 64<<20)
	opts.LineBytes = cmp.Or(opts.LineBytes, 32<<20)
	if opts.DebugDirs == nil {
		opts.DebugDirs = []string{"/usr/lib/debug"}
	}
	return &Resolver{
		opts: opts, now: time.Now,
		procs: map[procKey]*process{}, files: map[fileKey]*object{}, names: map[nameKey]string{},
	}
}

// Process remembers what code a process maps now, so that its addresses can
// be named when it has ended. start is that of event.Process, or 0 if it is
// not known; a process that has the pid but started at another time is left
// alone. Call it again after an exec.
func (r *Resolver) Process(pid int, start int64) error {
	key := procKey{pid, start}
	// Before the lock: whoever has it may be reading lines for a while, and the
	// process may not live so long.
	maps, opened, err := r.open(key)
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err = r.keep(key, maps, opened, err)
	return err
}

// read reads the memory map of a process. The lock is held, and let go while
// files are opened.
func (r *Resolver) read(key procKey) (*process, error) {
	r.mu.Unlock()
	maps, opened, err := r.open(key)
	r.mu.Lock()
	return r.keep(key, maps, opened, err)
}

// open reads the memory map and opens its files, without the lock.
func (r *Resolver) open(key procKey) (maps []mapping, opened []*object, err error) {
	if maps, err = r.sameMaps(key); err != nil {
		return nil, nil, err
	}
	opened = openAll(key.pid, maps)
	if err = sameProcess(key.pid, key.start); !errors.Is(err, errOther) {
		err = nil // it may have ended meanwhile
	}
	return maps, opened, err
}

// keep remembers what open found, if it is of the right process.
func (r *Resolver) keep(key procKey, maps []mapping, opened []*object, err error) (*process, error) {
	if err == nil {
		return r.remember(key, maps, opened), nil
	}
	for _, o := range opened {
		if o != nil {
			o.close()
		}
	}
	p := r.procs[key]
	if p != nil {
		p.next = r.now().Add(maxPause)
	}
	return p, err
}

// sameMaps returns the mappings of a process if it is the one meant. Those
// that are as they were have their files already.
func (r *Resolver) sameMaps(key procKey) ([]mapping, error) {
	if err := sameProcess(key.pid, key.start); err != nil {
		return nil, err
	}
	maps, err := readMaps(key.pid)
	if err != nil {
		return nil, fmt.Errorf("read memory map of process %d: %w", key.pid, err)
	}
	if r.mu.TryLock() { // it saves opening files again, and is not worth a wait
		defer r.mu.Unlock()
		if p := r.procs[key]; p != nil {
			p.reuse(maps)
		}
	}
	return maps, nil
}

func sameProcess(pid int, start int64) error {
	if start == 0 {
		return nil
	}
	now, err := proc.FS{}.Started(pid)
	if err == nil && now != start {
		err = fmt.Errorf("read memory map of process %d: %w", pid, errOther)
	}
	return err
}

// errOther is the error of a process that has the number of the one meant.
var errOther = fmt.Errorf("%w: its number was given to another one", proc.ErrGone)

// remember adds the mappings to what is known. opened are their files, in
// the same order; one that is known already is closed again.
// Mappings that are as they were have theirs already.
func (r *Resolver) remember(key procKey, maps []mapping, opened []*object) *process {
	p := r.procs[key]
	if p == nil {
		p = &process{pid: key.pid, start: key.start}
		r.procs[key] = p
	}
	p.used = r.tick()
	for i := range maps {
		if m := &maps[i]; m.file == nil {
			m.file = r.intern(opened[i])
		} else {
			m.file.refs++
		}
	}
	before := len(p.maps)
	all, dropped := merge(p.maps, maps)
	p.maps = all
	for _, m := range dropped {
		r.release(m.file)
	}
	// Addresses in no file, as those of just-in-time compilers, must not
	// make us read the memory map for every stack.
	if len(all) != before {
		p.pause = 0
	} else {
		p.pause = min(max(2*p.pause, 10*time.Millisecond), maxPause)
	}
	p.next = r.now().Add(p.pause)
	r.evict(p)
	return p
}

func (r *Resolver) tick() uint64 {
	r.count++
	return r.count
}

// Close drops everything.
func (r *Resolver) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key := range r.procs {
		r.forget(key)
	}
	clear(r.names)
}

// Resolve names the frames of a stack, the innermost first. ips[0] is where
// the thread was; all others are return addresses, which belong to the call
// before them. A function that was inlined comes as a frame of its own with
// the same address. What cannot be found out stays empty.
func (r *Resolver) Resolve(pid int, start int64, ips []uint64) []event.Frame {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.current(procKey{pid, start}, ips)
	frames := make([]event.Frame, 0, len(ips))
	for i, ip := range ips {
		var m *mapping
		at := ip
		if i > 0 && ip > 0 {
			at = ip - 1
		}
		if p != nil {
			m = p.find(at)
		}
		if m == nil {
			frames = append(frames, event.Frame{IP: ip})
			continue
		}
		frames = r.frames(frames, p, m, ip, at)
	}
	return frames
}

// current returns the process with its mappings read again if there are
// addresses outside of them.
func (r *Resolver) current(key procKey, ips []uint64) *process {
	p := r.procs[key]
	fresh := p != nil && !r.now().After(p.next)
	for _, ip := range ips {
		if ip>>63 == 0 && !fresh && (p == nil || p.find(ip) == nil) {
			p, _ = r.read(key) // what cannot be read stays unknown
			break
		}
	}
	if p != nil {
		p.used = r.tick()
	}
	return p
}

// frames appends the frames of one address: several if functions are
// inlined there.
func (r *Resolver) frames(frames []event.Frame, p *process, m *mapping, ip, at uint64) []event.Frame {
	f := event.Frame{IP: ip, File: m.name()}
	b := r.ready(p, m)
	if b == nil {
		return append(frames, f)
	}
	var addr uint64
	entry := false
	err := guarded(func() {
		var ok bool
		if addr, ok = b.img.address(at - m.Start + m.Offset); !ok {
			return
		}
		if ref, begin, ok := b.tab.find(addr); ok {
			entry = addr == begin
			f.Symbol = r.name(b, ref) + "+0x" + strconv.FormatUint(addr+(ip-at)-begin, 16)
		}
	})
	if err != nil { // the file was cut or written over: it is no longer what the process runs
		b.img, b.tab, b.lines = nil, nil, nil
	}
	more := r.lines(b, &f, addr)
	if entry { // where a function is entered no inlined one is, although its code may begin there
		more = nil
	}
	return append(append(frames, more...), f)
}

// lines adds source and line to a frame, and returns what is inlined there.
func (r *Resolver) lines(b *object, f *event.Frame, addr uint64) (more []event.Frame) {
	if b.lines == nil {
		return nil
	}
	before := b.lines.cost
	if err := guarded(func() { more = b.lines.frames(f, addr) }); err != nil {
		b.lines = nil
		return nil
	}
	if b.lines.cost != before {
		if b.lines.cost-b.lines.fixed > r.opts.LineBytes/2 {
			b.lines.shed()
		}
		r.shrink(b)
	}
	return more
}

// name returns the demangled name of a symbol, without parameters.
func (r *Resolver) name(b *object, ref uint32) string {
	key := nameKey{b, ref}
	if s, ok := r.names[key]; ok {
		return s
	}
	if len(r.names) >= maxNames {
		clear(r.names)
	}
	s := readable(string(b.tab.name(ref, maxName)))
	r.names[key] = s
	return s
}

// readable demangles names of C++ and Rust, also of the function that CUDA puts
// in a kernel's place on the host. The result is at most 4 KB.
func readable(name string) string {
	const stub = "__device_stub_"
	if mangled, is := strings.CutPrefix(name, stub); is && strings.HasPrefix(mangled, "_Z") {
		if plain := readable(mangled); plain != mangled {
			return stub + "_" + plain
		}
	}
	return demangle.Filter(name, demangle.NoParams, demangle.MaxLength(12))
}
