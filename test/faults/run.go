package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// runCase plays a case, and again if other work on the machine disturbed it.
func (l *lab) runCase(c Case) Result {
	for attempt := 0; ; attempt++ {
		if r := l.tryCase(c); r.Foreign <= maxForeign || attempt >= l.retries {
			return r
		}
	}
}

// tryCase plays one case from beginning to end and scores it.
func (l *lab) tryCase(c Case) Result {
	r := Result{Name: c.Name, Fault: c.isFault(), Found: -1}
	if r.Uncovered = c.uncovered(); r.Uncovered != "" {
		return r
	}
	unlock, err := l.alone()
	if err != nil {
		r.Error = err.Error()
		return r
	}
	defer unlock()
	m := newMeter()
	s, err := l.newScene(c)
	if err == nil {
		l.scene.Store(s)
		err = s.play(&r)
		s.close()
		l.scene.Store(nil)
	}
	r.Foreign = m.foreign()
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

// alone waits until no other run of this suite on the machine is in a case:
// they would be each other's faults.
func (l *lab) alone() (unlock func() error, err error) {
	f, err := os.OpenFile("/var/tmp/ingero-faults.lock", os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}

// play is the timeline: healthy, fault, healthy again.
func (s *scene) play(r *Result) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if s.c.Before != nil {
		if _, err := s.c.Before(s); err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
	}
	p := period{}
	var err error
	if p.reference, err = s.reference(ctx); err != nil {
		return err
	}
	undo := func() error { return nil }
	inject := func() error {
		p.from = time.Now()
		if s.c.Inject == nil {
			return nil
		}
		if undo, err = s.c.Inject(s); err != nil {
			return fmt.Errorf("inject: %w", err)
		}
		if now := time.Now(); now.Sub(p.from) > time.Second {
			p.from = now // the kernel took its time, such as to take memory away
		}
		return nil
	}
	begin := []func() error{s.startAgent, func() error { p.start = time.Now(); return s.startJob(ctx) }}
	if s.c.Late {
		slices.Reverse(begin)
		begin = slices.Insert(begin, 1, func() error { time.Sleep(2 * settle); return nil })
	}
	if s.c.FromStart {
		begin = slices.Insert(begin, 0, inject)
	}
	for _, f := range begin {
		if err := f(); err != nil {
			return err
		}
	}
	if s.c.FromStart {
		p.from = time.Now() // nobody can know of it before
	} else {
		time.Sleep(s.c.Healthy)
		if err := inject(); err != nil {
			return err
		}
	}
	s.fault(&p)
	if err := undo(); err != nil {
		return fmt.Errorf("end the fault: %w", err)
	}
	time.Sleep(s.c.After)
	p.end = time.Now()
	return s.finish(r, p)
}

// fault waits for the end of the fault, or of the job.
func (s *scene) fault(p *period) {
	if !s.c.Ends {
		time.Sleep(s.c.Fault)
		p.to = time.Now()
		return
	}
	died := make(chan struct{})
	go func(pid int) {
		for alive(pid) {
			time.Sleep(5 * time.Millisecond)
		}
		close(died)
	}(s.job.PID)
	select {
	case <-died:
	case <-time.After(s.c.Fault):
	}
	p.to = time.Now()
}

// finish ends the run and reads what the agent made of it.
func (s *scene) finish(r *Result, p period) error {
	err := s.stopJob()
	if err != nil && !s.c.Ends {
		return err
	}
	if err == nil && s.c.Ends {
		return errors.New("the job did not die of the fault")
	}
	for _, h := range s.helpers {
		h.stop()
	}
	if err := s.stopAgent(); err != nil {
		return fmt.Errorf("%w\n%s", err, s.transcript())
	}
	log, err := readLog(s.file("log"))
	if err != nil {
		return err
	}
	s.pids = log.pids()
	r.Lost = log.lost(p)
	r.LostShare = r.Lost.Seconds() / (p.to.Sub(p.from).Seconds() * float64(max(1, len(s.pids))))
	if s.c.isFault() && !s.c.NoLoss && r.LostShare < 0.05 {
		return fmt.Errorf("the fault had no effect: %.1f %% lost by the job's own account", 100*r.LostShare)
	}
	if s.l.injectOnly {
		return nil
	}
	e, err := s.explain()
	if err != nil {
		return err
	}
	s.score(r, e, p)
	return nil
}

func (s *scene) explain() (explanation, error) {
	cmd := exec.Command(s.l.bin, "explain", "--json", "-d", s.file("run.db"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	os.WriteFile(s.file("explain.json"), out, 0o644)
	os.WriteFile(s.file("trace.log"), []byte(s.transcript()), 0o644)
	if err != nil {
		first, _, _ := strings.Cut(stderr.String(), "\n")
		return explanation{}, fmt.Errorf("ingero explain: %w: %s", err, first)
	}
	return parseExplanation(out)
}

// reference measures the healthy time of a step of a job whose fault is there
// from the start: it runs without it, and without the agent, for a moment.
func (s *scene) reference(ctx context.Context) (map[int]float64, error) {
	if !s.c.FromStart || s.c.NoLoss {
		return nil, nil
	}
	p := period{start: time.Now()}
	if err := s.startJob(ctx); err != nil {
		return nil, err
	}
	time.Sleep(3 * time.Second)
	p.from = time.Now()
	if err := s.stopJob(); err != nil {
		return nil, err
	}
	log, err := readLog(s.file("log"))
	if err != nil {
		return nil, err
	}
	pace := map[int]float64{}
	for i, pid := range log.pids() {
		pace[i] = log[pid].pace(p.start.Add(settle), p.from)
	}
	return pace, os.Remove(s.file("log"))
}

func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(state, "Z")
}
