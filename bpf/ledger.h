/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* The time ledger: where every thread of a traced process spends its time. A
 * thread is always at one place (inside its outermost traced call, capturing a
 * graph, or between calls) and in one state. Each change settles the time since the last one, so
 * the entries of a thread add up to the time it lived. */
#pragma once

#define MAX_ENTRIES 8192 /* pairs of thread and place */

/* One thread at one place. Mapped into user space, which takes differences. */
struct ledger_entry {
	u64 start_boottime; /* of the thread; with tid it is unique */
	u32 tgid;           /* 0: free */
	u32 tid;
	u32 place; /* see place_of */
	u32 ended; /* the thread has exited; set in its BETWEEN entry */
	u64 ns[STATES];
	u64 max_ns[STATES]; /* the longest single interval that ended here */
	u64 count[STATES];
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_ENTRIES);
	__type(key, u32);
	__type(value, struct ledger_entry);
} ledger SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, MAX_ENTRIES);
	__type(value, u32);
} free_entries SEC(".maps");

u64 entries_missing = 0; /* times that no entry was free */
u32 entries_used = 0;    /* those beyond were never taken */

/* The entry of the thread's current place; NULL when none was free. */
static __noinline struct ledger_entry *take_entry(struct thread *th, struct task_struct *task, u32 place)
{
	struct ledger_entry *e;
	u32 index;

	if (!th || !task)
		return NULL;
	if (bpf_map_pop_elem(&free_entries, &index)) {
		index = entries_used < MAX_ENTRIES ? __sync_fetch_and_add(&entries_used, 1) : MAX_ENTRIES;
		if (index >= MAX_ENTRIES) {
			__sync_fetch_and_add(&entries_missing, 1);
			return NULL;
		}
	}
	e = bpf_map_lookup_elem(&ledger, &index);
	if (!e)
		return NULL;
	e->start_boottime = task->start_boottime;
	e->tid = task->pid;
	e->place = place;
	bpf_probe_read_kernel(e->comm, sizeof(e->comm), task->comm);
	e->tgid = task->tgid; /* last: readers skip entries without it */
	th->entries[place & PLACE_MASK] = index + 1;
	return e;
}

static __always_inline struct ledger_entry *entry_of(struct thread *th, struct task_struct *task)
{
	u32 place = place_of(th), index;

	index = th->entries[place & PLACE_MASK];
	if (!index)
		return take_entry(th, task, place);
	index--;
	return bpf_map_lookup_elem(&ledger, &index);
}

/* Settles the time since the last change in the thread's current state. The
 * exchange makes it safe against the same thread being preempted half-way and
 * against other CPUs that wake it or look at it. */
static __always_inline void settle(struct thread *th, struct task_struct *task, u64 now)
{
	u64 since = __sync_lock_test_and_set(&th->since_ns, now), ns = now - since;
	struct ledger_entry *e;
	u32 state = th->state;

	if (since >= now) { /* settled later than we read the clock */
		th->since_ns = since;
		return;
	}
	if (state >= STATES)
		return;
	e = entry_of(th, task);
	if (e)
		__sync_fetch_and_add(&e->ns[state], ns);
	if (state == RUNNABLE)
		th->runnable_ns += ns;
	else if (state != RUNNING)
		th->blocked_ns += ns;
}

/* Settles, and notes that the interval in the old state has ended. */
static __always_inline void change(struct thread *th, struct task_struct *task, u64 now, u32 state)
{
	u64 since = __sync_lock_test_and_set(&th->since_ns, now), whole = now - th->began_ns;
	u32 old = th->state;
	struct ledger_entry *e;

	if (since > now) { /* settled later than we read the clock */
		th->since_ns = since;
		since = now;
	}
	e = entry_of(th, task);
	if (old < STATES && e) {
		__sync_fetch_and_add(&e->ns[old], now - since);
		e->count[old]++;
		if (whole > e->max_ns[old] && now > th->began_ns)
			e->max_ns[old] = whole;
	}
	if (old == RUNNABLE)
		th->runnable_ns += now - since;
	else if (old != RUNNING)
		th->blocked_ns += now - since;
	if (old == NETWORK)
		th->net_ns += whole;
	th->began_ns = now;
	th->state = state;
}

/* Begins to keep the books of a thread. */
static __always_inline void open_books(struct thread *th, struct task_struct *task, u64 now, u32 state)
{
	th->state = state;
	th->on_cpu = state == RUNNING;
	th->since_ns = th->began_ns = now;
	th->switches = task->nvcsw + task->nivcsw;
}

/* A thread has ended: user space drains its entries and gives them back. */
static __always_inline void close_books(struct thread *th, struct task_struct *task)
{
	struct ledger_entry *e;

	settle(th, task, bpf_ktime_get_ns());
	th->exited = 1;
	th->depth = th->capture = 0;
	e = entry_of(th, task);
	if (e)
		e->ended = 1;
}
