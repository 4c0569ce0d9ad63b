package unwind

import (
	"bufio"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// memory is a Kernel that does what the BPF side does.
type memory struct {
	mu      sync.Mutex
	regions map[uint32][]uint64
	procs   map[int][]Mapping
	misses  map[int]uint64
	fail    error
}

func newMemory() *memory {
	return &memory{regions: map[uint32][]uint64{}, procs: map[int][]Mapping{}, misses: map[int]uint64{}}
}

func (m *memory) WriteWords(at uint32, words []uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, w := range words {
		pos := at + uint32(i)
		if m.regions[pos/RegionWords] == nil {
			m.regions[pos/RegionWords] = make([]uint64, RegionWords)
		}
		m.regions[pos/RegionWords][pos%RegionWords] = w
	}
	return m.fail
}

func (m *memory) DropRegion(n uint32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.regions, n)
	return nil
}

func (m *memory) SetMappings(pid int, all []Mapping) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.procs[pid] = slices.Clone(all)
	return nil
}

func (m *memory) DropMappings(pid int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.procs, pid)
	delete(m.misses, pid)
	return nil
}

func (m *memory) Misses(f func(int, uint64)) error {
	m.mu.Lock()
	misses := make(map[int]uint64, len(m.misses))
	for k, v := range m.misses {
		misses[k] = v
	}
	m.mu.Unlock()
	for pid, n := range misses {
		f(pid, n)
	}
	return nil
}

// find is find_rule of bpf/unwind.h.
func (m *memory) find(index, rel uint32) Rule {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := index + rel>>blockBits
	word := m.regions[at/RegionWords][at%RegionWords]
	pos, n := uint32(word), uint32(word>>32)
	rule := Rule(Hole)
	for i := range n {
		region := m.regions[pos/RegionWords] // all in the first one's region
		w := region[pos%RegionWords+i]
		if uint32(w) > rel&(blockSize-1) {
			break
		}
		rule = Rule(w >> 32)
	}
	return rule
}

// TestLayout looks up every address around every row, at positions where
// blocks meet the end of a region.
func TestLayout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := &Table{Base: 0x1000, Size: uint32(rapid.IntRange(1, 1<<18).Draw(t, "size"))}
		var pc uint32
		for {
			pc += uint32(rapid.IntRange(1, 3000).Draw(t, "step"))
			if pc >= table.Size {
				break
			}
			table.Rows = append(table.Rows, Row{pc, Rule(rapid.Uint32().Draw(t, "rule"))})
		}
		at := uint32(rapid.IntRange(RegionWords-600, RegionWords+10).Draw(t, "at"))
		m := newMemory()
		words := table.layout(at)
		if len(words) > table.room() {
			t.Fatalf("%d words, expected at most %d", len(words), table.room())
		}
		_ = m.WriteWords(at, words)
		check := func(pc uint32) {
			if pc >= table.Size {
				return
			}
			if got, want := m.find(at, pc), table.Find(table.Base+uint64(pc)); got != want && (got.Kind() != Hole || want.Kind() != Hole) {
				t.Fatalf("%#x: %v, expected %v", pc, got, want)
			}
		}
		for _, r := range table.Rows {
			check(r.PC - 1)
			check(r.PC)
			check(r.PC + 1)
		}
		for pc := uint32(0); pc < table.Size; pc += blockSize / 2 {
			check(pc)
		}
	})
}

func TestSpace(t *testing.T) {
	const words = 1 << 20
	s := newSpace(words)
	taken := map[uint32]uint32{}
	used := make([]bool, words)
	mark := func(at, n uint32, to bool) {
		for i := at; i < at+n; i++ {
			if used[i] == to {
				t.Fatalf("word %d handed out or given back twice", i)
			}
			used[i] = to
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		if n := uint32(1 + rnd.IntN(30000)); rnd.IntN(2) == 0 {
			if at, ok := s.take(n); ok {
				mark(at, n, true)
				back := uint32(rnd.IntN(int(n))) // as place does
				s.give(at+n-back, back)
				mark(at+n-back, back, false)
				taken[at] = n - back
			}
			continue
		}
		for at, n := range taken {
			s.give(at, n)
			mark(at, n, false)
			delete(taken, at)
			break
		}
	}
	for r := range uint32(words / RegionWords) {
		empty := !slices.Contains(used[max(1, r*RegionWords):(r+1)*RegionWords], true)
		if s.empty(r) != empty {
			t.Errorf("region %d is empty: %v, said %v", r, empty, s.empty(r))
		}
	}
	for at, n := range taken {
		s.give(at, n)
	}
	if len(s.free) != 1 || s.free[0] != (extent{1, words - 1}) || s.used != 0 {
		t.Errorf("after giving all back: %v", s.free)
	}
}

// sleeper starts a process that waits until its input is closed.
func sleeper(t *testing.T) (pid int, end func()) {
	cmd := exec.Command("sh", "-c", "echo; read x")
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	bufio.NewReader(out).ReadByte()
	end = sync.OnceFunc(func() { in.Close(); _ = cmd.Wait() })
	t.Cleanup(end)
	return cmd.Process.Pid, end
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

func TestManager(t *testing.T) {
	k := newMemory()
	m := New(k, Config{Every: 5 * time.Millisecond})
	defer m.Close()
	first, endFirst := sleeper(t)
	second, _ := sleeper(t)
	m.Process(first)
	await(t, "first process", func() bool { return m.Stats().Processes == 1 })
	files := m.Stats().Files
	k.mu.Lock()
	k.misses[second] = 1 // nobody told the manager of it
	k.mu.Unlock()
	await(t, "second process", func() bool { return m.Stats().Processes == 2 })
	if s := m.Stats(); s.Files != files || files < 2 || s.Words == 0 {
		t.Errorf("%+v; the second process maps the same %d files", s, files)
	}
	checkMappings(t, k, first)
	looks := m.Stats().Looks
	for i := range 100 {
		k.mu.Lock()
		k.misses[second] = uint64(i) + 2 // code that nobody maps
		k.mu.Unlock()
		time.Sleep(2 * time.Millisecond)
	}
	if n := m.Stats().Looks - looks; n < 1 || n > 12 {
		t.Errorf("looked %d more times at a process that maps nothing new", n)
	}
	endFirst()
	await(t, "end of the first process", func() bool { return m.Stats().Processes == 1 })
	m.Exited(second)
	await(t, "end of the second process", func() bool { return m.Stats().Processes == 0 })
	if k.mu.Lock(); len(k.procs) != 0 {
		t.Errorf("the kernel still knows %v", k.procs)
	}
	k.mu.Unlock()
	m.Process(1 << 30) // never was
}

// checkMappings compares what the kernel would find with the files.
func checkMappings(t *testing.T, k *memory, pid int) {
	t.Helper()
	all, err := code(pid)
	if err != nil {
		t.Fatal(err)
	}
	k.mu.Lock()
	mappings := k.procs[pid]
	k.mu.Unlock()
	checked := 0
	for i, a := range all {
		if !a.OfFile() {
			continue
		}
		table, err := load(a.Path)
		if err != nil {
			continue
		}
		m := mappings[i]
		at, ok := table.At(a.Offset)
		if !ok || m.Start != a.Start || m.Text != at {
			t.Errorf("%s: %+v, expected %#x %#x", a.Path, m, a.Start, at)
			continue
		}
		for pc := uint32(0); pc < m.Size; pc += 97 {
			got, want := k.find(m.Index, m.Text+pc), table.Find(table.Base+uint64(m.Text+pc))
			if got != want {
				t.Fatalf("%s+%#x: %v, expected %v", a.Path, m.Text+pc, got, want)
			}
			checked++
		}
	}
	if checked < 1000 {
		t.Errorf("only %d addresses checked", checked)
	}
}

// TestEviction gives the tables little room: files nobody uses go first, and
// a file that does not fit is walked by frame pointers.
func TestEviction(t *testing.T) {
	k := newMemory()
	stats := &Stats{}
	f := &files{kernel: k, space: newSpace(100_000), known: map[fileKey]*file{}, stats: stats}
	load := func(path string) *file {
		h, err := os.Open(path)
		if err != nil {
			t.Skip(err)
		}
		defer h.Close()
		st, _ := h.Stat()
		key, _ := keyOf(st)
		return f.load(h, key)
	}
	glob := func(p string) string {
		all, _ := filepath.Glob(p)
		if len(all) == 0 {
			t.Skip("needs " + p)
		}
		return all[0]
	}
	libc, cxx := glob("/lib/*-linux-gnu/libc.so.6"), glob("/lib/*-linux-gnu/libstdc++.so.6")
	python := glob("/usr/bin/python3")
	a, b := load(libc), load(cxx)
	if a.err != nil || b.err != nil {
		t.Fatal(a.err, b.err)
	}
	a.users, b.users = 1, 1
	if c := load(python); c.err == nil {
		t.Errorf("a third table fits: %+v", stats)
	}
	b.users, b.used = 0, time.Now().Add(-2*grace)
	if c := load(python); c.err != nil || stats.Evicted != 1 || stats.NoRoom != 1 {
		t.Errorf("the third table: %v, %+v", c.err, stats)
	}
	if again := load(libc); again != a {
		t.Error("a table in use was dropped")
	}
}
