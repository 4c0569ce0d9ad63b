/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Why a thread blocks, from what it was doing when it left the CPU. */
#pragma once

const volatile u8 reason_of[512] = {}; /* by number of the system call: enum state */

/* include/linux/sched.h, include/linux/sched/jobctl.h */
#define TASK_HELD 0x800c /* __TASK_STOPPED | __TASK_TRACED | TASK_FROZEN */
#define JOBCTL_TRAP_FREEZE (1 << 23) /* by its cgroup's freezer */
#define PF_EXITING 4

#define NVIDIA_MAJOR 195           /* Documentation/admin-guide/devices.txt */
#define FILE_KIND(mode) ((mode) & 0170000)

static __noinline u32 kind_of_file(struct file *file)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);

	switch (FILE_KIND(BPF_CORE_READ(inode, i_mode))) {
	case 0140000: /* socket */
		return NETWORK;
	case 0010000: /* FIFO */
		return PIPE;
	case 0100000: /* regular */
		return DISK;
	case 0020000: { /* character device */
		char name[8] = {};

		if (BPF_CORE_READ(inode, i_rdev) >> 20 == NVIDIA_MAJOR)
			return GPU;
		/* nvidia-uvm's number is dynamic: its name decides */
		bpf_probe_read_kernel_str(name, 7, BPF_CORE_READ(file, f_path.dentry, d_name.name));
		if (name[0] == 'n' && name[1] == 'v' && name[2] == 'i' && name[3] == 'd' && name[4] == 'i')
			return GPU;
		return OTHER;
	}
	}
	return OTHER;
}

/* What kind of file a descriptor of the task stands for. A thread mostly
 * waits for the same one as the last time. */
static __noinline u32 reason_of_file(struct task_struct *task, struct thread *th, u64 fd)
{
	struct file **table, *file = NULL;

	if (!task || !th || fd >= task->files->fdt->max_fds)
		return OTHER;
	table = task->files->fdt->fd;
	bpf_probe_read_kernel(&file, sizeof(file), &table[fd]);
	if (!file)
		return OTHER;
	if ((u64)file != th->file) {
		th->file_kind = kind_of_file(file);
		th->file = (u64)file;
	}
	return th->file_kind;
}

/* poll(2) and ppoll(2) take an array of descriptors in user memory, which
 * cannot be read here without a fault; the first one is nearly always mapped. */
static __noinline u32 reason_of_poll(struct task_struct *task, struct thread *th, u64 fds, u64 n)
{
	u32 reason = OTHER, r, i;
	int fd;

	for (i = 0; i < 4 && i < n; i++) {
		if (bpf_probe_read_user(&fd, sizeof(fd), (void *)(fds + 8 * i)) || fd < 0)
			continue;
		r = reason_of_file(task, th, fd);
		if (r == GPU)
			return GPU;
		if (r != OTHER)
			reason = r;
	}
	return reason;
}

/* The state of a thread that is not in a system call. Most entered the kernel
 * by a page fault. An interrupt looks the same, and a thread can block on its
 * way back from one: only to be held or to end, for all else that is done
 * there is accounted as a memory stall. A fault that the kernel takes on its
 * own account, inside a system call, counts as a wait of that call. */
static __always_inline u32 fault_state(struct task_struct *task, struct thread *th, bool stalled)
{
	if (task->flags & PF_EXITING)
		return OTHER;
	if (task->jobctl & JOBCTL_TRAP_FREEZE)
		return STOPPED;
	th->faulting = BPF_CORE_READ_BITFIELD(task, in_iowait);
	return stalled ? RECLAIM : FAULT;
}

/* The state of a thread that leaves the CPU without being runnable. */
static __noinline u32 blocked_state(struct task_struct *task, struct thread *th, u32 prev_state)
{
	struct pt_regs *regs;
	bool stalled = false;
	u64 nr;
	u32 r;

	if (!task || !th)
		return OTHER;
	th->faulting = 0;
	if (prev_state & TASK_HELD)
		return STOPPED;
	if (th->reclaiming)
		return RECLAIM;
	/* memory.high holds it back, or it reads again what was taken from it */
	if (bpf_core_field_exists(task->in_memstall))
		stalled = BPF_CORE_READ_BITFIELD(task, in_memstall);
	regs = (struct pt_regs *)bpf_task_pt_regs(task);
	nr = SYSCALL_NUMBER(regs);
	if ((s64)nr < 0)
		return fault_state(task, th, stalled);
	if (stalled)
		return RECLAIM;
	if (BPF_CORE_READ_BITFIELD(task, in_iowait))
		return DISK;
	r = nr < 512 ? reason_of[nr] : OTHER;
	if (r == BY_FILE)
		return reason_of_file(task, th, SYSCALL_ARG1(regs));
	if (r == BY_POLL)
		return reason_of_poll(task, th, SYSCALL_ARG1(regs), SYSCALL_ARG2(regs));
	return r >= DISK && r < STATES ? r : OTHER;
}
