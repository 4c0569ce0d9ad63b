// Command faults injects known causes into the simulated CUDA workload while
// 'ingero trace' records it, asks 'ingero explain' what was wrong, and scores
// the answers. It needs root. See cases_*.go for what is injected.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"sync/atomic"
	"syscall"

	"ingero/test/workload"
)

func main() {
	runHelper() // does not return if this is one
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

func run() error {
	only := flag.String("run", "", "run only the cases whose name matches this `regexp`")
	rounds := flag.Int("rounds", 1, "how often to run each case")
	asJSON := flag.Bool("json", false, "print one JSON object for each run")
	out := flag.String("o", "", "write the report, in Markdown, to this `file`")
	data := flag.String("report", "", "write the report, as JSON, to this `file`")
	bin := flag.String("ingero", "", "the agent to test (default: build it)")
	keep := flag.String("keep", "", "keep databases and answers in this `folder`")
	nice := flag.Int("nice", -15, "niceness of everything started, so that other work on the machine plays no part")
	retries := flag.Int("retries", 2, "play a case again, so often, if other work on the machine disturbed it")
	injectOnly := flag.Bool("inject-only", false, "do not ask for an explanation: only say what each fault costs the job")
	list := flag.Bool("list", false, "list the cases")
	flag.Parse()
	match, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	chosen := slices.DeleteFunc(cases(), func(c Case) bool { return !match.MatchString(c.Name) })
	if *list {
		for _, c := range chosen {
			fmt.Printf("%-28s %s\n", c.Name, c.Text)
		}
		return nil
	}
	if os.Geteuid() != 0 {
		return errors.New("needs root: sudo -E make faults")
	}
	if err := renice(*nice); err != nil {
		return fmt.Errorf("set the niceness: %w", err)
	}
	l, err := newLab(*bin, *keep)
	if err != nil {
		return err
	}
	defer l.close()
	l.injectOnly, l.retries = *injectOnly, *retries
	l.endOnSignal()
	all := l.playAll(chosen, *rounds, *asJSON)
	if !*asJSON {
		fmt.Print("\n", summarize(all))
	}
	if *data != "" {
		if err := writeJSON(*data, reportJSON(all, *rounds)); err != nil {
			return err
		}
	}
	if *out != "" {
		return os.WriteFile(*out, []byte(report(all, *rounds)), 0o644)
	}
	return nil
}

// playAll plays the cases and prints each result as it comes.
func (l *lab) playAll(chosen []Case, rounds int, asJSON bool) []Result {
	var all []Result
	for round := range rounds {
		for _, c := range chosen {
			r := l.runCase(c)
			r.Round = round
			all = append(all, r)
			if asJSON {
				json.NewEncoder(os.Stdout).Encode(r)
			} else {
				fmt.Println(r)
			}
		}
	}
	return all
}

// lab is what all runs share: the agent, the unpacked workload, a folder.
type lab struct {
	dir, bin, keep string
	runs, retries  int
	injectOnly     bool
	scene          atomic.Pointer[scene] // that is played
}

func newLab(bin, keep string) (*lab, error) {
	// Not below TMPDIR: that may be in memory, and the disk is needed.
	dir, err := os.MkdirTemp("/var/tmp", "ingero-faults-")
	if err != nil {
		return nil, err
	}
	l := &lab{dir: dir, bin: bin, keep: keep}
	if err := errors.Join(os.Chmod(dir, 0o755), workload.Supported(), workload.Unpack(dir), l.prepare()); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) prepare() error {
	if l.keep != "" {
		if err := os.MkdirAll(l.keep, 0o755); err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for name := range helpers {
		if err := os.Symlink(self, filepath.Join(l.dir, name)); err != nil {
			return err
		}
	}
	// A second job with a name of its own.
	if err := os.Symlink("workload", filepath.Join(l.dir, "rival")); err != nil {
		return err
	}
	for name, size := range map[string]int{"batches": 256 << 20, "mapped": 32 << 20, "hogged": 256 << 20} {
		if err := writeFile(filepath.Join(l.dir, name), size); err != nil {
			return err
		}
	}
	if l.bin != "" {
		return nil
	}
	l.bin = filepath.Join(l.dir, "ingero")
	build := exec.Command("go", "build", "-o", l.bin, "ingero/cmd/ingero")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the agent: %w: %s", err, text)
	}
	return nil
}

func (l *lab) close() { os.RemoveAll(l.dir) }

// endOnSignal leaves nothing behind when the run is interrupted.
func (l *lab) endOnSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE)
	go func() {
		<-signals
		if s := l.scene.Load(); s != nil {
			s.close()
		}
		l.close()
		os.Exit(130)
	}()
}

// writeFile makes a file that is on the disk, not a hole in it.
func writeFile(path string, size int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for i := range block {
		block[i] = byte(i * 7)
	}
	for range size / len(block) {
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
	return errors.Join(f.Sync(), f.Chmod(0o644))
}
