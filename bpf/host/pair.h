/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Who cost whom time: thieves had the CPU that a traced thread waited for,
 * wakers ended its other waits. */
#pragma once

const volatile bool have_loop = true; /* bpf_loop: Linux 5.17 */

#define SLICES 128 /* of each CPU that are remembered; a power of two */

/* Who ran on a CPU until when. A slice begins where the one before ends. */
struct slice {
	u64 end_ns;
	u32 tgid, tid;
	char comm[16];
};

struct slices {
	u64 next;
	struct slice ring[SLICES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* one for each CPU; set before load */
	__type(key, u32);
	__type(value, struct slices);
} slices SEC(".maps");

struct pair_key {
	u32 victim; /* tgid */
	u32 other;  /* tgid; 0 is nobody: the CPU was idle and yet not given */
};

struct pair {
	u64 ns;
	u64 count;
	char comm[16];
};

/* For runnable time: who really ran meanwhile. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct pair_key);
	__type(value, struct pair);
} thieves SEC(".maps");

struct waker_key {
	u32 tgid, tid;
	u32 state;
	u32 other_tgid, other_tid;
};

/* For blocked time: who ended it. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct waker_key);
	__type(value, struct pair);
} wakers SEC(".maps");

static __always_inline void add_thief(u32 victim, struct slice *s, u64 ns)
{
	struct pair_key key = { .victim = victim, .other = s->tgid };
	struct pair *p = bpf_map_lookup_elem(&thieves, &key), fresh = { .ns = ns, .count = 1 };

	if (p) {
		__sync_fetch_and_add(&p->ns, ns);
		__sync_fetch_and_add(&p->count, 1);
		return;
	}
	__builtin_memcpy(fresh.comm, s->comm, sizeof(fresh.comm));
	bpf_map_update_elem(&thieves, &key, &fresh, BPF_NOEXIST);
}

/* A walk back over the slices of one CPU. */
struct walk {
	struct slices *all;
	u64 from, now, next;
	u32 victim;
};

/* Names the thief of one slice; returns 1 at the end of the wait. */
static long name_thief(u32 i, struct walk *w)
{
	struct slice *s = &w->all->ring[(w->next - 1 - i) & (SLICES - 1)];
	struct slice *before = &w->all->ring[(w->next - 2 - i) & (SLICES - 1)];
	u64 start = before->end_ns > w->from ? before->end_ns : w->from;

	if (s->end_ns > w->now || s->end_ns <= w->from || !before->end_ns)
		return 1;
	if (s->end_ns > start)
		add_thief(w->victim, s, s->end_ns - start);
	return 0;
}

/* Says who ran on the CPU that the thread waited for since waiting_ns. Slices
 * that are forgotten already stay unnamed. */
static __noinline void name_thieves(struct thread *th, u32 victim, u64 now)
{
	struct walk w = { .now = now, .victim = victim };
	u32 cpu, i;

	if (!th)
		return;
	cpu = th->cpu;
	w.from = th->waiting_ns;
	th->waiting_ns = 0;
	w.all = bpf_map_lookup_elem(&slices, &cpu);
	if (!w.all || !w.from || w.from >= now)
		return;
	w.next = w.all->next;
	if (have_loop) {
		bpf_loop(SLICES - 2, name_thief, &w, 0);
		return;
	}
	for (i = 0; i < 16; i++) /* what old verifiers can follow */
		if (name_thief(i, &w))
			return;
}

static __always_inline void log_slice(struct task_struct *prev, u64 now)
{
	u32 cpu = bpf_get_smp_processor_id();
	struct slices *all = bpf_map_lookup_elem(&slices, &cpu);
	struct slice *s;

	if (!all)
		return;
	s = &all->ring[all->next & (SLICES - 1)];
	s->tgid = prev->tgid;
	s->tid = prev->pid;
	bpf_probe_read_kernel(s->comm, sizeof(s->comm), prev->comm);
	s->end_ns = now;
	all->next++;
}

static __always_inline void name_waker(struct thread *th, struct task_struct *task, u64 ns)
{
	struct waker_key key = { .tgid = task->tgid, .tid = task->pid, .state = th->state };
	struct pair *p, fresh = { .ns = ns, .count = 1 };

	if (!th->waker)
		return;
	key.other_tgid = th->waker >> 32;
	key.other_tid = th->waker;
	p = bpf_map_lookup_elem(&wakers, &key);
	if (p) {
		__sync_fetch_and_add(&p->ns, ns);
		__sync_fetch_and_add(&p->count, 1);
	} else {
		__builtin_memcpy(fresh.comm, th->waker_comm, sizeof(fresh.comm));
		bpf_map_update_elem(&wakers, &key, &fresh, BPF_NOEXIST);
	}
	th->waker = 0;
}
