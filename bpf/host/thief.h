/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Thieves: who had the CPU that a traced thread waited for. */
#pragma once

#define SEATS 16 /* threads that can wait for one CPU by name */
#define TAKEN (~0U) /* a seat that is being filled in */

/* A thread that waits for a CPU. */
struct seat {
	u64 from_ns;
	u32 tgid;
	u32 tid; /* 0: free */
};

/* A CPU: since when the task on it has been there, and who waits. At each
 * switch, the one that leaves is charged with the time of those who waited. */
struct runqueue {
	u64 since_ns;
	u64 current; /* the task on it, to be read with care */
	u32 waiting; /* seats that are taken */
	u32 _pad[11];
	struct seat seats[SEATS];
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

#define LONG_NS 1000000 /* a slice after which a name is worth another look */

static __noinline void add_thief(u32 victim, u32 tgid, struct task_struct *task, u64 ns)
{
	struct pair_key key = { .victim = victim, .other = tgid };
	struct pair *p = bpf_map_lookup_elem(&thieves, &key), fresh = { .ns = ns, .count = 1 };

	if (p) {
		__sync_fetch_and_add(&p->ns, ns);
		__sync_fetch_and_add(&p->count, 1);
		if (ns > LONG_NS) /* it may have started another program since */
			BPF_CORE_READ_INTO(&p->comm, task, comm);
		return;
	}
	BPF_CORE_READ_INTO(&fresh.comm, task, comm);
	bpf_map_update_elem(&thieves, &key, &fresh, BPF_NOEXIST);
}

static __always_inline void free_seat(struct runqueue *rq, struct seat *s, u32 tid)
{
	if (__sync_val_compare_and_swap(&s->tid, tid, 0) == tid)
		__sync_fetch_and_add(&rq->waiting, -1);
}

/* The task leaves the CPU that others have waited for. */
static __noinline void charge(struct runqueue *rq, struct task_struct *task, u64 since, u64 now)
{
	u32 i, left;

	if (!rq || !task)
		return;
	left = rq->waiting;
	for (i = 0; i < SEATS && left; i++) {
		struct seat *s = &rq->seats[i];
		u32 tid = s->tid;
		u64 from = s->from_ns > since ? s->from_ns : since;

		if (!tid || tid == TAKEN)
			continue;
		left--;
		if (tid == task->pid) /* it ran: it cannot have waited */
			free_seat(rq, s, tid);
		else if (from < now)
			add_thief(s->tgid, task->tgid, task, now - from);
	}
}

static __always_inline void end_slice(struct task_struct *prev, struct task_struct *next, u32 cpu, u64 now)
{
	struct runqueue *rq = bpf_map_lookup_elem(&runqueues, &cpu);
	u64 since;

	if (!rq)
		return;
	since = rq->since_ns;
	rq->since_ns = now;
	rq->current = (u64)next;
	if (rq->waiting && since && since < now)
		charge(rq, prev, since, now);
}

/* A thread gets the CPU it waited for, or moves to another. */
static __noinline void leave_seat(struct thread *th, u32 tid, u64 now)
{
	u32 cpu, at;
	struct task_struct *task;
	struct runqueue *rq;
	struct seat *s;
	u64 from;

	if (!th || !th->seat)
		return;
	at = th->seat - 1;
	th->seat = 0;
	cpu = at / SEATS;
	rq = bpf_map_lookup_elem(&runqueues, &cpu);
	if (!rq)
		return;
	s = &rq->seats[at & (SEATS - 1)];
	from = s->from_ns > rq->since_ns ? s->from_ns : rq->since_ns;
	task = (struct task_struct *)rq->current;
	if (s->tid == tid && now > from && task) /* in the middle of a slice */
		add_thief(s->tgid, BPF_CORE_READ(task, tgid), task, now - from);
	free_seat(rq, s, tid);
}

/* A thread begins to wait for a CPU. Without a free seat its thieves stay
 * unnamed. */
static __noinline void take_seat(struct thread *th, struct task_struct *task, u32 cpu, u64 now)
{
	struct runqueue *rq = bpf_map_lookup_elem(&runqueues, &cpu);
	u32 i;

	if (!th || !task || !rq)
		return;
	leave_seat(th, task->pid, now);
	for (i = 0; i < SEATS; i++) {
		struct seat *s = &rq->seats[i];

		if (s->tid || __sync_val_compare_and_swap(&s->tid, 0, TAKEN))
			continue;
		s->from_ns = now;
		s->tgid = task->tgid;
		s->tid = task->pid; /* last: now it counts */
		__sync_fetch_and_add(&rq->waiting, 1);
		th->seat = cpu * SEATS + i + 1;
		return;
	}
}
