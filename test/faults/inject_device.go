package main

import (
	"fmt"
	"strconv"
	"syscall"
)

// rival starts a second job on the device that the job shares with it, as
// the same user, so that it is traced too.
func rival(options ...string) inject {
	return func(s *scene) (func() error, error) {
		uid, err := strconv.ParseUint(s.user, 10, 32)
		if err != nil {
			return nil, err
		}
		attr := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid)}}
		args := append([]string{"--steps", "0", "--duration-s", "60", "--share", s.file("device"), "--log", s.file("rival.log")}, options...)
		h, err := s.start("rival", "", attr, args...)
		if err != nil {
			return nil, fmt.Errorf("start the rival: %w", err)
		}
		return h.stop, nil
	}
}
