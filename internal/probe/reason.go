package probe

import (
	"golang.org/x/sys/unix"

	"ingero/internal/event"
)

// reasons says what a thread waits for that blocks in a system call. Those
// that are not here, and exist, are Other.
var reasons = map[event.State][]int{
	event.Lock:  {unix.SYS_FUTEX, unix.SYS_FUTEX_WAITV, unix.SYS_FLOCK, unix.SYS_SEMTIMEDOP, unix.SYS_SEMOP},
	event.Sleep: {unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP},
	event.Child: {unix.SYS_WAIT4, unix.SYS_WAITID},
	event.Disk: {
		unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNC, unix.SYS_SYNCFS, unix.SYS_SYNC_FILE_RANGE, unix.SYS_MSYNC,
		unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_STATX, unix.SYS_FALLOCATE, unix.SYS_FTRUNCATE, unix.SYS_READAHEAD,
		unix.SYS_FADVISE64, unix.SYS_GETDENTS64, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT2, unix.SYS_MKDIRAT,
		unix.SYS_IO_GETEVENTS,
	},
	event.NetworkWait: {
		unix.SYS_CONNECT, unix.SYS_ACCEPT, unix.SYS_ACCEPT4, unix.SYS_SENDTO, unix.SYS_RECVFROM, unix.SYS_SENDMSG,
		unix.SYS_RECVMSG, unix.SYS_SENDMMSG, unix.SYS_RECVMMSG, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2,
	},
}

// byFile lists system calls whose first argument is a descriptor that says
// what is waited for; byPoll those that take an array of them.
var (
	byFile = []int{
		unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_PREADV,
		unix.SYS_PWRITEV, unix.SYS_PREADV2, unix.SYS_PWRITEV2, unix.SYS_IOCTL, unix.SYS_SENDFILE, unix.SYS_SPLICE, unix.SYS_CLOSE,
	}
	byPoll = []int{unix.SYS_PPOLL}
)

// reasonTable is what the kernel side looks system calls up in.
func reasonTable() [512]uint8 {
	var t [512]uint8
	for i := range t {
		t[i] = uint8(event.Other)
	}
	for state, calls := range reasons {
		for _, nr := range calls {
			t[nr] = uint8(state)
		}
	}
	for state, calls := range oldReasons {
		for _, nr := range calls {
			t[nr] = uint8(state)
		}
	}
	for _, nr := range byFile {
		t[nr] = uint8(bpfStateBY_FILE)
	}
	for _, nr := range append(byPoll, oldPoll...) {
		t[nr] = uint8(bpfStateBY_POLL)
	}
	return t
}

// wakers lists the system calls by which one thread ends another's wait.
var wakers = map[event.State][]int{
	event.Lock:        {unix.SYS_FUTEX, unix.SYS_FUTEX_WAKE, unix.SYS_FLOCK, unix.SYS_FCNTL, unix.SYS_SEMOP, unix.SYS_SEMTIMEDOP},
	event.Pipe:        {unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_READ, unix.SYS_READV, unix.SYS_SPLICE, unix.SYS_CLOSE},
	event.NetworkWait: {unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG, unix.SYS_SENDFILE, unix.SYS_CLOSE, unix.SYS_SHUTDOWN, unix.SYS_CONNECT},
	event.Other:       {unix.SYS_WRITE, unix.SYS_FUTEX, unix.SYS_IOCTL, unix.SYS_IO_URING_ENTER, unix.SYS_CLOSE},
	event.Stopped:     {unix.SYS_KILL, unix.SYS_TGKILL, unix.SYS_PTRACE},
}

// wakerTable is what the kernel side looks the waker's system call up in: one
// bit for each state it can end. A thread that exits can end any wait for it.
func wakerTable() [512]uint32 {
	var t [512]uint32
	for state, calls := range wakers {
		for _, nr := range append(calls, unix.SYS_EXIT, unix.SYS_EXIT_GROUP) {
			t[nr] |= 1 << state
		}
	}
	t[unix.SYS_EXIT] |= 1 << event.Child
	t[unix.SYS_EXIT_GROUP] |= 1 << event.Child
	return t
}
