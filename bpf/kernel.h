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
#elif defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
	__u64 regs[31], sp, pc, pstate;
};
struct pt_regs {
	struct user_pt_regs user_regs;
};
#define CALL_PUSHES 0 /* the return address is in a register */
#define ARGUMENT_6(ctx) ((ctx)->user_regs.regs[5])
#endif

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
typedef struct {
	int counter;
} atomic_t;
struct signal_struct {
	atomic_t live; /* threads that have not exited */
};
struct task_struct {
	int pid, tgid;
	int exit_code;
	u64 start_boottime;
	char comm[16];
	struct task_struct *group_leader, *real_parent;
	struct signal_struct *signal;
};
#pragma clang attribute pop

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
