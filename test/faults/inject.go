package main

import (
	"errors"
	"syscall"
	"time"
)

// control changes settings of the job, and changes them back.
func control(on, off string) inject {
	return func(s *scene) (func() error, error) {
		return func() error { return s.set(off) }, s.set(on)
	}
}

// all injects several things at once.
func all(injects ...inject) inject {
	return func(s *scene) (func() error, error) {
		var undos []func() error
		for _, in := range injects {
			undo, err := in(s)
			if err != nil {
				return nil, err
			}
			undos = append(undos, undo)
		}
		return func() error {
			var errs []error
			for _, undo := range undos {
				errs = append(errs, undo())
			}
			return errors.Join(errs...)
		}, nil
	}
}

// stopped sends the job one signal, and another when it is over.
func stopped(on, off syscall.Signal) inject {
	return func(s *scene) (func() error, error) {
		return func() error { return s.job.Signal(off) }, s.job.Signal(on)
	}
}

// stuck stops the device while the job waits for it. The control file is not
// read by a job that is stuck, so a signal sets the device going again.
func stuck(s *scene) (func() error, error) {
	return func() error {
		return errors.Join(s.set("speed=1"), s.job.Signal(syscall.SIGUSR2))
	}, s.set("speed=0")
}

// repeat switches between two sets of settings while it lasts.
func repeat(every time.Duration, on, off string) inject {
	return func(s *scene) (func() error, error) {
		done, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			var err error
			for next := true; ; next = !next {
				words := off
				if next {
					words = on
				}
				err = errors.Join(err, s.set(words))
				select {
				case <-done:
					ended <- errors.Join(err, s.set(off))
					return
				case <-time.After(every):
				}
			}
		}()
		return func() error {
			close(done)
			return <-ended
		}, nil
	}
}
