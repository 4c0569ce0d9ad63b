package sysinfo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"ingero/internal/event"
)

// SMI follows all NVIDIA devices, once a second, by two nvidia-smi that keep
// running: starting one takes up to seconds, and NVML itself would need cgo.
// Whatever becomes of them, Take never waits.
type SMI struct {
	cfg  smiConfig
	stop context.CancelFunc
	done sync.WaitGroup

	mu      sync.Mutex
	samples []event.GPUSample
	apps    gpuApps
	trouble string
}

type smiConfig struct {
	path         string
	every        time.Duration // between samples
	apps         time.Duration // between looks at the processes
	silence      time.Duration // without a line that makes sense: it hangs
	pause, limit time.Duration // before it is started again: at first, and at most
	now          func() time.Time
}

// maxSamples is how many may wait for Take; then the oldest go.
const maxSamples = 4096

// OpenSMI starts to follow. It returns nil, which is empty and can be closed,
// where there is no nvidia-smi.
func OpenSMI() *SMI {
	path := findSMI()
	if path == "" {
		return nil
	}
	return openSMI(smiConfig{
		path: path, every: time.Second, apps: 2 * time.Second, silence: 15 * time.Second,
		pause: time.Second, limit: time.Minute, now: time.Now,
	})
}

func openSMI(cfg smiConfig) *SMI {
	ctx, stop := context.WithCancel(context.Background())
	s := &SMI{cfg: cfg, stop: stop, apps: gpuApps{}}
	gpus := &follower{cfg: cfg, columns: gpuColumns(), option: "--query-gpu=", every: cfg.every, silence: cfg.silence, row: s.sample, failed: s.fail}
	// A GPU without processes says nothing for hours; what hangs is replaced in time.
	apps := &follower{cfg: cfg, columns: appColumns(), option: "--query-compute-apps=", every: cfg.apps, silence: 40 * cfg.silence, row: s.app}
	s.done.Go(func() { gpus.run(ctx) })
	s.done.Go(func() { apps.run(ctx) })
	return s
}

func (s *SMI) sample(r *smiRow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.now()
	// The driver may be late to tell, but not by much: then it is another zone or clock.
	if d := now.Sub(time.Unix(0, r.Time)); d < -2*time.Second || d > 2*time.Second {
		r.Time = now.UnixNano()
	}
	r.Procs = s.apps.on(r.uuid, now.Add(-5*s.cfg.apps/2))
	if len(s.samples) == maxSamples {
		s.samples = s.samples[:copy(s.samples, s.samples[1:])]
	}
	s.samples = append(s.samples, r.GPUSample)
	s.trouble = ""
}

func (s *SMI) app(r *smiRow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apps.add(r, s.cfg.now())
}

func (s *SMI) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = err.Error()
}

// Take returns the samples that came since the last time, in order, each with
// the processes on that GPU.
func (s *SMI) Take() []event.GPUSample {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.samples
	s.samples = nil
	return all
}

// Trouble says why there are no samples, empty as long as they come.
func (s *SMI) Trouble() string {
	if s == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trouble
}

// Close ends both nvidia-smi. One that hangs in the driver cannot be ended;
// it is left alone after a moment.
func (s *SMI) Close() {
	if s == nil {
		return
	}
	s.stop()
	done := make(chan struct{})
	go func() { s.done.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(500 * time.Millisecond):
	}
}

// follower keeps one nvidia-smi running.
type follower struct {
	cfg     smiConfig
	columns []smiColumn
	option  string
	every   time.Duration
	silence time.Duration
	row     func(*smiRow)
	failed  func(error) // nil if nobody wants to know
}

// run starts nvidia-smi again and again, ever more rarely if it does not help.
func (f *follower) run(ctx context.Context) {
	// It gets a signal when the thread that started it ends, so that thread must not.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pause := f.cfg.pause
	for ctx.Err() == nil {
		began := time.Now()
		good, odd, err := f.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if good > 0 && time.Since(began) > f.cfg.limit {
			pause = f.cfg.pause
		} else if fewer, ok := withoutUnknown(f.columns, odd); ok {
			f.columns = fewer
			continue
		}
		if f.failed != nil {
			f.failed(reason(odd, err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, f.cfg.limit)
	}
}

func reason(odd string, err error) error {
	switch {
	case odd != "":
		return fmt.Errorf("nvidia-smi: %s", strings.ToValidUTF8(odd[:min(len(odd), 200)], "?"))
	case errors.Is(err, errSilent):
		return err
	case err != nil:
		return fmt.Errorf("run nvidia-smi: %w", err)
	}
	return errors.New("nvidia-smi ended")
}

var errSilent = errors.New("nvidia-smi hangs: the driver does not answer")

// maxOdd is how many lines may be none in a row; then something else is wrong.
const maxOdd = 1000

// once runs nvidia-smi as long as it lasts. It returns how many lines were
// good, and the first after them that was not.
func (f *follower) once(ctx context.Context) (good int, odd string, err error) {
	cmd := exec.Command(f.cfg.path, f.option+query(f.columns), "--format=csv,noheader,nounits", "-lms", strconv.FormatInt(f.every.Milliseconds(), 10))
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
	// In a group of its own a Ctrl-C is ours alone, and its children end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, w, err := os.Pipe()
	if err != nil {
		return 0, "", err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	w.Close()
	if err != nil {
		return 0, "", err
	}
	var kill sync.Once // later its number may be another's
	end := func() {
		kill.Do(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		out.Close() // others may hold the other end
	}
	var silent atomic.Bool
	timer := time.AfterFunc(f.silence, func() { silent.Store(true); end() })
	release := context.AfterFunc(ctx, end)
	good, odd = f.read(out, func() { timer.Reset(f.silence) })
	timer.Stop()
	release()
	end()
	err = cmd.Wait()
	if silent.Load() {
		err = errSilent
	}
	return good, odd, err
}

// read hands on all lines until the end. The rest of a line that was cut
// short may look whole, so it does not count.
func (f *follower) read(out io.Reader, alive func()) (good int, odd string) {
	in := bufio.NewReaderSize(out, 16<<10)
	for n := 0; n < maxOdd; n++ {
		b, err := in.ReadSlice('\n')
		text := strings.TrimSpace(string(b))
		if err == nil {
			if r, ok := parseRow(f.columns, text); ok {
				f.row(&r)
				good++
				n, odd = 0, ""
				alive()
				continue
			}
		}
		if odd == "" {
			odd = text
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			break
		}
	}
	return good, odd
}

// findSMI returns the path of nvidia-smi, empty if there is none.
func findSMI() string {
	if path, err := exec.LookPath("nvidia-smi"); err == nil {
		return path
	}
	const wsl = "/usr/lib/wsl/lib/nvidia-smi"
	if exists(wsl) {
		return wsl
	}
	return ""
}
