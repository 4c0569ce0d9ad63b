package unwind

import (
	"errors"
	"slices"
	"sync"
	"syscall"
	"time"

	"ingero/internal/proc"
)

// Mapping says where a process maps code and where in the regions its table
// is.
type Mapping struct {
	Start uint64
	Size  uint32
	Text  uint32 // where it begins in the file's code
	Index uint32 // position of the table; 0 is none
}

// Kernel is what a Manager writes to.
type Kernel interface {
	// WriteWords writes to regions, and makes those that are not there.
	WriteWords(at uint32, words []uint64) error
	DropRegion(region uint32) error
	SetMappings(pid int, all []Mapping) error
	DropMappings(pid int) error
	// Misses calls f for each process whose stacks met unknown code, with the
	// number of such stacks so far.
	Misses(f func(pid int, count uint64)) error
}

// MaxMappings is how many pieces of code of a process the kernel side knows.
const MaxMappings = 512

// Config of a Manager.
type Config struct {
	MaxWords int           // of 8 bytes, that all tables may take in the kernel; 0 is the most there can be: 128 MiB
	Every    time.Duration // how often to look for stacks that met unknown code; 0 is 50 ms
}

// Stats says what a Manager has done and what it holds.
type Stats struct {
	Processes, Files int
	Rows             uint64 // of all tables read
	Words            uint64 // in use
	NoTable          int    // files without one
	NoRoom           int    // files whose table did not fit
	Evicted          int
	TooMany          int // mappings beyond MaxMappings
	Looks            int // at memory maps
	Built            time.Duration
}

// Manager keeps the kernel's tables up to date, in the background.
type Manager struct {
	kernel Kernel

	mu    sync.Mutex
	queue []int
	gone  []int
	stats Stats
	wake  chan struct{}
	stop  chan struct{}
	done  chan struct{}

	// of the goroutine
	files *files
	procs map[int]*process
	now   Stats
	swept time.Time // when it last looked for processes that ended
}

// process is one whose mappings the kernel knows.
type process struct {
	files  map[*file]bool
	code   []proc.Mapping // what was mapped, to see changes
	misses uint64
	looked time.Time
	wait   time.Duration // before the next look
}

// New starts a Manager. Close ends it.
func New(k Kernel, cfg Config) *Manager {
	words := cfg.MaxWords
	if words <= 1 || words > MaxRegions*RegionWords {
		words = MaxRegions * RegionWords
	}
	m := &Manager{
		kernel: k, procs: map[int]*process{},
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	m.files = &files{kernel: k, space: newSpace(uint32(words)), known: map[fileKey]*file{}, stats: &m.now}
	every := cfg.Every
	if every <= 0 {
		every = 50 * time.Millisecond
	}
	go m.run(every)
	return m
}

// Process has the kernel told what a process maps: when it is first seen, or
// has executed another program.
func (m *Manager) Process(pid int) { m.post(&m.queue, pid) }

// Exited forgets a process.
func (m *Manager) Exited(pid int) { m.post(&m.gone, pid) }

func (m *Manager) post(to *[]int, pid int) {
	m.mu.Lock()
	*to = append(*to, pid)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Stats returns what there is now.
func (m *Manager) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stats
}

// Close ends the background work. What the kernel knows stays.
func (m *Manager) Close() {
	close(m.stop)
	<-m.done
}

func (m *Manager) run(every time.Duration) {
	defer close(m.done)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-m.wake:
		case <-tick.C:
			m.refresh()
		}
		m.work()
	}
}

// work does what was asked for.
func (m *Manager) work() {
	m.mu.Lock()
	queue, gone := m.queue, m.gone
	m.queue, m.gone = nil, nil
	m.mu.Unlock()
	for _, pid := range gone {
		m.forget(pid)
	}
	seen := map[int]bool{}
	for _, pid := range queue {
		if !seen[pid] {
			seen[pid] = true
			m.look(pid)
		}
	}
	m.publish()
}

func (m *Manager) publish() {
	m.now.Processes, m.now.Words = len(m.procs), m.files.space.used
	m.mu.Lock()
	m.stats = m.now
	m.mu.Unlock()
}

const (
	firstWait = 20 * time.Millisecond
	lastWait  = 10 * time.Second

	sweepEvery = time.Second
)

// refresh looks again at processes whose stacks met unknown code: they have
// loaded a library, or were never heard of. It forgets those that ended.
func (m *Manager) refresh() {
	now := time.Now()
	_ = m.kernel.Misses(func(pid int, count uint64) { // asked again soon
		p := m.procs[pid]
		if p != nil && (count == p.misses || now.Sub(p.looked) < p.wait) {
			return
		}
		m.look(pid)
		if p = m.procs[pid]; p != nil {
			p.misses = count
		}
	})
	if now.Sub(m.swept) < sweepEvery {
		return
	}
	m.swept = now
	for pid := range m.procs {
		if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
			m.forget(pid)
		}
	}
}

func (m *Manager) forget(pid int) {
	_ = m.kernel.DropMappings(pid) // costs memory only
	if p := m.procs[pid]; p != nil {
		delete(m.procs, pid)
		m.release(p.files)
	}
}

func (m *Manager) release(set map[*file]bool) {
	now := time.Now()
	for f := range set {
		f.users--
		f.used = now
	}
}

// look reads what a process maps and tells the kernel.
func (m *Manager) look(pid int) {
	m.now.Looks++
	all, err := code(pid)
	if errors.Is(err, proc.ErrGone) {
		m.forget(pid)
		return
	}
	if err != nil || len(all) == 0 {
		return
	}
	p := m.procs[pid]
	if p == nil {
		p = &process{wait: firstWait}
		m.procs[pid] = p
	}
	p.looked = time.Now()
	if slices.Equal(all, p.code) { // code nobody maps: look less and less
		p.wait = min(2*p.wait, lastWait)
		return
	}
	p.code, p.wait = all, firstWait
	old := p.files
	p.files = map[*file]bool{}
	if err := m.tell(pid, p, all); err != nil {
		p.code = nil // try again
	}
	m.release(old)
}

// tell loads the table of each file that is not known yet. Meanwhile the
// kernel works with those it has, and by frame pointers.
func (m *Manager) tell(pid int, p *process, all []proc.Mapping) error {
	out := make([]Mapping, len(all))
	for i, a := range all {
		out[i] = Mapping{Start: a.Start, Size: uint32(min(a.End-a.Start, 1<<32-1))}
	}
	var told time.Time // the first time as soon as there is one table
	for i, a := range all {
		f := m.file(pid, a)
		if f == nil {
			continue
		}
		if !p.files[f] {
			p.files[f] = true
			f.users++
			f.used = time.Now()
		}
		if at, ok := f.table.At(a.Offset); ok && f.at != 0 {
			out[i].Text, out[i].Index = at, f.at
			out[i].Size = min(out[i].Size, f.table.Size-at)
		}
		if time.Since(told) > tellEvery {
			_ = m.kernel.SetMappings(pid, withTables(out)) // told again below
			told = time.Now()
		}
	}
	if len(out) > MaxMappings {
		m.now.TooMany += len(out) - MaxMappings
	}
	return m.kernel.SetMappings(pid, withTables(out))
}

const tellEvery = 50 * time.Millisecond

// withTables returns as many mappings as the kernel takes; it drops those
// without a table first.
func withTables(all []Mapping) []Mapping {
	excess := len(all) - MaxMappings
	if excess <= 0 {
		return all
	}
	var out []Mapping
	for _, m := range all {
		if m.Index == 0 && excess > 0 {
			excess--
			continue
		}
		out = append(out, m)
	}
	return out[:min(len(out), MaxMappings)]
}

func (m *Manager) file(pid int, a proc.Mapping) *file {
	if !a.OfFile() {
		return nil
	}
	h, err := proc.FS{}.OpenMapped(pid, a)
	if err != nil {
		return nil
	}
	defer h.Close()
	st, err := h.Stat()
	if err != nil {
		return nil
	}
	key, ok := keyOf(st)
	if !ok {
		return nil
	}
	return m.files.load(h, key)
}

// code returns the code that a process maps, with and without a file.
func code(pid int) ([]proc.Mapping, error) {
	var all []proc.Mapping
	for m, err := range (proc.FS{}).Mappings(pid) {
		if err != nil {
			return nil, err
		}
		if m.Code && m.Start < 1<<63 { // the last is the kernel's
			all = append(all, m)
		}
	}
	return all, nil
}
