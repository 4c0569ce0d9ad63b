/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Which calls are written one by one, for their stories. */
#pragma once

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

enum why {
	NOT_WANTED,
	SAMPLED,
	WANTED, /* for itself: rare, slow, failed */
};

static __always_inline enum why wanted(struct cell *c, bool always, u64 dur, s32 ret, u64 now)
{
	u32 skip = c->skip;

	if (emitting == EMIT_NONE)
		return NOT_WANTED;
	if (always)
		return WANTED;
	if ((c->slow_ns && dur >= c->slow_ns) || ret)
		return emitting == EMIT_ALL || in_budget(now) ? WANTED : NOT_WANTED;
	if (emitting == EMIT_ALL)
		return SAMPLED;
	if (skip && skip < c->stride) { /* a stride that shrank ends a long wait */
		c->skip = skip - 1;
		return NOT_WANTED;
	}
	if (c->stride)
		c->skip = c->stride - 1;
	return in_budget(now) ? SAMPLED : NOT_WANTED;
}

static __always_inline struct call_record *begin_record(struct cell *c)
{
	struct call_record *r = bpf_ringbuf_reserve(&call_records, sizeof(*r), 0);

	__sync_fetch_and_add(r ? &c->recorded : &c->lost, 1);
	if (r)
		r->stack = 0;
	return r;
}

static __always_inline void end_record(struct call_record *r, bool urgent)
{
	u64 unread = bpf_ringbuf_query(&call_records, BPF_RB_AVAIL_DATA);

	/* The reader polls. When the ring fills it is woken, once in 64 KiB: a
	 * wake-up costs more than all the rest. */
	urgent |= unread > wake_bytes && (unread & 0xffff) < sizeof(*r) + BPF_RINGBUF_HDR_SZ;
	bpf_ringbuf_submit(r, urgent ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}

static __always_inline void record(struct cell *c, struct thread *th, struct frame *f, u64 handle, u64 dur, s32 ret,
				   u32 depth, u64 stack, bool urgent)
{
	struct call_record *r = begin_record(c);
	u64 id = bpf_get_current_pid_tgid();

	if (!r)
		return;
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
	r->stack = stack;
	r->runnable_ns = th->runnable_ns - f->runnable_ns;
	r->blocked_ns = th->blocked_ns - f->blocked_ns;
	bpf_get_current_comm(r->comm, sizeof(r->comm));
	end_record(r, urgent);
}
