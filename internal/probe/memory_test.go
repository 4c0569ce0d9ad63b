package probe

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"ingero/internal/bpftest"
	"ingero/internal/event"
)

// A mapped file that is not in memory: page faults, not calls, wait for the
// disk.
func TestMajorFaults(t *testing.T) {
	file := diskDir(t) + "/file"
	p := python(t, fmt.Sprintf(`
path, n = %q, 500
with open(path, 'wb') as f:
    f.write(os.urandom(n * 65536)); f.flush(); os.fsync(f.fileno())
    os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
with open(path, 'rb') as f:
    m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
    m.madvise(mmap.MADV_RANDOM)
    ready()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
    for i in range(n): m[i * 65536]
    ready(resource.getrusage(resource.RUSAGE_SELF).ru_majflt - before)
`, file))
	s := open(t, Config{})
	p.trace(s)
	p.goOn()
	want, err := strconv.ParseUint(p.line(), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	b := s.books()
	s.finish()
	c := s.operations("major_fault", p.Process.Pid)
	// One whose page was there before it could wait is not a wait.
	if got := c.Hist.Count(); want < 400 || float64(got) < 0.95*float64(want) || float64(got) > 1.05*float64(want) {
		t.Errorf("%d waits in page faults, the kernel counted %d faults", got, want)
	}
	main := b.threads[uint32(p.Process.Pid)]
	if fault, sum := main.NS[event.Fault], c.Hist.Sum(); fault < sum*95/100 || fault > sum*105/100 || main.NS[event.Disk] > fault/10 {
		b.log(t)
		t.Errorf("%v in page faults by the books, %v counted", time.Duration(fault), time.Duration(sum))
	}
}

// Every page that the process is given is counted.
func TestPageAllocations(t *testing.T) {
	p := python(t, `
m = mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
m.madvise(mmap.MADV_NOHUGEPAGE)
ready()
for i in range(0, len(m), 4096): m[i] = 1
ready()
`)
	s := open(t, Config{})
	p.trace(s)
	p.goOn()
	p.line()
	s.books() // walks over the threads
	s.finish()
	const size = 64 << 20
	if c := s.operations("mm_page_alloc", p.Process.Pid); c.Bytes < size || c.Bytes > size+8<<20 || c.Hist.Count() < size/4096 {
		t.Errorf("%d allocations of %d bytes together, want %d of 4096 and little more", c.Hist.Count(), c.Bytes, size/4096)
	}
}

// A process at the limit of its memory cgroup frees memory before it gets
// any, and all of that time is booked as such, on a CPU as well.
func TestReclaim(t *testing.T) {
	_, inGroup := memoryGroup(t, 64<<20)
	file := diskDir(t) + "/file"
	p := python(t, fmt.Sprintf(`
with open(%q, 'wb') as f:
    block = os.urandom(1 << 20)
    for _ in range(160): f.write(block)
    f.flush(); os.fsync(f.fileno())
ready()
for _ in range(3):
    with open(%q, 'rb') as f:
        while f.read(1 << 20): pass
ready()
`, file, file), inGroup...)
	s := open(t, Config{})
	before := p.trace(s)
	p.goOn()
	p.line()
	b := s.books()
	s.finish()
	c, main := s.operations("direct_reclaim", p.Process.Pid), b.threads[uint32(p.Process.Pid)]
	if c.Hist.Count() == 0 {
		t.Fatal("no reclaim")
	}
	// A part of it may have been spent runnable.
	booked, counted := main.NS[event.Reclaim], c.Hist.Sum()
	t.Logf("%d reclaims, %v, booked %v and %v runnable", c.Hist.Count(), time.Duration(counted), time.Duration(booked), time.Duration(main.NS[event.Runnable]))
	if booked+main.NS[event.Runnable] < counted*98/100 || booked > counted*102/100+1e6 {
		t.Errorf("%v in reclaim by the books, %v counted", time.Duration(booked), time.Duration(counted))
	}
	addsUp(t, before, b, p.Process.Pid)
}

// The victim of an OOM kill is told of: who wanted the memory, and where.
func TestOOMKill(t *testing.T) {
	bpftest.NeedBPF(t)
	name, inGroup := memoryGroup(t, 64<<20)
	p := python(t, `
ready()
all = []
while True: all.append(bytearray(b'x') * (1 << 20))
`, inGroup...)
	s := open(t, Config{Emit: EmitPolicy})
	p.trace(s)
	p.goOn()
	if err := p.Wait(); err == nil {
		t.Fatal("it was not killed")
	}
	pid := p.Process.Pid
	l := s.lifeOf(pid, event.OOMKill)
	if int(l.Other) != pid || l.OtherComm != "python3" || l.Comm != "python3" || l.Group != name || l.StartBoot == 0 {
		t.Errorf("%+v, want process %d to be the trigger as well, in %s", l, pid, name)
	}
	if e, ok := l.Event(); !ok || e.Op.String() != "oom_kill" || e.Handle != uint64(pid) || e.Arg1() != uint64(pid) {
		t.Errorf("%+v", e)
	}
	if exit := s.lifeOf(pid, event.Exit); exit.Status != 9 || exit.StartBoot != l.StartBoot {
		t.Errorf("%+v", exit)
	}
	s.finish()
	if c := s.operations("oom_kill", pid); c.Hist.Count() != 1 {
		t.Errorf("%d kills counted", c.Hist.Count())
	}
}
