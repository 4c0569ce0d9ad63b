/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* ONE pair of programs for every traced library function: the attach cookie is
 * the row of the call table, the row says what to capture. */
#pragma once

const volatile struct call_spec specs[MAX_CALLS] = {};
const volatile u32 budget_per_slice = 160; /* sampled records a CPU may write in 8.4 ms */
const volatile u32 wake_bytes = 1 << 22;   /* unread bytes at which the reader is woken */

u32 emitting = EMIT_POLICY; /* an enum emit; user space may change it at any time */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 24); /* resized before load */
} call_records SEC(".maps");

struct budget {
	u64 slice;
	u64 used;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct budget);
} budgets SEC(".maps");

struct ctx_key {
	u64 ctx;
	u32 tgid, _pad;
};

/* Which device a CUDA context is on. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct ctx_key);
	__type(value, u32);
} contexts SEC(".maps");

static __noinline struct thread *adopt_thread(struct task_struct *task, u32 row)
{
	struct thread *th;

	if (!is_target(task))
		return NULL;
	th = bpf_task_storage_get(&threads, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!th)
		count_missed(row, false);
	return th;
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
	f->row = row;
	f->bytes = args[spec->bytes & 7];
	if (spec->mul)
		f->bytes *= args[spec->mul & 7];
	f->bytes <<= spec->shift & 7;
	f->handle = args[spec->handle & 7];
	f->out = args[spec->out & 7];
	f->device = args[(spec->device | spec->new_ctx) & 7];
	f->dir = spec->kind ? args[spec->kind & 7] : spec->dir;
	th->depth = depth + 1;
	f->start_ns = bpf_ktime_get_ns(); /* last: our own work is not the call's */
	return 0;
}

/* Remembers which device the thread uses from now on. */
static __noinline void select_device(struct thread *th, struct frame *f, u32 tgid, u64 made)
{
	const volatile struct call_spec *spec = &specs[f->row & (MAX_CALLS - 1)];
	struct ctx_key key = { .ctx = spec->new_ctx ? made : f->handle, .tgid = tgid };
	u32 device = f->device, *known;

	if (spec->device) {
		th->gpu = device;
		return;
	}
	if (spec->new_ctx) {
		bpf_map_update_elem(&contexts, &key, &device, BPF_ANY);
		return;
	}
	known = bpf_map_lookup_elem(&contexts, &key);
	if (known)
		th->gpu = *known;
}

/* Takes one record from this CPU's budget. A race with a preempting thread
 * costs or gives one sample, never a count. */
static __always_inline bool in_budget(u64 now)
{
	u32 zero = 0;
	struct budget *b = bpf_map_lookup_elem(&budgets, &zero);

	if (!b)
		return false;
	if (b->slice != now >> 23) {
		b->slice = now >> 23;
		b->used = 0;
	}
	return b->used++ < budget_per_slice;
}

static __always_inline bool wanted(struct cell *c, bool sampled, u64 dur, s32 ret, u64 now)
{
	if (emitting == EMIT_NONE)
		return false;
	if (emitting == EMIT_ALL || !sampled)
		return true;
	if ((c->slow_ns && dur >= c->slow_ns) || ret)
		return in_budget(now);
	if (c->skip) {
		c->skip--;
		return false;
	}
	if (c->stride)
		c->skip = c->stride - 1;
	return in_budget(now);
}

static __always_inline void record(struct cell *c, struct thread *th, struct frame *f, u64 handle, u64 dur, s32 ret,
				   u32 depth)
{
	struct call_record *r = bpf_ringbuf_reserve(&call_records, sizeof(*r), 0);
	u64 id = bpf_get_current_pid_tgid(), unread;

	if (!r) {
		__sync_fetch_and_add(&c->lost, 1);
		return;
	}
	__sync_fetch_and_add(&c->recorded, 1);
	r->start_ns = f->start_ns;
	r->dur_ns = dur;
	r->bytes = f->bytes;
	r->handle = handle;
	r->cgroup = bpf_get_current_cgroup_id();
	r->pid = id >> 32;
	r->tid = id;
	r->ret = ret;
	r->row = f->row;
	r->depth = depth;
	r->dir = f->dir;
	r->gpu = th->gpu;
	bpf_get_current_comm(r->comm, sizeof(r->comm));
	unread = bpf_ringbuf_query(&call_records, BPF_RB_AVAIL_DATA);
	/* The reader polls. When the ring fills it is woken, once in 64 KiB: a
	 * wake-up costs more than all the rest. */
	bpf_ringbuf_submit(r, unread > wake_bytes && (unread & 0xffff) < sizeof(*r) ? BPF_RB_FORCE_WAKEUP :
											  BPF_RB_NO_WAKEUP);
}

/* Counters are added to atomically even where they could be per CPU: a probe
 * can be preempted by another thread between load and store. */
static __always_inline void count(struct cell *c, u32 index, struct frame *f, u64 dur, s32 ret, u32 depth)
{
	struct bucket_row *b = bpf_map_lookup_elem(&buckets, &index);
	u32 i = bucket_of(dur);

	if (b && i < BUCKETS)
		__sync_fetch_and_add(&b->count[i], 1);
	__sync_fetch_and_add(&c->sum_ns, dur);
	if (f->bytes)
		__sync_fetch_and_add(&c->bytes, f->bytes);
	if (depth)
		__sync_fetch_and_add(&c->nested, 1);
	if (ret)
		__sync_fetch_and_add(&c->errors, 1);
	if (dur > c->max_ns)
		c->max_ns = dur; /* a lost race leaves the highest bucket to tell */
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
	bool keep;
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
	th->depth = depth;
	dur = now - f->start_ns;
	ret = PT_REGS_RC(ctx);
	index = cell_of(th, tgid, row);
	c = bpf_map_lookup_elem(&cells, &index);
	if (!c)
		return 0;
	count(c, index, f, dur, ret, depth);
	keep = wanted(c, spec->sampled, dur, ret, now);
	handle = f->handle;
	if (spec->out && !ret && (keep || spec->new_ctx))
		bpf_probe_read_user(&handle, sizeof(handle), (void *)f->out);
	if (!ret && (spec->device || spec->new_ctx || spec->ctx))
		select_device(th, f, tgid, handle);
	if (keep)
		record(c, th, f, handle, dur, ret, depth);
	return 0;
}
