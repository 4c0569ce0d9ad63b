package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A context switch is measured by two processes on one CPU that pass a byte
// back and forth: every byte is one switch.
const (
	switchRounds = 100_000
	pongFlag     = "-pong"
)

// pong is the other process. It uses raw system calls, so that the Go
// scheduler has no part in it.
func pong() {
	var b [1]byte
	for {
		if n, err := syscall.Read(0, b[:]); n != 1 || err != nil {
			return
		}
		if _, err := syscall.Write(1, b[:]); err != nil {
			return
		}
	}
}

// pair starts the two processes, lets traced decide what is done about them,
// and returns the ns of one switch.
func pair(ctx context.Context, before func(pid int) (func() error, error)) (float64, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	ping := exec.CommandContext(ctx, self, "-ping")
	in, err := ping.StdinPipe()
	if err != nil {
		return 0, err
	}
	out, err := ping.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := ping.Start(); err != nil {
		return 0, err
	}
	defer ping.Wait()
	defer in.Close()
	stop, err := before(ping.Process.Pid)
	if err != nil {
		return 0, errors.Join(err, ping.Process.Kill())
	}
	if _, err := in.Write([]byte{1}); err != nil {
		return 0, err
	}
	var ns float64
	_, err = fmt.Fscan(out, &ns)
	return ns, errors.Join(err, stop())
}

// ping waits for a byte, then plays with a pong of its own and prints the ns
// of one switch.
func ping() error {
	var b [1]byte
	if _, err := os.Stdin.Read(b[:]); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	there, back := [2]int{}, [2]int{}
	if err := errors.Join(syscall.Pipe2(there[:], 0), syscall.Pipe2(back[:], 0)); err != nil {
		return err
	}
	var cpu unix.CPUSet
	cpu.Set(0)
	if err := unix.SchedSetaffinity(0, &cpu); err != nil {
		return err
	}
	p, err := os.StartProcess(self, []string{self, pongFlag}, &os.ProcAttr{
		Files: []*os.File{os.NewFile(uintptr(there[0]), "in"), os.NewFile(uintptr(back[1]), "out"), os.Stderr},
	})
	if err != nil {
		return err
	}
	defer p.Kill()
	began := time.Now()
	for i := range switchRounds {
		if i == switchRounds/10 {
			began = time.Now() // warm
		}
		if _, err := syscall.Write(there[1], b[:]); err != nil {
			return err
		}
		if _, err := syscall.Read(back[0], b[:]); err != nil {
			return err
		}
	}
	_, err = fmt.Println(float64(time.Since(began).Nanoseconds()) / (2 * switchRounds * 9 / 10))
	return err
}

// switches prints what a context switch costs without the agent, with it,
// and with both processes traced.
func (b *bench) switches(rounds int) error {
	alone := func(int) (func() error, error) { return func() error { return nil }, nil }
	watched := func(int) (func() error, error) { return b.agent("--record=false", "--user", "nobody") }
	traced := func(pid int) (func() error, error) { return b.agent("--record=false", "--pid", fmt.Sprint(pid)) }
	cases := []struct {
		name   string
		before func(pid int) (func() error, error)
	}{{"no agent", alone}, {"agent, untraced processes", watched}, {"agent, traced processes", traced}}
	all := map[string][]float64{}
	for range rounds {
		for _, c := range cases {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			ns, err := pair(ctx, c.before)
			cancel()
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			all[c.name] = append(all[c.name], ns)
		}
	}
	fmt.Printf("\n%-28s%10s%10s%18s\n", "µs per context switch", "median", "best", "added to the best")
	for _, c := range cases {
		median, best := median(all[c.name], func(x float64) float64 { return x }), slices.Min(all[c.name])
		fmt.Printf("%-28s%10.3f%10.3f%18.3f\n", c.name, median/1000, best/1000, (best-slices.Min(all["no agent"]))/1000)
	}
	return nil
}
