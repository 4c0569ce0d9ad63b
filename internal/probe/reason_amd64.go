package probe

import (
	"golang.org/x/sys/unix"

	"ingero/internal/event"
)

// System calls that only older architectures have.
var (
	oldReasons = map[event.State][]int{
		event.Disk:        {unix.SYS_OPEN, unix.SYS_STAT, unix.SYS_LSTAT, unix.SYS_UNLINK, unix.SYS_RENAME, unix.SYS_MKDIR},
		event.NetworkWait: {unix.SYS_EPOLL_WAIT, unix.SYS_SELECT},
	}
	oldPoll = []int{unix.SYS_POLL}
)
