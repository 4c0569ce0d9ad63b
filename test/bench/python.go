package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed launch.py
var launchPy []byte

var pythonModes = []mode{empty, counted, usualBare, usual, allBare, all}

// Jobs in Python launch kernels: as fast as they can, or 20,000 a second,
// because the thread works in between or because the device takes so long.
var pythonJobs = []struct {
	name         string
	work, kernel int // ns
	launches     int // some 0.7 s
}{
	{free, 0, 0, 500_000},
	{working, 50_000, 0, 14_000},
	{waiting, 0, 50_000, 14_000},
}

const free, working, waiting = "free", "working", "waiting"

// python prints what a stack with Python frames costs, and what a job that
// launches 20,000 kernels a second loses. A process may be a quarter faster
// than the next that runs the same program, and the machine than a moment ago:
// each process is measured in all modes, and without a probe before each.
func (b *bench) python(rounds int) error {
	if err := os.WriteFile(filepath.Join(b.dir, "launch.py"), launchPy, 0o644); err != nil {
		return err
	}
	for r := range rounds {
		if err := b.pythonRound(fmt.Sprintf("%d of %d", r+1, rounds)); err != nil {
			return err
		}
	}
	return b.printPython(rounds)
}

func (b *bench) pythonRound(round string) (err error) {
	jobs := map[string]*launcher{}
	for _, j := range pythonJobs {
		if jobs[j.name], err = b.launcher(j.work, j.kernel); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, jobs[j.name].end()) }()
	}
	measure := func(name string, warmUp bool) error {
		for _, j := range pythonJobs {
			if warmUp { // two seconds, in which the agent finds what is normal
				if _, _, err := jobs[j.name].launch(3 * j.launches); err != nil {
					return err
				}
			}
			ns, inside, err := jobs[j.name].launch(j.launches)
			if err != nil {
				return err
			}
			b.ns[name+j.name] = append(b.ns[name+j.name], ns)
			b.ns[name+j.name+inCall] = append(b.ns[name+j.name+inCall], inside)
		}
		return nil
	}
	for _, m := range pythonModes {
		fmt.Fprintf(os.Stderr, "\rPython, round %s: %-24s", round, m.name)
		if err := measure(before+m.name, false); err != nil {
			return err
		}
		if err := b.within(m, func() error { return measure(m.name, true) }); err != nil {
			return err
		}
	}
	fmt.Fprintln(os.Stderr)
	return nil
}

const (
	before = "before "  // a series without a probe, taken just before that of a mode
	inCall = " in call" // the part of a launch that is not the work after it
)

// launcher is a running launch.py.
type launcher struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.Reader
}

func (b *bench) launcher(work, kernel int) (*launcher, error) {
	cmd := exec.Command("python3", filepath.Join(b.dir, "launch.py"), filepath.Join(b.dir, "libcuda.so.1"), fmt.Sprint(work))
	cmd.Env = append(os.Environ(), fmt.Sprint("SIM_CUDA_KERNEL_NS=", kernel), "SIM_CUDA_COLD_START_MS=0")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &launcher{cmd, in, out}, cmd.Start()
}

// launch returns the ns that one of so many launches took with the work after
// it, and without.
func (l *launcher) launch(count int) (ns, inside float64, err error) {
	if _, err = fmt.Fprintln(l.in, count); err == nil {
		_, err = fmt.Fscan(l.out, &ns, &inside)
	}
	if err != nil {
		err = fmt.Errorf("launch.py: %w", err)
	}
	return ns, inside, err
}

func (l *launcher) end() error { return errors.Join(l.in.Close(), l.cmd.Wait()) }

func (b *bench) printPython(rounds int) error {
	added := func(m mode) float64 { return b.difference(m.name+free, before+m.name+free) }
	fmt.Printf("\n%-24s%16s%10s%22s%22s\n", "Python, µs per launch", "free", "ratio", "20,000/s, working", "20,000/s, waiting")
	for _, m := range pythonModes {
		fmt.Printf("%-24s%16.3f%9.2fx", m.name, median(b.ns[m.name+free], same)/1000, added(m)/added(empty))
		// The work itself varies more than a probe costs: the calls tell.
		slower := b.difference(m.name+working+inCall, before+m.name+working+inCall) / median(b.ns[before+m.name+working], same)
		fmt.Printf("%12.3f  %+6.2f %%", median(b.ns[m.name+working], same)/1000, 100*slower)
		fmt.Printf("%12.3f  %+6.2f %%\n", median(b.ns[m.name+waiting], same)/1000, 100*(b.ratio(m.name+waiting, before+m.name+waiting)-1))
	}
	native, python, err := b.depth()
	if err != nil {
		return err
	}
	cost := added(all) - added(allBare)
	fmt.Printf("stack of %d native and %d Python frames: %.3f µs, %.2f of an empty pair\n", native, python, cost/1000, cost/added(empty))
	fmt.Printf("median of %d rounds; ratio is what is added to the same process just before, to what the empty pair adds\n", rounds)
	return nil
}

// depth counts the frames of the newest recorded launch: addresses, not
// functions inlined at them, and Python functions.
func (b *bench) depth() (native, python int, err error) {
	out, err := exec.Command(b.bin, "query", "--json", "--op", "cuLaunchKernel", "--limit", "1", "-d", filepath.Join(b.dir, "all.db")).Output()
	if err != nil {
		return 0, 0, fmt.Errorf("query: %w", err)
	}
	var answer struct {
		Events []struct {
			Stack []struct {
				Inlined bool
				Func    string `json:"py_func"`
			}
		}
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return 0, 0, err
	}
	for _, e := range answer.Events {
		for _, f := range e.Stack {
			switch {
			case strings.TrimSpace(f.Func) != "":
				python++
			case !f.Inlined:
				native++
			}
		}
	}
	return native, python, nil
}
