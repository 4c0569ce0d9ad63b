package probe

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"ingero/internal/event"
)

// named adds up the time of thieves of a process, by name.
func (b *book) named(pid int) (sum uint64, by map[string]uint64) {
	by = map[string]uint64{}
	for _, p := range b.pairs {
		if p.State == event.Runnable && int(p.PID) == pid {
			sum += p.NS
			by[p.OtherComm] += p.NS
		}
	}
	return sum, by
}

const spin = `
os.sched_setaffinity(0, {0})
ready()
end = time.monotonic() + 1.5
while time.monotonic() < end: pass
ready()
`

// However many share a CPU, and however short their turns, nearly all of a
// wait for it has a name.
func TestManyThieves(t *testing.T) {
	for name, c := range map[string]struct{ thief, program string }{
		"short-lived": {"true", "os.sched_setaffinity(0, {0})\nready()\nos.execvp('sh', ['sh', '-c', 'while :; do /bin/true; /bin/true; done'])"},
		"fast": {"python3", `
os.sched_setaffinity(0, {0})
r, w = os.pipe(); back, there = os.pipe()
if os.fork() == 0:
    while os.read(r, 1): os.write(there, b'x')
    os._exit(0)
ready()
while True: os.write(w, b'x'); os.read(back, 1)`},
	} {
		t.Run(name, func(t *testing.T) {
			victim, thieves := python(t, spin), []*script{}
			for range 3 {
				thieves = append(thieves, python(t, c.program))
			}
			s := open(t, Config{})
			before := victim.trace(s)
			for _, p := range thieves {
				p.line()
				p.goOn()
			}
			victim.goOn()
			victim.line()
			b := s.books()
			sum, by := b.named(victim.Process.Pid)
			waited := b.threads[uint32(victim.Process.Pid)].NS[event.Runnable]
			t.Logf("waited %v, %v of it with a name: %v", time.Duration(waited), time.Duration(sum), by)
			if waited < 200e6 || float64(sum) < 0.95*float64(waited) || float64(sum) > 1.05*float64(waited) || by[c.thief] == 0 {
				t.Errorf("waited %v for a CPU, %v of it with a name", time.Duration(waited), time.Duration(sum))
			}
			addsUp(t, before, b, victim.Process.Pid)
		})
	}
}

// Several traced processes that wait for one CPU: each is told of all others.
func TestWaitersShareACPU(t *testing.T) {
	var all []*script
	for range 4 {
		all = append(all, python(t, spin))
	}
	s := open(t, Config{})
	for _, p := range all {
		p.trace(s)
	}
	before := s.books()
	for _, p := range all {
		p.goOn()
	}
	for _, p := range all {
		p.line()
	}
	b := s.books()
	for _, p := range all {
		pid := p.Process.Pid
		sum, _ := b.named(pid)
		waited := b.threads[uint32(pid)].NS[event.Runnable]
		if waited < 500e6 || float64(sum) < 0.95*float64(waited) || float64(sum) > 1.05*float64(waited) {
			t.Errorf("process %d waited %v for a CPU, %v of it with a name", pid, time.Duration(waited), time.Duration(sum))
		}
		addsUp(t, before, b, pid)
	}
}

// A thread that is moved from CPU to CPU while it waits: no time is lost, and
// the thieves on each are named.
func TestMigrationWhileWaiting(t *testing.T) {
	hogs := []*script{}
	for cpu := range 2 {
		hogs = append(hogs, python(t, fmt.Sprintf("os.sched_setaffinity(0, {%d})\nready()\nwhile True: pass", cpu)))
	}
	victim := python(t, `
ready()
end = time.monotonic() + 1.5
while time.monotonic() < end: pass
ready()
`)
	mover := python(t, `
ready()
pid, cpu = int(sys.stdin.readline()), 0
while True:
    os.sched_setaffinity(pid, {cpu})
    cpu = 1 - cpu
    time.sleep(0.003)
`)
	s := open(t, Config{})
	before := victim.trace(s)
	for _, p := range append(hogs, mover) {
		p.line()
		p.goOn()
	}
	victim.goOn()
	if _, err := fmt.Fprintln(mover.in, victim.Process.Pid); err != nil {
		t.Fatal(err)
	}
	victim.line()
	b := s.books()
	sum, by := b.named(victim.Process.Pid)
	waited := b.threads[uint32(victim.Process.Pid)].NS[event.Runnable]
	t.Logf("waited %v, %v of it with a name: %v", time.Duration(waited), time.Duration(sum), by)
	if waited < 200e6 || float64(sum) < 0.9*float64(waited) || float64(sum) > 1.1*float64(waited) {
		t.Errorf("waited %v for a CPU, %v of it with a name", time.Duration(waited), time.Duration(sum))
	}
	addsUp(t, before, b, victim.Process.Pid)
}

// Threads that were there before the trace and those that came later, and
// one that has ended: the books of each hold the time it lived.
func TestThreadsOldAndNew(t *testing.T) {
	p := python(t, `
def work(seconds, told=None):
    began = time.monotonic()
    time.sleep(seconds / 2)
    while time.monotonic() < began + seconds: pass
old = threading.Thread(target=work, args=(1.2,))
old.start()
ready(old.native_id)
new = threading.Thread(target=work, args=(1,))
new.start()
print(new.native_id, flush=True)
new.join(); old.join()
ready()
`)
	old, err := strconv.Atoi(p.line())
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, Config{})
	if err := s.Target(p.Process.Pid); err != nil {
		t.Fatal(err)
	}
	before := s.books()
	p.goOn()
	fresh, err := strconv.Atoi(strings.Fields(p.line())[0])
	if err != nil {
		t.Fatal(err)
	}
	p.line()
	b := s.books()
	addsUp(t, before, b, p.Process.Pid)
	for tid, want := range map[int]time.Duration{fresh: time.Second, old: 0} {
		l := b.threads[uint32(tid)]
		if l == nil || time.Duration(l.Total()) < want || l.Total() > uint64(b.to.Sub(before.from)) {
			t.Errorf("thread %d: %+v, want %v or more", tid, l, want)
		}
	}
}
