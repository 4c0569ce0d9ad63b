package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ingero/internal/proc"
)

// command is the program started by 'trace -- COMMAND'.
type command struct {
	cmd     *exec.Cmd
	resumed chan struct{}
	once    sync.Once     // closes resumed
	exited  chan struct{} // closed when err is known
	err     error
	signals chan os.Signal // that told us to stop
	asked   sync.Once      // it is told to end once
}

// startCommand starts the program and keeps it stopped before its first
// instruction, while probes are set on every library it is going to load.
// With sudo it runs as the user who called sudo, as it would without us.
func startCommand(t *tracer) (*command, error) {
	cmd := exec.Command(t.plan.program, t.plan.command[1:]...)
	cmd.Args[0] = t.plan.command[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = t.env.Stdin, t.env.Stdout, t.env.Stderr
	if t.plan.commandOut != nil {
		cmd.Stdout = t.plan.commandOut
	} else if t.plan.json {
		cmd.Stdout = t.env.Stderr // standard output is only JSON
	}
	cmd.Env = os.Environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := asInvokingUser(t.env, cmd); err != nil {
		return nil, err
	}
	c := &command{cmd: cmd, resumed: make(chan struct{}), exited: make(chan struct{}), signals: make(chan os.Signal, 1)}
	if !t.plan.screen { // with the live screen up, Ctrl-C is a key
		signal.Notify(c.signals, os.Interrupt, syscall.SIGTERM)
	}
	started := make(chan error)
	go c.hold(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", t.plan.command[0], err)
	}
	pid := cmd.Process.Pid
	if err := t.probe.Target(pid); err != nil {
		return nil, errors.Join(err, cmd.Process.Kill())
	}
	needed := proc.Needed(cmd.Path, cmd.Env)
	for _, b := range append(needed, nearby(cmd, needed)...) {
		t.found.lasting[b.ID] = true
		if err := t.found.attach(t, b); err != nil {
			t.gap("%v", err)
		}
	}
	return c, nil
}

// nearby looks for CUDA libraries that no ELF file names but that the command
// is likely to open by itself: in LD_LIBRARY_PATH, beside the program and
// beside the libraries it needs, and where its arguments point. The first
// calls into a library that turns up elsewhere are missed, for the few
// milliseconds until it is probed.
func nearby(cmd *exec.Cmd, needed []proc.Binary) []proc.Binary {
	places := []string{filepath.Dir(cmd.Path)}
	for _, v := range cmd.Env {
		if dirs, ok := strings.CutPrefix(v, "LD_LIBRARY_PATH="); ok {
			places = append(places, filepath.SplitList(dirs)...)
		}
	}
	for _, b := range needed {
		places = append(places, filepath.Dir(b.Path))
	}
	for _, arg := range strings.Fields(strings.Join(cmd.Args[1:], " ")) { // words: sh -c has them all in one
		if _, value, ok := strings.Cut(arg, "="); ok {
			arg = value
		}
		if strings.Contains(arg, "/") {
			places = append(places, arg, filepath.Dir(arg))
		}
	}
	var found []proc.Binary
	seen := map[string]bool{"": true, "/": true}
	for _, dir := range places {
		if dir == "" {
			continue
		}
		if abs, err := filepath.Abs(dir); err == nil {
			dir = abs
		}
		if seen[dir] {
			continue
		}
		seen[dir] = true
		files, err := filepath.Glob(filepath.Join(dir, "libcuda*.so*"))
		if err != nil {
			continue // an argument that is no path
		}
		for _, f := range files {
			if b, err := proc.OpenBinary(f); err == nil && proc.IsCUDA(f) {
				found = append(found, b)
			}
		}
	}
	return found
}

// hold starts the program under ptrace, which stops it at exec, and lets it
// go when resumed. Linux wants all of this from one thread.
func (c *command) hold(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := c.cmd.Start(); err != nil {
		started <- err
		return
	}
	var ws syscall.WaitStatus
	pid := c.cmd.Process.Pid
	if _, err := syscall.Wait4(pid, &ws, 0, nil); err != nil {
		started <- fmt.Errorf("wait for its first instruction: %w", err)
		return
	}
	if !ws.Stopped() {
		started <- fmt.Errorf("it ended before its first instruction (status %#x)", int(ws))
		return
	}
	started <- nil
	<-c.resumed
	defer close(c.exited)
	if err := syscall.PtraceDetach(pid); err != nil {
		c.err = errors.Join(fmt.Errorf("let the command run: %w", err), c.cmd.Process.Kill(), c.cmd.Wait())
		return
	}
	c.err = c.cmd.Wait()
}

// resume lets the program run.
func (c *command) resume() { c.once.Do(func() { close(c.resumed) }) }

// patience is how long a command may take to end after we were told to stop.
const patience = 10 * time.Second

// wait returns when the program has ended. When ctx ends first, the program
// is asked to end too, and after some patience left alone.
func (c *command) wait(ctx context.Context) {
	c.asked.Do(func() {
		select {
		case <-c.exited:
			return
		case <-ctx.Done():
		}
		// Ctrl-C reaches the program as well: it may be saving its work.
		if !c.interrupted() || !inForeground() {
			if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				return // it has just ended
			}
		}
		select {
		case <-c.exited:
		case <-time.After(patience):
		}
	})
}

// interrupted reports whether SIGINT, not SIGTERM, told us to stop.
func (c *command) interrupted() bool {
	select {
	case s := <-c.signals:
		return s == os.Interrupt
	default:
		return false
	}
}

// inForeground reports whether our process group, which is the program's as
// well, gets what is typed at the terminal.
func inForeground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// result is the program's exit status, as a shell gives it. It waits for a
// program that outlives the trace.
func (c *command) result(ctx context.Context) error {
	c.wait(ctx)
	select {
	case <-c.exited:
	default:
		return fmt.Errorf("%s did not end and still runs as process %d", c.cmd.Args[0], c.cmd.Process.Pid)
	}
	var exit *exec.ExitError
	if !errors.As(c.err, &exit) {
		return c.err
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return exitStatus(128 + int(ws.Signal()))
	}
	return exitStatus(exit.ExitCode())
}

// asInvokingUser drops root for the user who called sudo.
func asInvokingUser(env *Env, cmd *exec.Cmd) error {
	name := env.Getenv("SUDO_USER")
	if name == "" || name == "root" || os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return fmt.Errorf("start the command as %s: %w", name, err)
	}
	cred, err := credential(u)
	if err != nil {
		return fmt.Errorf("start the command as %s: %w", name, err)
	}
	cmd.SysProcAttr.Credential = cred
	var vars []string
	for _, v := range cmd.Env {
		key, _, _ := strings.Cut(v, "=")
		switch key {
		case "HOME", "USER", "LOGNAME", "MAIL", "SUDO_USER", "SUDO_UID", "SUDO_GID", "SUDO_COMMAND":
		default:
			vars = append(vars, v)
		}
	}
	cmd.Env = append(vars, "HOME="+u.HomeDir, "USER="+u.Username, "LOGNAME="+u.Username)
	return nil
}

func credential(u *user.User) (*syscall.Credential, error) {
	ids, err := u.GroupIds()
	if err != nil {
		return nil, err
	}
	var numbers []uint32
	for _, s := range append([]string{u.Uid, u.Gid}, ids...) {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, uint32(n))
	}
	return &syscall.Credential{Uid: numbers[0], Gid: numbers[1], Groups: numbers[2:]}, nil
}
