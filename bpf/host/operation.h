/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Operations of the host: what the kernel does for a traced process, counted
 * in the same cells as its calls. Each has a row after those of the calls: a
 * variable row_NAME, set before load to the row of NAME in event.HostOps. */
#pragma once

/* The state of a thread that acts for itself, if it is traced. */
static __always_inline struct thread *acting(struct task_struct *task)
{
	struct thread *th = bpf_task_storage_get(&threads, task, NULL, 0);

	if (!th && traced(task->tgid)) { /* older than the trace, and not met yet */
		th = bpf_task_storage_get(&threads, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
		if (th)
			open_books(th, task, bpf_ktime_get_ns(), RUNNING);
	}
	return th && !th->exited ? th : NULL;
}

/* Counts one operation of a thread. */
static __noinline struct cell *count_operation(struct thread *th, struct task_struct *task, u32 row, u64 bytes, u64 dur)
{
	struct cell *c;
	u32 index;

	if (!th || !task || row >= MAX_CALLS)
		return NULL;
	index = cell_of(th, task, row);
	c = bpf_map_lookup_elem(&cells, &index);
	if (c)
		count(c, index, bytes, dur, 0, 0);
	return c;
}

/* Counts n operations that take no time. */
static __noinline void count_many(struct thread *th, struct task_struct *task, u32 row, u64 n, u64 bytes)
{
	struct bucket_row *b;
	struct cell *c;
	u32 index;

	if (!th || !task || row >= MAX_CALLS || (s64)n <= 0)
		return;
	index = cell_of(th, task, row);
	c = bpf_map_lookup_elem(&cells, &index);
	b = bpf_map_lookup_elem(&buckets, &index);
	if (!c || !b)
		return;
	__sync_fetch_and_add(&b->count[0], n);
	__sync_fetch_and_add(&c->bytes, bytes);
}

const volatile u32 row_sched_switch = NO_ROW;
const volatile u32 row_sched_wakeup = NO_ROW;
const volatile u32 row_mm_page_alloc = NO_ROW;

/* What is too frequent to look for a cell each time is counted in the thread,
 * switches by the kernel itself. Once a second, and when the thread ends, it
 * gets into the cells. */
static __noinline void count_tallies(struct thread *th, struct task_struct *task)
{
	u64 switches, n;

	if (!th || !task)
		return;
	switches = task->nvcsw + task->nivcsw;
	n = switches - __sync_lock_test_and_set(&th->switches, switches);
	count_many(th, task, row_sched_switch, n, 0);
	n = __sync_lock_test_and_set(&th->wakeups, 0);
	count_many(th, task, row_sched_wakeup, n, 0);
	n = __sync_lock_test_and_set(&th->pages, 0);
	count_many(th, task, row_mm_page_alloc, n, __sync_lock_test_and_set(&th->page_bytes, 0));
}
