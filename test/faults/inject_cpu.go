package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// jobCPU is where jobs are pinned, otherCPU where they are not.
const (
	jobCPU   = "0"
	otherCPU = "1"
)

// beside keeps a helper running on some CPUs.
func beside(name, cpu string, args ...string) inject {
	return func(s *scene) (func() error, error) {
		paths := make([]string, len(args))
		for i, a := range args {
			paths[i] = s.path(a)
		}
		h, err := s.start(name, cpu, nil, paths...)
		if err != nil {
			return nil, err
		}
		return h.stop, nil
	}
}

// path finds a file of the lab or, if it is not there, of the run.
func (s *scene) path(name string) string {
	if p := filepath.Join(s.l.dir, name); exists(p) {
		return p
	}
	return s.file(name)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// niced is a busy process that is nicer than the rest.
func niced(nice int, cpu string) inject {
	return func(s *scene) (func() error, error) {
		h, err := s.start("hog", cpu, nil)
		if err != nil {
			return nil, err
		}
		base, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
		return h.stop, errors.Join(err, unix.Setpriority(unix.PRIO_PGRP, h.pid, 20-base+nice)) // the call returns 20 − nice
	}
}

// renice changes the niceness of this process, which its children inherit.
func renice(nice int) error {
	threads, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		return err
	}
	for _, t := range threads {
		tid, err := strconv.Atoi(filepath.Base(t))
		if err != nil {
			return err
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, tid, nice); err != nil {
			return err
		}
	}
	return nil
}

// quota limits the job to a share of one CPU.
func quota(percent int) inject {
	return func(s *scene) (func() error, error) {
		file := filepath.Join(s.groups["cpu"], "cpu.cfs_quota_us")
		const period = 100_000 // µs, the kernel's default
		set := func(us int) error { return os.WriteFile(file, fmt.Append(nil, us), 0) }
		return func() error { return set(-1) }, set(period * percent / 100)
	}
}

// frozen puts the job's group to sleep.
func frozen(s *scene) (func() error, error) {
	file := filepath.Join(s.groups["freezer"], "freezer.state")
	set := func(state string) error { return os.WriteFile(file, []byte(state), 0) }
	return func() error { return set("THAWED") }, set("FROZEN")
}
