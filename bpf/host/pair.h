/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Who cost whom time: thieves had the CPU that a traced thread waited for,
 * wakers ended its other waits. */
#pragma once

#define SEATS 8 /* traced processes that can wait for one CPU by name; a power of two */

/* The threads of one traced process that wait for a CPU. */
struct seat {
	u64 who;  /* tgid << 32 | how many; it is free when there are none */
	u64 late; /* ns of this slice that they did not wait, added up; those who
		   * have left count as if they had come when they left: below 0 */
};

/* A CPU: since when the task on it has been there, and who waits. At each
 * switch, the one that leaves is charged with the time of those who waited. */
struct runqueue {
	u64 since_ns;
	u64 waiting; /* threads with a seat */
	u64 owing;   /* a thread that has left waited in this slice */
	struct seat seats[SEATS];
	u64 _pad[5]; /* three cache lines */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* one for each CPU; set before load */
	__type(key, u32);
	__type(value, struct runqueue);
} runqueues SEC(".maps");

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

static __always_inline void add_thief(u32 victim, struct task_struct *task, u64 ns)
{
	struct pair_key key = { .victim = victim, .other = task->tgid };
	struct pair *p = bpf_map_lookup_elem(&thieves, &key), fresh = { .ns = ns, .count = 1 };

	if (p) {
		__sync_fetch_and_add(&p->ns, ns);
		__sync_fetch_and_add(&p->count, 1);
		return;
	}
	bpf_probe_read_kernel(fresh.comm, sizeof(fresh.comm), task->comm);
	bpf_map_update_elem(&thieves, &key, &fresh, BPF_NOEXIST);
}

/* The task leaves the CPU that others have waited for. */
static __noinline void charge(struct runqueue *rq, struct task_struct *task, u64 ns)
{
	u32 i;

	if (!rq || !task)
		return;
	rq->owing = 0;
	for (i = 0; i < SEATS; i++) {
		struct seat *s = &rq->seats[i];
		u64 who = s->who, late = s->late, waited;

		if (late)
			__sync_fetch_and_add(&s->late, -late);
		waited = (u32)who * ns - late;
		if ((s64)waited > 0)
			add_thief(who >> 32, task, waited);
	}
}

static __always_inline void end_slice(struct task_struct *task, u32 cpu, u64 now)
{
	struct runqueue *rq = bpf_map_lookup_elem(&runqueues, &cpu);
	u64 since;

	if (!rq)
		return;
	since = rq->since_ns;
	rq->since_ns = now;
	if ((rq->waiting || rq->owing) && since && since < now)
		charge(rq, task, now - since);
}

/* A thread gets the CPU it waited for, or moves to another. What it waited
 * of a slice that has not ended is charged when it does. */
static __noinline void leave_seat(struct thread *th, u64 now)
{
	struct runqueue *rq;
	struct seat *s;
	u32 cpu, at;
	u64 since;

	if (!th || !th->seat)
		return;
	cpu = th->cpu;
	at = th->seat - 1;
	th->seat = 0;
	rq = bpf_map_lookup_elem(&runqueues, &cpu);
	if (!rq)
		return;
	s = &rq->seats[at & (SEATS - 1)];
	since = rq->since_ns;
	if (now > since) {
		__sync_fetch_and_add(&s->late, since - now);
		rq->owing = 1;
	}
	__sync_fetch_and_add(&s->who, -1);
	__sync_fetch_and_add(&rq->waiting, -1);
}

/* A thread begins to wait for a CPU. Without a free seat its thieves stay
 * unnamed. */
static __noinline void take_seat(struct thread *th, u32 tgid, u32 cpu, u64 now)
{
	struct runqueue *rq = bpf_map_lookup_elem(&runqueues, &cpu);
	u32 i;

	if (!th || !rq)
		return;
	th->cpu = cpu;
	for (i = 0; i < SEATS; i++) {
		u32 at = (tgid + i) & (SEATS - 1);
		struct seat *s = &rq->seats[at];
		u64 who = s->who, mine = (u64)tgid << 32 | 1, since = rq->since_ns;

		if ((u32)who) {
			if (who >> 32 != tgid)
				continue;
			mine = who + 1;
		}
		if (__sync_val_compare_and_swap(&s->who, who, mine) != who)
			continue;
		if ((u32)mine == 1 && who >> 32 != tgid)
			s->late = 0;
		if (now > since)
			__sync_fetch_and_add(&s->late, now - since);
		__sync_fetch_and_add(&rq->waiting, 1);
		th->seat = at + 1;
		return;
	}
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
