package probe

import (
	"bufio"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ingero/internal/bpftest"
	"ingero/internal/event"
	"ingero/internal/stats"
	"ingero/test/workload"
)

// book is everything the ledger says of one run.
type book struct {
	threads map[uint32]*stats.Ledger // all places together
	places  map[string]*stats.Ledger // all threads together, by place
	pairs   []stats.Pair
	from    time.Time // they were brought up to a time between these
	to      time.Time
}

func add(to *stats.Ledger, l stats.Ledger) {
	for s := range l.NS {
		to.NS[s] += l.NS[s]
		to.Count[s] += l.Count[s]
		to.Max[s] = max(to.Max[s], l.Max[s])
	}
}

func (s *session) books() *book {
	s.t.Helper()
	b := &book{threads: map[uint32]*stats.Ledger{}, places: map[string]*stats.Ledger{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	b.from = time.Now()
	defer func() { b.to = time.Now() }()
	err := s.DrainLedger(func(l stats.Ledger) {
		place := "between"
		if l.Place != 0 {
			place = l.Place.String()
		}
		if b.threads[l.TID] == nil {
			b.threads[l.TID] = &stats.Ledger{PID: l.PID, TID: l.TID, Start: l.Start}
		}
		if b.places[place] == nil {
			b.places[place] = &stats.Ledger{}
		}
		add(b.threads[l.TID], l)
		add(b.places[place], l)
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.DrainPairs(func(p stats.Pair) { b.pairs = append(b.pairs, p) }); err != nil {
		s.t.Fatal(err)
	}
	return b
}

func (b *book) log(t *testing.T) {
	t.Helper()
	for place, l := range b.places {
		line := place + ":"
		for s, ns := range l.NS {
			if ns > 0 {
				line += " " + event.State(s).String() + " " + time.Duration(ns).Round(time.Microsecond).String()
			}
		}
		t.Log(line)
	}
	for _, p := range b.pairs {
		t.Logf("%d/%d %v: %s %d/%d %v in %d", p.PID, p.TID, p.State, p.OtherComm, p.OtherPID, p.OtherTID, time.Duration(p.NS), p.Count)
	}
}

// The parts add up to the time the thread lived, within one percent, whatever
// it does: sleeping, waiting for the device, spinning, more threads than CPUs.
func TestLedgerAddsUp(t *testing.T) {
	dir := sim(t)
	for name, args := range map[string]string{
		"sleeping":  "--steps 0 --duration-s 1 --gap-us 2000 --launches 20",
		"capturing": "--steps 0 --duration-s 1 --graph --recapture 1 --capture-us 2000 --launches 20",
		"spinning":  "--steps 0 --duration-s 1 --wait spin --launches 20",
		"8-threads": "--steps 0 --duration-s 1 --threads 8 --launches 20 --wait spin",
		"fast":      "--bench cudaLaunchKernel --count 300000 --kernel-ns 0",
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, Config{Everyone: true}, libs(dir)...)
			r, err := workload.Start(t.Context(), dir, strings.Fields(args)...)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Wait(); err != nil {
				t.Fatal(err)
			}
			b := s.books()
			b.log(t)
			var begin, end int64 // of the books: from the first call on
			for deadline := time.Now().Add(5 * time.Second); end == 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
				s.mu.Lock()
				for _, l := range s.life {
					switch l.Kind {
					case event.Found:
						begin = l.Time
					case event.Exit:
						end = l.Time
					}
				}
				s.mu.Unlock()
			}
			main := b.threads[uint32(r.PID)]
			if main == nil {
				t.Fatalf("no books of thread %d: %v", r.PID, b.threads)
			}
			lived, booked := end-begin, int64(main.Total())
			t.Logf("unaccounted: %.3f%%", 100*float64(lived-booked)/float64(lived))
			if off := float64(lived-booked) / float64(lived); off < -0.01 || off > 0.01 {
				t.Errorf("lived %v, booked %v: %.2f%% unaccounted", time.Duration(lived), time.Duration(booked), 100*off)
			}
		})
	}
}

// The thief is named: a busy process on the same CPU.
func TestThiefIsNamed(t *testing.T) {
	dir := sim(t)
	s := open(t, Config{Everyone: true}, libs(dir)...)
	hog := exec.Command("sh", "-c", "while :; do :; done")
	if err := hog.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { hog.Process.Kill(); hog.Wait() }()
	var cpu unix.CPUSet
	cpu.Set(runtime.NumCPU() - 1)
	if err := unix.SchedSetaffinity(hog.Process.Pid, &cpu); err != nil {
		t.Fatal(err)
	}
	r, err := workload.Start(t.Context(), dir, "--steps", "0", "--duration-s", "1", "--wait", "spin", "--wait-stdin")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := unix.SchedSetaffinity(r.PID, &cpu); err != nil {
		t.Fatal(err)
	}
	if err := r.Go(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	b := s.books()
	b.log(t)
	var stolen, named, worst, waited uint64
	for _, p := range b.pairs {
		if p.State != event.Runnable {
			continue
		}
		named += p.NS
		if int(p.OtherPID) == hog.Process.Pid {
			stolen += p.NS
		} else {
			worst = max(worst, p.NS)
		}
	}
	for _, l := range b.threads {
		waited += l.NS[event.Runnable]
	}
	// Other tests may want the same CPU: the hog is the worst thief, and
	// nearly all of the wait has a name.
	if waited < uint64(200*time.Millisecond) || float64(named) < 0.9*float64(waited) || stolen < worst {
		t.Errorf("waited %v for a CPU, %v of it with a name, %v because of the hog, %v because of the next",
			time.Duration(waited), time.Duration(named), time.Duration(stolen), time.Duration(worst))
	}
}

// Each way to wait is called by its name. The program waits for 300 ms.
func TestStates(t *testing.T) {
	bpftest.NeedBPF(t)
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("needs python3")
	}
	const prologue = "import os, sys, time, threading, socket, select, subprocess, fcntl\nprint('ready', flush=True)\nsys.stdin.readline()\n"
	for name, c := range map[string]struct {
		program string
		want    event.State
	}{
		"sleep":   {"time.sleep(0.3)", event.Sleep},
		"lock":    {"l = threading.Lock(); l.acquire(); threading.Timer(0.3, l.release).start(); l.acquire()", event.Lock},
		"pipe":    {"r, w = os.pipe(); threading.Timer(0.3, os.write, (w, b'x')).start(); os.read(r, 1)", event.Pipe},
		"socket":  {"a, b = socket.socketpair(); threading.Timer(0.3, b.send, (b'x',)).start(); a.recv(1)", event.NetworkWait},
		"poll":    {"a, b = socket.socketpair(); p = select.poll(); p.register(a, select.POLLIN); p.poll(300)", event.NetworkWait},
		"child":   {"os.waitpid(os.spawnvp(os.P_NOWAIT, 'sleep', ['sleep', '0.3']), 0)", event.Child},
		"stopped": {"threading.Timer(0.3, lambda: 0); subprocess.Popen(['sh', '-c', f'sleep 0.3; kill -CONT {os.getpid()}']); os.kill(os.getpid(), 19)", event.Stopped},
		"running": {"end = time.process_time() + 0.3\nwhile time.process_time() < end: pass", event.Running},
		"flock":   {"f, g = open(sys.argv[1], 'w'), open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); threading.Timer(0.3, fcntl.flock, (f, fcntl.LOCK_UN)).start(); fcntl.flock(g, fcntl.LOCK_EX)", event.Lock},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, Config{})
			cmd := exec.CommandContext(t.Context(), "python3", "-c", prologue+c.program, t.TempDir()+"/file")
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stderr = os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if err := s.Target(cmd.Process.Pid); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
				t.Fatalf("%q, %v", line, err)
			}
			s.books() // meets the thread, and forgets how Python started
			if _, err := in.Write([]byte("\n")); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
			b := s.books()
			main := b.threads[uint32(cmd.Process.Pid)]
			if main == nil {
				t.Fatalf("no books of %d: %v", cmd.Process.Pid, b.threads)
			}
			got := time.Duration(main.NS[c.want])
			if got < 250*time.Millisecond || (c.want != event.Running && got > 400*time.Millisecond) {
				b.log(t)
				t.Errorf("%v for %v, want about 300ms", c.want, got)
			}
		})
	}
}

// Whoever ends a wait is named: the thread that released the lock.
func TestWakerIsNamed(t *testing.T) {
	bpftest.NeedBPF(t)
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("needs python3")
	}
	s := open(t, Config{})
	cmd := exec.CommandContext(t.Context(), "python3", "-c", `
import sys, threading, time
sys.stdin.readline()
lock, other = threading.Lock(), threading.Lock()
lock.acquire(); other.acquire()
def feed():
    for _ in range(20):
        time.sleep(0.01)
        lock.release()
        other.acquire()
threading.Thread(target=feed).start()
for _ in range(20):
    lock.acquire()
    other.release()
`)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := s.Target(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	s.books()
	if _, err := in.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	b := s.books()
	var named uint64
	for _, p := range b.pairs {
		if p.State == event.Lock && int(p.TID) == cmd.Process.Pid && int(p.OtherPID) == cmd.Process.Pid && p.OtherTID != p.TID {
			named += p.NS
		}
	}
	if waited := b.threads[uint32(cmd.Process.Pid)].NS[event.Lock]; waited < 150e6 || float64(named) < 0.9*float64(waited) {
		b.log(t)
		t.Errorf("waited %v for the lock, %v of it with a name", time.Duration(waited), time.Duration(named))
	}
}
