package symbol

import (
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// What is kept stays within the bounds, and what was dropped for them is
// found again while its process runs.
func TestBounds(t *testing.T) {
	path := build(t, "-O1", "-g")
	r := newResolver(t, Options{Processes: 2, Binaries: 2, TableBytes: 1, LineBytes: 1})
	var all []*victim
	for range 4 {
		v := start(t, exec.Command(path))
		all = append(all, v)
		if err := r.Process(v.pid, v.start); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		for _, v := range all {
			check(t, "stack", r.Resolve(v.pid, v.start, v.stack[:1]), named[0]+" program.cc:37")
			if len(r.procs) > 2 || len(r.files) > 2 {
				t.Fatalf("%d processes, %d files", len(r.procs), len(r.files))
			}
		}
	}
	for _, v := range all {
		r.forget(procKey{v.pid, v.start})
	}
	if len(r.files) != 0 || len(r.procs) != 0 {
		t.Errorf("%d files, %d processes are left", len(r.files), len(r.procs))
	}
}

// Addresses in no file, as those of just-in-time compilers, make the memory
// map be read less and less often; something new is found again in time.
func TestAddressesOfNoFile(t *testing.T) {
	r := newResolver(t, Options{})
	clock := time.Unix(1000, 0)
	r.now = func() time.Time { return clock }
	key := procKey{os.Getpid(), 0}
	reads, last := 0, time.Time{}
	for range 10_000 {
		r.Resolve(key.pid, 0, []uint64{8})
		if next := r.procs[key].next; next != last {
			reads, last = reads+1, next
		}
		clock = clock.Add(time.Millisecond)
	}
	if reads < 5 || reads > 15 {
		t.Errorf("the memory map was read %d times in 10 s", reads)
	}
}

// TestAtOnce uses a resolver from several goroutines; run it with -race.
func TestAtOnce(t *testing.T) {
	v := start(t, exec.Command(build(t, "-O1", "-g")))
	r := newResolver(t, Options{Binaries: 3, TableBytes: 1, LineBytes: 1 << 20})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 100 {
				switch (i + n) % 4 {
				case 0:
					_ = r.Process(os.Getpid(), 0)
				case 1:
					r.mu.Lock()
					r.forget(procKey{v.pid, v.start})
					r.mu.Unlock()
				default:
					if f := r.Resolve(v.pid, v.start, v.stack[:1]); f[0].Symbol != "shop::innermost+0x0" {
						t.Errorf("got %+v", f)
					}
				}
			}
		})
	}
	wg.Wait()
}
