/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* For the tests of the walk, until stacks are part of call records. */
#pragma once

enum hook {
	HOOK_NONE,
	HOOK_WALK,   /* by native_stack */
	HOOK_KERNEL, /* by the kernel's bpf_get_stack, to compare */
	HOOK_DISCARD = 4, /* and do not keep the stack: to measure */
};
const volatile u32 stack_hook = HOOK_NONE;

struct hook_record {
	u32 pid, tid, row, count;
	u64 ips[UNWIND_FRAMES];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 12);
} hook_records SEC(".maps");

u64 hook_lost = 0;
u32 hook_last = 0; /* frames of the last stack */

static __always_inline void hook_stack(struct pt_regs *ctx, u32 row)
{
	u64 id = bpf_get_current_pid_tgid();
	struct hook_record *r;
	long n;

	if (!stack_hook)
		return;
	r = bpf_ringbuf_reserve(&hook_records, sizeof(*r), 0);
	if (!r) {
		__sync_fetch_and_add(&hook_lost, 1);
		return;
	}
	r->pid = id >> 32;
	r->tid = id;
	r->row = row;
	if (stack_hook & HOOK_KERNEL) {
		n = bpf_get_stack(ctx, r->ips, sizeof(r->ips), BPF_F_USER_STACK);
		r->count = n > 0 ? n / 8 : 0;
	} else {
		r->count = native_stack(ctx, r->ips);
	}
	hook_last = r->count;
	if (stack_hook & HOOK_DISCARD)
		bpf_ringbuf_discard(r, BPF_RB_NO_WAKEUP);
	else
		bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
}
