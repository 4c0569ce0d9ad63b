package probe

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"ingero/internal/bpftest"
	"ingero/internal/event"
	"ingero/internal/stats"
)

// script is a Python program that is traced, or not, from a moment of its own
// choice on: it calls ready(), and goes on when it is told to.
type script struct {
	*exec.Cmd
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
}

const scriptPrologue = `
import ctypes, fcntl, mmap, os, resource, select, signal, socket, subprocess, sys, threading, time
def ready(*what):
    print(*what, flush=True)
    sys.stdin.readline()
`

// python starts a program and waits until it is ready. Words before it, such
// as unshare -n, start the interpreter.
func python(t *testing.T, program string, before ...string) *script {
	t.Helper()
	bpftest.NeedBPF(t)
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("needs python3")
	}
	return start(t, append(before, "python3", "-c", scriptPrologue+program)...)
}

// start starts a program that prints lines and waits to be told to go on.
func start(t *testing.T, args ...string) *script {
	t.Helper()
	p := &script{Cmd: exec.CommandContext(t.Context(), args[0], args[1:]...), t: t}
	p.Stderr, p.Dir = os.Stderr, t.TempDir()
	p.SysProcAttr = &unix.SysProcAttr{Setpgid: true} // its children end with it
	var err error
	if p.in, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Kill(-p.Process.Pid, unix.SIGKILL); p.Wait() })
	return p
}

// line reads what the program says next; goOn lets it continue.
func (p *script) line() string {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatalf("%q, %v", line, err)
	}
	return strings.TrimSpace(line)
}

func (p *script) goOn() {
	p.t.Helper()
	if _, err := p.in.Write([]byte("\n")); err != nil {
		p.t.Fatal(err)
	}
}

// end waits for the program's end, and for the news of it.
func (p *script) end(s *session) {
	p.t.Helper()
	if err := p.Wait(); err != nil {
		p.t.Fatal(err)
	}
	s.lifeOf(p.Process.Pid, event.Exit)
}

// trace begins to trace the program, which must be ready.
func (p *script) trace(s *session) *book {
	p.t.Helper()
	p.line()
	if err := s.Target(p.Process.Pid); err != nil {
		p.t.Fatal(err)
	}
	return s.books() // meets its threads
}

// lifeOf waits for a step in the life of a process.
func (s *session) lifeOf(pid int, kind event.LifeKind) event.Life {
	s.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		for _, l := range s.life {
			if int(l.PID) == pid && l.Kind == kind {
				s.mu.Unlock()
				return l
			}
		}
		s.mu.Unlock()
	}
	s.t.Fatalf("process %d: no news of kind %d", pid, kind)
	return event.Life{}
}

// operations adds up what was counted of an operation of the host.
func (s *session) operations(name string, pids ...int) stats.Calls {
	s.t.Helper()
	sum := stats.Calls{Hist: &stats.Histogram{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.host {
		if c := &s.host[i]; c.Op.String() == name && (len(pids) == 0 || int(c.PID) == pids[0]) {
			sum.Add(c)
		}
	}
	return sum
}

// records returns the records of an operation of the host.
func (s *session) records(name string) (all []event.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.seen {
		if e.Op.String() == name {
			all = append(all, e)
		}
	}
	return all
}

// diskDir is a directory on a real block device.
func diskDir(t *testing.T) string {
	t.Helper()
	for _, base := range []string{"", "/var/tmp", "."} {
		dir, err := os.MkdirTemp(base, "ingero-disk-")
		if err != nil {
			continue
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		if dir, err = filepath.Abs(dir); err == nil && onDisk(dir) {
			return dir
		}
	}
	t.Skip("needs a directory on a block device that takes O_DIRECT")
	return ""
}

func onDisk(dir string) bool {
	out, err := exec.Command("df", "--output=source", dir).Output()
	return err == nil && strings.Contains(string(out), "/dev/")
}

// memoryGroup makes a memory cgroup with a limit and returns the words that
// start a program in it.
func memoryGroup(t *testing.T, limit int) (name string, before []string) {
	t.Helper()
	bpftest.NeedBPF(t)
	root, file := "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	if _, err := os.Stat(root + "/" + file); err != nil {
		root, file = "/sys/fs/cgroup", "memory.max"
		if text, err := os.ReadFile(root + "/cgroup.controllers"); err != nil || !strings.Contains(string(text), "memory") {
			t.Skip("needs memory cgroups")
		}
	}
	name = fmt.Sprintf("ingero-test-%d-%d", os.Getpid(), time.Now().UnixNano()%1e6)
	dir := filepath.Join(root, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		var err error
		for range 100 { // the dead leave it a moment later
			if err = os.Remove(dir); err == nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Error(err)
	})
	if err := os.WriteFile(filepath.Join(dir, file), fmt.Append(nil, limit), 0o644); err != nil {
		t.Fatal(err)
	}
	return name, []string{"sh", "-c", `echo $$ > "$0"/cgroup.procs && exec "$@"`, dir}
}

// needTools skips the test, with the reason, unless the programs are there.
func needTools(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("needs %s", name)
		}
	}
}

// losePackets makes the loopback device of a process's own network lose one
// packet in five.
func losePackets(t *testing.T, pid int) {
	t.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "Dual BSD/GPL", Instructions: asm.Instructions{
		asm.FnGetPrandomU32.Call(),
		asm.Mod.Imm32(asm.R0, 5),
		asm.JEq.Imm(asm.R0, 0, "drop"),
		asm.Mov.Imm(asm.R0, 2), // XDP_PASS
		asm.Return(),
		asm.Mov.Imm(asm.R0, 1).WithSymbol("drop"), // XDP_DROP
		asm.Return(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends in the other network
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err != nil {
			done <- err
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		l, err := link.AttachXDP(link.XDPOptions{Program: prog, Interface: 1, Flags: link.XDPGenericMode})
		if err == nil {
			t.Cleanup(func() { l.Close() })
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// addsUp checks that a thread's books hold the time that has passed since the
// ones before.
func addsUp(t *testing.T, before, b *book, tid int) {
	t.Helper()
	l := b.threads[uint32(tid)]
	if l == nil {
		t.Errorf("no books of %d", tid)
		return
	}
	least, most := b.from.Sub(before.to), b.to.Sub(before.from)
	if total := time.Duration(l.Total()); total < least*99/100 || total > most*101/100 {
		t.Errorf("thread %d: %v booked of %v to %v", tid, total, least, most)
	}
}
