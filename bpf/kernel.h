/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* The kernel types we touch, declared by hand: only the fields used. CO-RE
 * relocates them to the running kernel, so order and size do not matter. */
#pragma once
#define __VMLINUX_H__ /* bpf_tracing.h: registers have their kernel names */

#include <linux/bpf.h>
#include <stdbool.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s16 s16;
typedef __s32 s32;
typedef __s64 s64;

#include <bpf/bpf_helpers.h>

/* Registers are read at fixed offsets, so these two are complete:
 * arch/x86/include/asm/ptrace.h and arch/arm64/include/uapi/asm/ptrace.h. */
#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di;
	unsigned long orig_ax, ip, cs, flags, sp, ss;
};
#define CALL_PUSHES 8 /* the call instruction leaves the return address on the stack */
#define ARGUMENT_6(ctx) ((ctx)->r9)
#define READ_RETURN(to, ctx) bpf_probe_read_user(to, sizeof(u64), (void *)(ctx)->sp)
#define SYSCALL_NUMBER(regs) ((regs)->orig_ax)
#define SYSCALL_ARG1(regs) ((regs)->di)
#define SYSCALL_ARG2(regs) ((regs)->si)
#define THREAD_POINTER(task) BPF_CORE_READ(task, thread.fsbase)
#elif defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
	__u64 regs[31], sp, pc, pstate;
};
struct pt_regs {
	struct user_pt_regs user_regs;
	u64 orig_x0;
	s32 syscallno;
} __attribute__((preserve_access_index));
#define CALL_PUSHES 0 /* the return address is in a register */
#define ARGUMENT_6(ctx) (((struct user_pt_regs *)(ctx))->regs[5])
#define READ_RETURN(to, ctx) (*(to) = ((struct user_pt_regs *)(ctx))->regs[30])
#define SYSCALL_NUMBER(regs) ((s64)BPF_CORE_READ(regs, syscallno))
#define SYSCALL_ARG1(regs) BPF_CORE_READ(regs, orig_x0)
#define SYSCALL_ARG2(regs) BPF_CORE_READ(regs, user_regs.regs[1])
#define THREAD_POINTER(task) BPF_CORE_READ(task, thread.uw.tp_value)
#endif

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
typedef struct {
	int counter;
} atomic_t;
struct signal_struct {
	atomic_t live; /* threads that have not exited */
};
struct qstr {
	const unsigned char *name;
};
struct dentry {
	struct qstr d_name;
};
struct path {
	struct dentry *dentry;
};
struct inode {
	unsigned short i_mode;
	u32 i_rdev;
};
struct file {
	struct path f_path;
	struct inode *f_inode;
};
struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};
struct files_struct {
	struct fdtable *fdt;
};
struct page;
struct kernfs_node {
	const char *name;
	u64 id;
};
struct cgroup {
	struct kernfs_node *kn;
};
struct cgroup_subsys_state {
	struct cgroup *cgroup;
};
struct css_set {
	struct cgroup_subsys_state *subsys[16];
	struct cgroup *dfl_cgrp;
};
struct gendisk {
	int major, first_minor;
};
struct request_queue {
	struct gendisk *disk; /* Linux 5.17 */
};
struct request {
	struct request_queue *q;
	struct gendisk *rq_disk; /* before that */
	unsigned int cmd_flags, __data_len;
};
struct sock_common {
	u32 skc_daddr;
	u16 skc_dport, skc_num;
	unsigned short skc_family;
};
struct sock {
	struct sock_common __sk_common;
	u16 sk_type;
	u32 sk_max_ack_backlog;
};
struct upid {
	int nr;
};
struct pid {
	unsigned int level;
	struct upid numbers[1];
};
struct thread_struct {
#if defined(__TARGET_ARCH_x86)
	unsigned long fsbase;
#else
	struct {
		unsigned long tp_value;
	} uw;
#endif
};
struct xol_area {
	unsigned long vaddr; /* where probed functions return to */
};
struct uprobes_state {
	struct xol_area *xol_area;
};
struct mm_struct {
	struct uprobes_state uprobes_state;
};
struct task_struct {
	unsigned int __state, flags;
	int on_cpu;
	unsigned int in_iowait : 1;
	unsigned int in_memstall : 1; /* with CONFIG_PSI */
	unsigned long jobctl, nvcsw, nivcsw;
	struct css_set *cgroups;
	struct mm_struct *mm;
	struct files_struct *files;
	int pid, tgid;
	int exit_code;
	u64 start_boottime;
	char comm[16];
	struct task_struct *group_leader, *real_parent;
	struct signal_struct *signal;
	struct pid *thread_pid;
	struct thread_struct thread;
};
struct bpf_iter_meta {
	u64 session_id;
};
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};
#pragma clang attribute pop
enum cgroup_subsys_id {
	memory_cgrp_id = 4, /* the running kernel's value is used */
};

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
