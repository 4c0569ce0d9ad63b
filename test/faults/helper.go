package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Helpers are this program under another name, started by a link of that
// name: the name is what a finding has to tell.
var helpers = map[string]func(args []string) error{
	"hog":     func([]string) error { return spin(time.Hour) },
	"thief":   func([]string) error { return spin(25 * time.Millisecond) },
	"burster": burster,
	"spawner": spawner,
	"diskhog": diskHog,
	"writer":  writer,
	"peer":    peer,
}

func runHelper() {
	run, ok := helpers[filepath.Base(os.Args[0])]
	if !ok {
		return
	}
	if name := filepath.Base(os.Args[0]); name != "thief" && name != "peer" {
		go func() { // the end of whoever started it is the end
			io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
		os.Exit(1)
	}
	os.Exit(0)
}

func spin(d time.Duration) error {
	runtime.LockOSThread()
	for end := time.Now().Add(d); time.Now().Before(end); {
	}
	return nil
}

// burster is busy half of each second.
func burster([]string) error {
	for ; ; time.Sleep(500 * time.Millisecond) {
		spin(500 * time.Millisecond)
	}
}

// spawner starts one short-lived process after another.
func spawner([]string) error {
	for {
		if err := exec.Command(filepath.Join(filepath.Dir(os.Args[0]), "thief")).Run(); err != nil {
			return err
		}
	}
}

// diskHog reads a file from the disk as fast as several threads can.
func diskHog(args []string) error {
	f, err := os.OpenFile(args[0], os.O_RDONLY|syscall.O_DIRECT, 0)
	if err != nil {
		return err
	}
	failed := make(chan error)
	for i := range 12 {
		go func() {
			buf, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
			for at := int64(i) << 22; err == nil; at += 1 << 20 {
				if _, err = f.ReadAt(buf, at%(240<<20)); errors.Is(err, io.EOF) {
					err = nil
				}
			}
			failed <- err
		}()
	}
	return <-failed
}

// writer writes to a file at a moderate rate.
func writer(args []string) error {
	f, err := os.Create(args[0])
	if err != nil {
		return err
	}
	for block := make([]byte, 4<<20); ; time.Sleep(100 * time.Millisecond) {
		if _, err := f.WriteAt(block, 0); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
	}
}

// peer answers requests of so many bytes with 64. Lines on standard input
// set the delay in µs.
func peer(args []string) error {
	size, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	in, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(in.Addr())
	var delay atomic.Int64
	go func() {
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			us, _ := strconv.Atoi(lines.Text())
			delay.Store(int64(us))
		}
		os.Exit(0)
	}()
	for {
		c, err := in.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			request, reply := make([]byte, size), make([]byte, 64)
			for {
				if _, err := io.ReadFull(c, request); err != nil {
					return
				}
				if d := delay.Load(); d > 0 {
					time.Sleep(time.Duration(d) * time.Microsecond)
				}
				if _, err := c.Write(reply); err != nil {
					return
				}
			}
		}()
	}
}

// helper is a process beside the job.
type helper struct {
	name  string
	pid   int
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Scanner
}

// start starts a program of the lab on some CPUs ("" is all), as root or as
// the job's user.
func (s *scene) start(name, cpu string, attr *syscall.SysProcAttr, args ...string) (*helper, error) {
	command := append([]string{filepath.Join(s.l.dir, name)}, args...)
	if cpu != "" {
		command = append([]string{"taskset", "-c", cpu}, command...)
	}
	h := &helper{name: name, cmd: exec.Command(command[0], command[1:]...)}
	if attr == nil {
		attr = &syscall.SysProcAttr{}
	}
	attr.Setpgid = true // so that what it starts ends with it
	h.cmd.SysProcAttr = attr
	h.cmd.Stderr = os.Stderr
	var err error
	if h.stdin, err = h.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	h.out = bufio.NewScanner(out)
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	h.pid = h.cmd.Process.Pid
	s.helpers = append(s.helpers, h)
	return h, nil
}

func (h *helper) stop() error {
	if h.cmd.ProcessState != nil {
		return nil
	}
	syscall.Kill(-h.pid, syscall.SIGKILL)
	h.cmd.Wait()
	return nil
}

// tell writes a line to the helper.
func (h *helper) tell(line string) error {
	_, err := fmt.Fprintln(h.stdin, line)
	return err
}
