package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"ingero/test/workload"
)

// scene is one run of a case: the job, the agent and whatever disturbs them.
type scene struct {
	l        *lab
	c        Case
	dir      string
	user     string
	settings map[string]string // in the control file
	job      *workload.Run
	pids     []int // of the job, found in its log
	args     []string
	groups   map[string]string // controller: folder
	helpers  []*helper
	requests *os.File // of the inference server
	rush     atomic.Bool
	agent    *exec.Cmd
	mu       sync.Mutex
	said     []line // by the agent on standard error
	ended    chan error
}

type line struct {
	at   time.Time
	text string
}

const firstUser = 62000 // nobody else's on this machine

func (l *lab) newScene(c Case) (*scene, error) {
	l.runs++
	s := &scene{l: l, c: c, user: fmt.Sprint(firstUser + os.Getpid()%500*2 + l.runs%2),
		settings: map[string]string{}, groups: map[string]string{}, ended: make(chan error, 1)}
	s.dir = filepath.Join(l.dir, fmt.Sprint("run", l.runs))
	if err := os.Mkdir(s.dir, 0o777); err != nil {
		return nil, err
	}
	if err := os.Chmod(s.dir, 0o777); err != nil {
		return nil, err
	}
	for _, g := range c.Groups {
		dir := filepath.Join("/sys/fs/cgroup", g, fmt.Sprintf("ingero-faults-%d", os.Getpid()))
		if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
			return nil, err
		}
		s.groups[g] = dir
	}
	return s, nil
}

func (s *scene) file(name string) string { return filepath.Join(s.dir, name) }

func (s *scene) startAgent() error {
	agent := exec.Command(s.l.bin, "trace", "--db", s.file("run.db"), "--user", s.user,
		"--cuda-lib", filepath.Join(s.l.dir, "libcuda.so.1"), "--cuda-lib", filepath.Join(s.l.dir, "libcudart.so.12"))
	stderr, err := agent.StderrPipe()
	if err != nil {
		return err
	}
	if err := agent.Start(); err != nil {
		return err
	}
	s.agent = agent
	attached := make(chan struct{})
	go func() {
		once := sync.OnceFunc(func() { close(attached) })
		for in := bufio.NewScanner(stderr); in.Scan(); {
			s.mu.Lock()
			s.said = append(s.said, line{time.Now(), in.Text()})
			s.mu.Unlock()
			if strings.HasPrefix(in.Text(), "probes attached") {
				once()
			}
		}
		io.Copy(io.Discard, stderr)
		s.ended <- agent.Wait()
	}()
	select {
	case <-attached:
		return nil
	case err := <-s.ended:
		s.agent = nil
		return fmt.Errorf("the agent ended: %v\n%s", err, s.transcript())
	case <-time.After(30 * time.Second):
		return fmt.Errorf("the agent did not attach:\n%s", s.transcript())
	}
}

func (s *scene) transcript() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var text strings.Builder
	for _, l := range s.said {
		fmt.Fprintln(&text, l.at.Format("15:04:05.000"), l.text)
	}
	return text.String()
}

func (s *scene) stopAgent() error {
	if s.agent == nil {
		return nil
	}
	agent := s.agent
	s.agent = nil
	if err := agent.Process.Signal(syscall.SIGINT); err != nil {
		return err
	}
	select {
	case err := <-s.ended:
		return err
	case <-time.After(30 * time.Second):
		agent.Process.Kill()
		return errors.New("the agent did not end")
	}
}

// startJob starts the job and lets it run once it is in its groups.
func (s *scene) startJob(ctx context.Context) error {
	args := []string{"--reuid", s.user, "--clear-groups", "--", "nice", "-n", fmt.Sprint(s.c.Nice)}
	if s.c.CPU != "" {
		args = append(args, "taskset", "-c", s.c.CPU)
	}
	if s.c.Python {
		args = append(args, "python3", filepath.Join(s.l.dir, "train.py"), "--lib-dir", s.l.dir)
	} else {
		args = append(args, filepath.Join(s.l.dir, "workload"))
	}
	args = append(args, "--steps", "0", "--wait-stdin", "--log", s.file("log"), "--control", s.file("control"))
	job := strings.NewReplacer("DIR", s.dir, "LAB", s.l.dir).Replace(s.c.Job)
	args = append(args, append(strings.Fields(job), s.args...)...)
	var err error
	if s.job, err = workload.StartCommand(ctx, "setpriv", args...); err != nil {
		return err
	}
	if err := s.job.Ready(ctx); err != nil {
		return err
	}
	for _, dir := range s.groups {
		if err := join(dir, s.job.PID); err != nil {
			return err
		}
	}
	return s.job.Go()
}

func join(dir string, pid int) error {
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, pid), 0)
}

// set changes settings of the running job: words key=value.
func (s *scene) set(words string) error {
	for _, w := range strings.Fields(words) {
		k, v, _ := strings.Cut(w, "=")
		s.settings[k] = v
	}
	var text strings.Builder
	for _, k := range slices.Sorted(maps.Keys(s.settings)) {
		fmt.Fprintf(&text, "%s=%s\n", k, s.settings[k])
	}
	tmp := s.file("control.new")
	return errors.Join(os.WriteFile(tmp, []byte(text.String()), 0o644), os.Rename(tmp, s.file("control")))
}

// stopJob ends the job, whatever state it is in.
func (s *scene) stopJob() error {
	if s.job == nil {
		return nil
	}
	s.job.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(10*time.Second, func() { s.job.Signal(syscall.SIGKILL) })
	defer kill.Stop()
	_, err := s.job.Wait()
	s.job = nil
	return err
}

// close leaves nothing behind, also after an error.
func (s *scene) close() {
	if s.job != nil {
		s.job.Signal(syscall.SIGCONT)
		s.job.Signal(syscall.SIGKILL)
		s.job.Wait()
	}
	s.stopAgent()
	if s.requests != nil {
		s.requests.Close()
	}
	for _, h := range s.helpers {
		h.stop()
	}
	for _, dir := range s.groups {
		for range 50 { // a group is busy until its last process is buried
			if err := os.Remove(dir); err == nil || os.IsNotExist(err) {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	if s.l.keep == "" {
		os.RemoveAll(s.dir)
		return
	}
	to := filepath.Join(s.l.keep, strings.ReplaceAll(s.c.Name, "/", "-"))
	os.RemoveAll(to)
	for _, big := range []string{"write", "dirty", "noise"} {
		os.Remove(s.file(big))
	}
	os.CopyFS(to, os.DirFS(s.dir))
	os.RemoveAll(s.dir)
}
