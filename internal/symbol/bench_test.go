package symbol

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ingero/internal/proc"
)

const manyFunctions = 200_000

// mapped maps a library as code of this process and returns where.
func mapped(t testing.TB, content []byte) (base uint64) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "libmany.so")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), 0x1000, manyFunctions*16, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(b) })
	maps, err := readMaps(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range maps {
		if m.Path == path {
			return m.Start
		}
	}
	t.Fatal("not in the memory map")
	return 0
}

// someStacks returns stacks of 24 frames, all different.
func someStacks(base uint64, n int) (all [][]uint64) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range n {
		s := make([]uint64, 24)
		for i := range s {
			s[i] = base + rnd.Uint64N(manyFunctions*16)
		}
		all = append(all, s)
	}
	return all
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// cpu is the processor time this process has used, which other processes do
// not make longer.
func cpu() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestManyStacks holds the figures the resolver is built for: 10,000 stacks
// over 200,000 functions in 2 s and 4 MB. The time allowed is longer, for
// slower machines.
func TestManyStacks(t *testing.T) {
	base := mapped(t, library(manyFunctions))
	stacks := someStacks(base, 10_000)
	before := heap()
	began := cpu()
	r := newResolver(t, Options{})
	for _, s := range stacks {
		for i, f := range r.Resolve(os.Getpid(), 0, s) {
			at := s[i] - base
			if i > 0 && at > 0 {
				at--
			}
			name, _, _ := strings.Cut(f.Symbol, "+")
			if want := "at::native::" + functionName(int(at/16)); name != want || f.File != "libmany.so" {
				t.Fatalf("%+v, want %s", f, want)
			}
		}
	}
	took := cpu() - began
	held := heap() - before
	t.Logf("10,000 stacks of 24 frames in %v of processor time; %d KB of heap are held", took.Round(time.Millisecond), held>>10)
	if took > 8*time.Second || held > 8<<20 {
		t.Error("want 2 s and 4 MB; four times and twice as much are allowed")
	}
	runtime.KeepAlive(r)
	runtime.KeepAlive(stacks)
}

func BenchmarkTable(b *testing.B) {
	img, err := parseImage(library(manyFunctions))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	var tab *table
	for b.Loop() {
		tab = newTable(img, nil)
	}
	b.ReportMetric(float64(tab.bytes()), "table-bytes")
	b.ReportMetric(float64(len(tab.order)), "functions")
}

// BenchmarkStacks resolves one stack of 24 frames; the first of them reads
// the tables.
func BenchmarkStacks(b *testing.B) {
	base := mapped(b, library(manyFunctions))
	stacks := someStacks(base, 10_000)
	r := newResolver(b, Options{})
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		r.Resolve(os.Getpid(), 0, stacks[i%len(stacks)])
		i++
	}
}

// BenchmarkLibrary reads the tables of real libraries.
func BenchmarkLibrary(b *testing.B) {
	paths, _ := filepath.Glob("/usr/lib/*-linux-gnu/lib[Lc][Lc]*.so.[0-9]*")
	for _, path := range paths {
		path, err := filepath.EvalSymlinks(path)
		if err != nil {
			continue
		}
		b.Run(filepath.Base(path), func(b *testing.B) {
			_, data, err := mapFile(proc.OpenRegular(path))
			if err != nil {
				b.Skip(err)
			}
			defer unix.Munmap(data)
			b.ReportAllocs()
			functions := 0
			for b.Loop() {
				img, err := parseImage(data)
				if err != nil {
					b.Skip(err)
				}
				functions = len(newTable(img, nil).order)
			}
			b.ReportMetric(float64(functions), "functions")
			b.ReportMetric(float64(len(data)), "file-bytes")
		})
	}
}

// BenchmarkProcess reads the memory map of this process.
func BenchmarkProcess(b *testing.B) {
	r := newResolver(b, Options{})
	for b.Loop() {
		if err := r.Process(os.Getpid(), 0); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleResolver() {
	r := New(Options{})
	defer r.Close()
	for _, f := range r.Resolve(1, 0, []uint64{0}) {
		fmt.Printf("%#x %q\n", f.IP, f.Symbol)
	}
	// Output: 0x0 ""
}
