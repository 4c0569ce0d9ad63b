package probe

import (
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Clock turns the kernel's monotonic time into wall-clock time. The wall
// clock may be stepped while we run; Sync follows it.
type Clock struct {
	mono atomic.Int64 // unix ns at monotonic 0
	boot atomic.Int64 // unix ns at boot
}

// NewClock reads the clocks once.
func NewClock() (*Clock, error) {
	c := &Clock{}
	if _, err := c.Sync(); err != nil {
		return nil, err
	}
	return c, nil
}

// Sync reads the clocks again and returns by how many ns the wall clock was
// stepped since the last time. Drift below 1 ms is followed silently.
func (c *Clock) Sync() (step int64, err error) {
	mono, err := offset(unix.CLOCK_MONOTONIC)
	if err != nil {
		return 0, err
	}
	boot, err := offset(unix.CLOCK_BOOTTIME)
	if err != nil {
		return 0, err
	}
	// Processes are told apart by when they started: no jitter, please.
	if old := c.boot.Load(); abs(boot-old) > 1e6 {
		c.boot.Store(boot)
	}
	if old := c.mono.Swap(mono); old != 0 && abs(mono-old) > 1e6 {
		return mono - old, nil
	}
	return 0, nil
}

// Unix returns the wall-clock time of a monotonic time, both in ns.
func (c *Clock) Unix(mono uint64) int64 { return c.mono.Load() + int64(mono) }

// UnixBoot does the same for a time since boot.
func (c *Clock) UnixBoot(boot uint64) int64 { return c.boot.Load() + int64(boot) }

// offset returns the difference between the wall clock and another one. Of a
// few readings it takes the one that was interrupted least.
func offset(clock int32) (int64, error) {
	best, width := int64(0), int64(1<<62)
	for range 5 {
		var a, b, wall unix.Timespec
		if err := unix.ClockGettime(clock, &a); err != nil {
			return 0, fmt.Errorf("read clock %d: %w", clock, err)
		}
		if err := unix.ClockGettime(unix.CLOCK_REALTIME, &wall); err != nil {
			return 0, fmt.Errorf("read the wall clock: %w", err)
		}
		if err := unix.ClockGettime(clock, &b); err != nil {
			return 0, fmt.Errorf("read clock %d: %w", clock, err)
		}
		if w := b.Nano() - a.Nano(); w < width {
			width, best = w, wall.Nano()-(a.Nano()+w/2)
		}
	}
	return best, nil
}

func abs(x int64) int64 {
	if x < 0 {
		return -x
	}
	return x
}
