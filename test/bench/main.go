// Command bench prints what watching costs: µs per call without a probe, with
// an empty pair of probes at the same place, and with the real agent, all in
// one run and in turn, because machines are noisy. It needs root.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/prometheus/procfs"

	"ingero/internal/event"
	"ingero/internal/proc"
	"ingero/test/workload"
)

// Two functions that do next to nothing: the driver's stub, probed at its
// second instruction, and a runtime function that begins with push %rbp and
// calls no driver.
var functions = []string{"cuLaunchKernel", "cudaSetDevice"}

// mode is a way to watch, or none.
type mode struct {
	name  string
	setup func(b *bench) (stop func() error, err error)
}

var (
	none    = mode{"no probe", func(*bench) (func() error, error) { return func() error { return nil }, nil }}
	empty   = mode{"empty entry + return", (*bench).empty}
	counted = mode{"trace --record=false", agent("--record=false")}
	usual   = mode{"trace", agent("--db", "usual.db")}
	all     = mode{"trace --record-all", agent("--db", "all.db", "--record-all")}
	// The same without stacks: what is between the two is the price of one.
	usualBare = mode{"trace --stack=false", agent("--db", "usual-bare.db", "--stack=false")}
	allBare   = mode{"… --stack=false", agent("--db", "all-bare.db", "--record-all", "--stack=false")}
)

var modes = []mode{none, empty, counted, usual, all, allBare}

// agent is a mode with the agent; a database is a name in the bench's folder.
func agent(args ...string) func(b *bench) (func() error, error) {
	return func(b *bench) (func() error, error) { return b.agent(args...) }
}

func main() {
	rounds := flag.Int("rounds", 5, "rounds; the median is printed")
	count := flag.Int("count", 500_000, "calls a round")
	bin := flag.String("ingero", "bin/ingero", "the agent to measure")
	part := flag.String("only", "", "measure only calls, python, switches, api or export")
	isPing, isPong := flag.Bool("ping", false, "internal"), flag.Bool("pong", false, "internal")
	flag.Parse()
	switch {
	case *isPong:
		pong()
		return
	case *isPing:
		if err := ping(); err != nil {
			fmt.Fprintln(os.Stderr, "ping:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(*rounds, *count, *bin, *part); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type bench struct {
	dir, bin string
	count    int
	ns       map[string][]float64 // by mode and function
	usage    map[string][]usage   // of the agent, by mode
	pid      int                  // of the agent; 0 when there is none
}

// usage is what the agent itself took during one loop.
type usage struct {
	cpu float64 // share of one core
	rss int     // bytes
}

func run(rounds, count int, bin, only string) error {
	dir, err := os.MkdirTemp("", "ingero-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := errors.Join(workload.Supported(), workload.Unpack(dir)); err != nil {
		return err
	}
	b := &bench{dir: dir, bin: bin, count: count, ns: map[string][]float64{}, usage: map[string][]usage{}}
	for _, part := range []struct {
		name    string
		measure func(rounds int) error
	}{{"calls", b.calls}, {"python", b.python}, {"switches", b.switches}, {"api", b.api}, {"export", b.export}} {
		if only == "" || only == part.name {
			if err := part.measure(rounds); err != nil {
				return err
			}
		}
	}
	return nil
}

// calls prints what a call costs in each mode.
func (b *bench) calls(rounds int) error {
	err := b.inTurn(rounds, modes, func(m mode) error {
		for _, f := range functions {
			if err := b.loop(m.name, f); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		b.print()
	}
	return err
}

// inTurn measures each mode, once a round.
func (b *bench) inTurn(rounds int, modes []mode, measure func(mode) error) error {
	for r := range rounds {
		for _, m := range modes {
			fmt.Fprintf(os.Stderr, "\rround %d of %d: %-24s", r+1, rounds, m.name)
			if err := b.within(m, func() error { return measure(m) }); err != nil {
				return err
			}
		}
	}
	fmt.Fprintln(os.Stderr)
	return nil
}

// within measures while m watches.
func (b *bench) within(m mode, measure func() error) error {
	stop, err := m.setup(b)
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	err = measure()
	b.pid = 0
	if err = errors.Join(err, stop()); err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	return nil
}

// loop calls a function as fast as one thread can.
func (b *bench) loop(mode, function string) error {
	before, began := b.cpu(), time.Now()
	r, err := workload.Start(context.Background(), b.dir, "--bench", function, "--count", fmt.Sprint(b.count), "--kernel-ns", "0", "--cold-start-ms", "0")
	if err != nil {
		return err
	}
	truth, err := r.Wait()
	if err != nil {
		return err
	}
	b.ns[mode+function] = append(b.ns[mode+function], truth.NSPerCall)
	if b.pid != 0 {
		b.usage[mode] = append(b.usage[mode], usage{(b.cpu() - before) / time.Since(began).Seconds(), b.rss()})
	}
	return nil
}

// empty attaches programs that return at once, where the agent would.
func (b *bench) empty() (func() error, error) {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.Kprobe, AttachType: ebpf.AttachTraceUprobeMulti, License: "Dual BSD/GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		return nil, err
	}
	closers := []func() error{prog.Close}
	for _, lib := range []string{"libcuda.so.1", "libcudart.so.12"} {
		bin, err := proc.OpenBinary(filepath.Join(b.dir, lib))
		if err != nil {
			return nil, err
		}
		sites, _, err := bin.Sites(event.Calls)
		if err != nil {
			return nil, err
		}
		opts := &link.UprobeMultiOptions{}
		for _, s := range sites {
			opts.Addresses = append(opts.Addresses, s.Offset)
		}
		ex, err := link.OpenExecutable(bin.Open)
		if err != nil {
			return nil, err
		}
		out, err := ex.UretprobeMulti(nil, prog, opts)
		if err != nil {
			return nil, err
		}
		in, err := ex.UprobeMulti(nil, prog, opts)
		if err != nil {
			return nil, err
		}
		closers = append(closers, out.Close, in.Close)
	}
	return func() error {
		var errs []error
		for _, c := range closers {
			errs = append(errs, c())
		}
		return errors.Join(errs...)
	}, nil
}

// agent starts the real thing and waits until its probes are attached.
func (b *bench) agent(args ...string) (func() error, error) {
	args = append([]string{"trace", "--cuda-lib", filepath.Join(b.dir, "libcuda.so.1"), "--cuda-lib", filepath.Join(b.dir, "libcudart.so.12")}, args...)
	for i, a := range args {
		if a == "--db" {
			args[i+1] = filepath.Join(b.dir, args[i+1])
		}
	}
	cmd := exec.Command(b.bin, args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "probes attached") {
			b.pid = cmd.Process.Pid
			go func() {
				for lines.Scan() {
				}
			}()
			return func() error { return errors.Join(cmd.Process.Signal(syscall.SIGINT), cmd.Wait()) }, nil
		}
		fmt.Fprintln(os.Stderr, lines.Text())
	}
	return nil, fmt.Errorf("the agent ended: %w", cmd.Wait())
}

func (b *bench) cpu() float64 {
	if p, err := procfs.NewProc(b.pid); err == nil {
		if s, err := p.Stat(); err == nil {
			return s.CPUTime()
		}
	}
	return 0
}

func (b *bench) rss() int {
	if p, err := procfs.NewProc(b.pid); err == nil {
		if s, err := p.NewStatus(); err == nil {
			return int(s.VmHWM)
		}
	}
	return 0
}

func median[T any](all []T, key func(T) float64) float64 {
	values := make([]float64, len(all))
	for i, v := range all {
		values[i] = key(v)
	}
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func same(x float64) float64 { return x }

func (b *bench) print() {
	fmt.Printf("%-24s", "µs per call")
	for _, f := range functions {
		fmt.Printf("%18s%10s", f, "ratio")
	}
	fmt.Printf("%14s%12s\n", "agent CPU", "peak MB")
	for _, m := range modes {
		fmt.Printf("%-24s", m.name)
		for _, f := range functions {
			fmt.Printf("%18.3f%9.2fx", median(b.ns[m.name+f], same)/1000, b.ratio(m.name+f, empty.name+f))
		}
		if u := b.usage[m.name]; len(u) > 0 {
			fmt.Printf("%13.1f%%%12.1f", 100*median(u, func(u usage) float64 { return u.cpu }), median(u, func(u usage) float64 { return float64(u.rss) })/1e6)
		}
		fmt.Println()
	}
	for _, f := range functions {
		fmt.Printf("stack of a recorded %s: %.3f µs, %.2f of an empty pair\n", f,
			b.difference(all.name+f, allBare.name+f)/1000, b.difference(all.name+f, allBare.name+f)/median(b.ns[empty.name+f], same))
	}
	fmt.Printf("driver stub / push %%rbp, both traced: %.2f\n", b.ratio(usual.name+functions[0], usual.name+functions[1]))
	fmt.Printf("median of %d rounds of %d calls; ratio is to the empty pair, round by round\n", len(b.ns[none.name+functions[0]]), b.count)
}

// difference is what one series takes more than another, pair by pair.
func (b *bench) difference(x, y string) float64 {
	var all []float64
	for i := range b.ns[x] {
		all = append(all, b.ns[x][i]-b.ns[y][i])
	}
	return median(all, func(d float64) float64 { return d })
}

// ratio compares two series pair by pair, so that a slow moment of the
// machine weighs on both.
func (b *bench) ratio(x, y string) float64 {
	var all []float64
	for i := range b.ns[x] {
		all = append(all, b.ns[x][i]/b.ns[y][i])
	}
	return median(all, func(r float64) float64 { return r })
}
