/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* ONE pair of programs for every traced library function: the attach cookie is
 * the row of the call table, the row says what to capture. */
#pragma once

const volatile u32 type_shifts = 0; /* 2 bits for each ncclDataType_t: log2 of its size */

static __noinline struct thread *adopt_thread(struct task_struct *task, u32 row)
{
	struct thread *th;

	if (!is_target(task))
		return NULL;
	th = bpf_task_storage_get(&threads, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!th) {
		count_missed(row, false);
		return NULL;
	}
	if (!th->since_ns)
		open_books(th, task, bpf_ktime_get_ns(), RUNNING);
	return th;
}

/* A gap: a long time since the thread's last outermost call. It is counted,
 * and recorded, as if it were a call; its stack is that of the call after it. */
#define GAP_NS 1000000
const volatile u32 row_gap = NO_ROW;

static __noinline void note_gap(struct pt_regs *ctx, struct thread *th, struct task_struct *task, u64 now)
{
	bool urgent = false;
	struct frame f = {};
	enum why why;
	u64 stack = 0;
	struct cell *c;
	u32 index;
	u64 dur;

	if (!th || !task || row_gap >= MAX_CALLS)
		return;
	f.row = row_gap;
	f.start_ns = th->left_ns;
	f.runnable_ns = th->left_runnable_ns;
	f.blocked_ns = th->left_blocked_ns;
	dur = now - f.start_ns;
	index = cell_of(th, task, row_gap);
	c = bpf_map_lookup_elem(&cells, &index);
	if (!c)
		return;
	why = wanted(c, count(c, index, 0, dur, 0, 0), dur, 0, now);
	if (!why)
		return;
	if (has_stack(why))
		stack = stack_of(ctx, th, 0, true, &urgent);
	record(c, th, &f, 0, dur, 0, 0, stack, urgent);
}

/* Of the call that is being entered, before its return probe takes its place.
 * A traced call that was jumped to shares it with the one that jumped. */
static __noinline u64 return_address(struct thread *th, struct pt_regs *ctx, u32 depth)
{
	u64 sp = PT_REGS_SP(ctx), ra = 0;

	if (!th)
		return 0;
	if (depth && th->frames[(depth - 1) & (MAX_DEPTH - 1)].sp == sp)
		return th->frames[(depth - 1) & (MAX_DEPTH - 1)].ret;
	READ_RETURN(&ra, ctx);
	return ra;
}

SEC("uprobe")
int call_enter(struct pt_regs *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u32 row = bpf_get_attach_cookie(ctx) & (MAX_CALLS - 1), depth, i;
	struct thread *th = bpf_task_storage_get(&threads, task, NULL, 0);
	const volatile struct call_spec *spec = &specs[row];
	u64 sp = PT_REGS_SP(ctx), ip = PT_REGS_IP(ctx);
	/* Copied first: clang would fold a choice of registers into ctx plus a
	 * variable offset, which the verifier rejects. */
	u64 args[8] = { 0, PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx), PT_REGS_PARM3(ctx), PT_REGS_PARM4(ctx),
			PT_REGS_PARM5(ctx), ARGUMENT_6(ctx) };
	struct frame *f;
	u64 now;

	if (!th) {
		th = adopt_thread(task, row);
		if (!th)
			return 0;
	}
	depth = th->depth;
	/* A caller's frame is never below its callee's: what is below this call
	 * was left without a return (longjmp, an exception). */
	for (i = 0; i < MAX_DEPTH && depth; i++) {
		if (th->frames[(depth - 1) & (MAX_DEPTH - 1)].sp >= sp)
			break;
		depth--;
	}
	if (depth) {
		f = &th->frames[(depth - 1) & (MAX_DEPTH - 1)];
		/* The same call seen twice: containers can show one file as two. */
		if (f->sp == sp && f->ip == ip && f->row == row)
			depth--;
	}
	if (depth >= MAX_DEPTH) {
		count_missed(row, true);
		return 0;
	}
	f = &th->frames[depth & (MAX_DEPTH - 1)];
	f->sp = sp;
	f->ip = ip;
	if (stacks)
		f->ret = return_address(th, ctx, depth);
	f->row = row;
	f->bytes = args[spec->bytes & 7];
	if (spec->mul)
		f->bytes *= args[spec->mul & 7];
	f->bytes <<= spec->type ? type_shifts >> (2 * (args[spec->type & 7] & 15)) & 3 : spec->shift & 7;
	f->handle = args[spec->handle & 7];
	f->out = args[spec->out & 7];
	f->device = args[(spec->device | spec->new_ctx) & 7];
	f->dir = spec->kind ? args[spec->kind & 7] : spec->dir;
	f->runnable_ns = th->runnable_ns;
	f->blocked_ns = th->blocked_ns;
	now = bpf_ktime_get_ns(); /* last: our own work is not the call's */
	f->start_ns = now;
	if (!depth) {
		settle(th, task, now); /* so far it was between calls */
		if (th->left_ns && now - th->left_ns >= GAP_NS)
			note_gap(ctx, th, task, now);
	}
	th->depth = depth + 1;
	return 0;
}

SEC("uretprobe")
int call_exit(struct pt_regs *ctx)
{
	u64 now = bpf_ktime_get_ns(), sp = PT_REGS_SP(ctx) - CALL_PUSHES, handle, dur;
	struct task_struct *task = bpf_get_current_task_btf();
	struct thread *th = bpf_task_storage_get(&threads, task, NULL, 0);
	u32 row = bpf_get_attach_cookie(ctx) & (MAX_CALLS - 1), depth, index, i, tgid = task->tgid;
	const volatile struct call_spec *spec = &specs[row];
	struct frame *f = NULL;
	struct cell *c;
	bool slowest, urgent = false;
	u64 stack = 0;
	enum why why;
	s32 ret;

	if (!th)
		return 0;
	depth = th->depth;
	for (i = 0; i < MAX_DEPTH && depth; i++) {
		depth--;
		f = &th->frames[depth & (MAX_DEPTH - 1)];
		if (f->row == row && f->sp == sp)
			goto found;
	}
	return 0; /* the call began before we attached, or was seen twice */
found:
	if (!depth)
		settle(th, task, now);
	th->depth = depth;
	if (!depth) {
		th->left_ns = now;
		th->left_runnable_ns = th->runnable_ns;
		th->left_blocked_ns = th->blocked_ns;
	}
	dur = now - f->start_ns;
	ret = PT_REGS_RC(ctx);
	if (!depth && spec->capture > CAPTURE_RECORDS)
		note_capture(th, f, tgid, ret);
	index = cell_of(th, task, row);
	c = bpf_map_lookup_elem(&cells, &index);
	if (!c)
		return 0;
	slowest = count(c, index, f->bytes, dur, ret, depth);
	why = wanted(c, slowest || !spec->sampled, dur, ret, now);
	handle = f->handle;
	if (spec->out && !ret && (why || spec->new_ctx))
		bpf_probe_read_user(&handle, sizeof(handle), (void *)f->out);
	if (!ret && (spec->device || spec->new_ctx || spec->ctx))
		select_device(th, f, tgid, handle);
	if (!why)
		return 0;
	if (has_stack(why))
		stack = stack_of(ctx, th, depth, false, &urgent);
	record(c, th, f, handle, dur, ret, depth, stack, urgent);
	return 0;
}
