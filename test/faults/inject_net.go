package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

const unified = "/sys/fs/cgroup/unified"

func needUnified() string {
	if !exists(unified + "/cgroup.procs") {
		return "needs cgroup2 at " + unified
	}
	return ""
}

// withPeer starts a peer for requests of so many bytes. It is in a cgroup2
// of its own if there is one, for packets to be dropped there.
func withPeer(bytes int) inject {
	return func(s *scene) (func() error, error) {
		attr := &syscall.SysProcAttr{}
		if needUnified() == "" {
			s.groups["unified"] = fmt.Sprintf("%s/ingero-faults-%d", unified, os.Getpid())
			if err := os.Mkdir(s.groups["unified"], 0o755); err != nil && !os.IsExist(err) {
				return nil, err
			}
			dir, err := os.Open(s.groups["unified"])
			if err != nil {
				return nil, err
			}
			defer dir.Close()
			attr.UseCgroupFD, attr.CgroupFD = true, int(dir.Fd())
		}
		h, err := s.start("peer", "", attr, fmt.Sprint(bytes))
		if err != nil {
			return nil, err
		}
		if !h.out.Scan() {
			return nil, errors.New("the peer did not start")
		}
		s.args = append(s.args, "--peer", h.out.Text(), "--peer-bytes", fmt.Sprint(bytes))
		return h.stop, nil
	}
}

// slowPeer makes the peer take its time with answers.
func slowPeer(delay time.Duration) inject {
	return func(s *scene) (func() error, error) {
		peer := s.helper("peer")
		return func() error { return peer.tell("0") }, peer.tell(fmt.Sprint(delay.Microseconds()))
	}
}

func (s *scene) helper(name string) *helper {
	for _, h := range s.helpers {
		if h.name == name {
			return h
		}
	}
	return nil
}

// lossy drops so many percent of the packets on their way to the peer. It
// does what tc netem does, on kernels that have no netem.
func lossy(percent int32) inject {
	return func(s *scene) (func() error, error) {
		prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Type: ebpf.CGroupSKB, AttachType: ebpf.AttachCGroupInetIngress, License: "GPL",
			Instructions: asm.Instructions{
				asm.FnGetPrandomU32.Call(),
				asm.Mod.Imm32(asm.R0, 100),
				asm.JLT.Imm32(asm.R0, percent, "drop"),
				asm.Mov.Imm(asm.R0, 1),
				asm.Return(),
				asm.Mov.Imm(asm.R0, 0).WithSymbol("drop"),
				asm.Return(),
			},
		})
		if err != nil {
			return nil, err
		}
		l, err := link.AttachCgroup(link.CgroupOptions{Path: s.groups["unified"], Attach: ebpf.AttachCGroupInetIngress, Program: prog})
		if err != nil {
			return nil, errors.Join(err, prog.Close())
		}
		return func() error { return errors.Join(l.Close(), prog.Close()) }, nil
	}
}

// requests makes the pipe through which an inference server is asked, and
// asks it now and then until the run ends.
func requests(s *scene) (func() error, error) {
	name := s.file("requests")
	if err := errors.Join(syscall.Mkfifo(name, 0o666), os.Chmod(name, 0o666)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0) // so that it never ends while the run lasts
	if err != nil {
		return nil, err
	}
	s.requests = f
	go func() {
		for i := 0; ; i++ {
			pause := 5 * time.Millisecond
			if !s.rush.Load() {
				pause = time.Duration(20+i*37%200) * time.Millisecond
			}
			time.Sleep(pause)
			if _, err := f.Write([]byte{1}); err != nil {
				return
			}
		}
	}()
	return f.Close, nil
}

// rush makes requests frequent.
func rush(s *scene) (func() error, error) {
	s.rush.Store(true)
	return func() error {
		s.rush.Store(false)
		return nil
	}, nil
}
