/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* The walk along a whole stack, step by step. */
#pragma once

static __noinline void note_walk(struct walk *w)
{
	u64 *n, one = 1;

	if (!w)
		return;
	n = bpf_map_lookup_elem(&unwind_outcomes, &w->outcome);
	if (n)
		*n += 1;
	if (!w->missed)
		return;
	n = bpf_map_lookup_elem(&unwind_misses, &w->tgid);
	if (n)
		__sync_fetch_and_add(n, 1);
	else
		bpf_map_update_elem(&unwind_misses, &w->tgid, &one, BPF_NOEXIST);
}

/* At the entry of a traced call the walk begins as if it had just returned:
 * the function has not yet made a frame. */
static __always_inline void skip_entry(struct walk *w, const struct thread *th, u32 at)
{
	const struct frame *f = &th->frames[at & (MAX_DEPTH - 1)];

	if (f->sp != w->sp || f->ip != w->ip)
		return;
	w->ip = f->ret;
	w->sp += CALL_PUSHES;
}

struct native_ips {
	u64 at[UNWIND_FRAMES];
};

/* Global, so that it is verified once and not for each place that asks. */
__noinline int walk_stack(struct walk *w, struct native_ips *ips)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct thread *th = bpf_task_storage_get(&threads, task, NULL, 0);
	struct unwind_process *p;
	u32 depth, i;

	if (!th || !w || !ips)
		return 0;
	w->tgid = task->tgid;
	p = bpf_map_lookup_elem(&unwind_mappings, &w->tgid);
	depth = th->depth;
	w->outer = depth < MAX_DEPTH ? depth : MAX_DEPTH;
	skip_entry(w, th, 0); /* where abandoned calls are not yet counted out */
	skip_entry(w, th, depth);
	skip_entry(w, th, depth - 1);
	for (i = 0; i < UNWIND_FRAMES; i++) {
		ips->at[w->depth & (UNWIND_FRAMES - 1)] = w->ip;
		if (!(p ? unwind_step(w, th, p) : unwind_step(w, th, NULL)))
			break;
	}
	note_walk(w);
	return w->depth < UNWIND_FRAMES ? w->depth : UNWIND_FRAMES;
}

/* Writes the return addresses of the running thread's stack to ips, innermost
 * first, and returns their number, at most UNWIND_FRAMES. */
static __always_inline u32 native_stack(struct pt_regs *ctx, u64 *ips)
{
	struct walk w = { .ip = PT_REGS_IP(ctx), .sp = PT_REGS_SP(ctx), .bp = PT_REGS_FP(ctx),
			  .outcome = UNWIND_TOO_DEEP };
	u32 n = walk_stack(&w, (struct native_ips *)ips);

	return n < UNWIND_FRAMES ? n : UNWIND_FRAMES;
}
