package python

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"ingero/internal/event"
	"ingero/test/workload"
)

// pythons returns the interpreters to test with, by version, free-threaded
// ones with a t behind it: the system's, pyenv's, and those that
// INGERO_TEST_PYTHONS names, of which "dir!path" is run in the root directory
// dir.
func pythons(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	paths := strings.Fields(os.Getenv("INGERO_TEST_PYTHONS"))
	paths = append(paths, "/usr/bin/python3")
	for _, dir := range []string{os.Getenv("HOME"), "/root"} {
		more, _ := filepath.Glob(dir + "/.pyenv/versions/3.*/bin/python3")
		paths = append(paths, more...)
	}
	for _, p := range paths {
		cmd := command(p, "-c", "import sys, ctypes; print('%d.%d.%d' % sys.version_info[:3] + sys.abiflags)")
		out, err := cmd.Output()
		v := strings.TrimSpace(string(out))
		if err != nil || found[v] != "" || slices.Contains([]string{"3.6", "3.7", "3.8", "3.9"}, v[:min(3, len(v)-2)]) {
			continue
		}
		found[v] = p
	}
	return found
}

func command(python string, args ...string) *exec.Cmd {
	root, path, chroot := strings.Cut(python, "!")
	if !chroot {
		return exec.Command(python, args...)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	return cmd
}

// folder returns a new folder, and its name as the interpreter sees it.
func folder(t *testing.T, python string) (outside, inside string) {
	t.Helper()
	root, _, chroot := strings.Cut(python, "!")
	if !chroot {
		dir := t.TempDir()
		return dir, dir
	}
	dir, err := os.MkdirTemp(root, "job-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir, "/" + filepath.Base(dir)
}

// job is a running testdata/job.py.
type job struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
	dir   string
}

func startJob(t *testing.T, python string, rounds, threads int) *job {
	t.Helper()
	if err := workload.Supported(); err != nil {
		t.Skip(err)
	}
	outside, inside := folder(t, python)
	if err := workload.Unpack(outside); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/job.py")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(outside+"/job.py", text, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := command(python, inside+"/job.py", inside+"/libcudart.so.12", fmt.Sprint(rounds), fmt.Sprint(threads), inside+"/truth")
	cmd.Env = append(os.Environ(), "SIM_CUDA_KERNEL_NS=0", "LD_LIBRARY_PATH="+inside, "PYTHONDONTWRITEBYTECODE=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	j := &job{t: t, cmd: cmd, stdin: stdin, out: bufio.NewReader(out), dir: outside}
	t.Cleanup(j.end)
	j.expect("ready")
	return j
}

func (j *job) expect(line string) {
	j.t.Helper()
	got, err := j.out.ReadString('\n')
	if err != nil || got != line+"\n" {
		j.t.Fatalf("the job says %q (%v), want %q", got, err, line)
	}
}

func (j *job) begin() { fmt.Fprintln(j.stdin) }

func (j *job) end() {
	j.stdin.Close()
	j.cmd.Wait()
}

// truth is what the job says about its own calls.
type truth struct {
	Chains [][]any
	Calls  []int
}

func (j *job) truth() truth {
	j.t.Helper()
	b, err := os.ReadFile(j.dir + "/truth")
	if err != nil {
		j.t.Fatal(err)
	}
	var all truth
	if err := json.Unmarshal(b, &all); err != nil {
		j.t.Fatal(err)
	}
	return all
}

// frames returns the stack that the job noted for its call number tag, as
// far as it is recorded.
func (r truth) frames(tag uint64) []event.Frame {
	var all []event.Frame
	for c := r.Chains[r.Calls[tag-1]]; len(c) > 0 && len(all) < maxFrames; c = c[3:] {
		name := []rune(c[1].(string))
		if len(name) > maxName {
			name = append(name[:maxName:maxName], '…')
		}
		all = append(all, event.Frame{PyFile: c[0].(string), PyFunc: string(name), PyLine: int(c[2].(float64))})
	}
	return all
}

const maxFrames = 64 // PY_FRAMES

func show(frames []event.Frame) string {
	var b strings.Builder
	for _, f := range frames {
		fmt.Fprintf(&b, "%s:%d in %s()\n", f.PyFile, f.PyLine, f.PyFunc)
	}
	return b.String()
}
