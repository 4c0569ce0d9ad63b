//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* A record for each call of a function: its first argument and the Python
 * stack. For the test only. */
#include "kernel.h"
#include "python.h"

struct walk {
	u64 tag, ns;
	u32 tgid, n;
	struct py_frame py[PY_FRAMES];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 26);
} walks SEC(".maps");

u64 lost = 0;

SEC("uprobe")
int call(struct pt_regs *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct walk *w = bpf_ringbuf_reserve(&walks, sizeof(*w), 0);
	u64 start = bpf_ktime_get_ns();

	if (!w) {
		__sync_fetch_and_add(&lost, 1);
		return 0;
	}
	w->tag = PT_REGS_PARM1(ctx);
	w->tgid = task->tgid;
	w->n = python_stack(task, w->py);
	w->ns = bpf_ktime_get_ns() - start;
	bpf_ringbuf_submit(w, 0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
