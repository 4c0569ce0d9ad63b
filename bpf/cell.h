/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Exact counts: one cell and one row of buckets per {process, call} and per
 * {process, operation of the host}. Both maps
 * are mapped into user space, which reads them without a system call. */
#pragma once

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_CELLS);
	__type(key, u32);
	__type(value, struct cell);
} cells SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_CELLS);
	__type(key, u32);
	__type(value, struct bucket_row);
} buckets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_CALLS);
	__type(key, u32);
	__type(value, struct missed);
} missed_calls SEC(".maps");

struct cell_key {
	u32 tgid, row;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_CELLS);
	__type(key, struct cell_key);
	__type(value, u32);
} cell_index SEC(".maps");

u32 cells_used = MAX_CALLS; /* those beyond were never taken */

/* Indices that user space has cleared and given back. */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, MAX_CELLS);
	__type(value, u32);
} free_cells SEC(".maps");

static __noinline u32 take_cell(u32 tgid, u32 row, u64 start_boottime)
{
	struct cell_key key = { .tgid = tgid, .row = row };
	u32 *known = bpf_map_lookup_elem(&cell_index, &key), index;
	struct cell *c;

	if (known)
		return *known;
	if (bpf_map_pop_elem(&free_cells, &index))
		index = cells_used < MAX_CELLS ? __sync_fetch_and_add(&cells_used, 1) : MAX_CELLS;
	if (index >= MAX_CELLS)
		return row; /* none free: the cell all processes share */
	c = bpf_map_lookup_elem(&cells, &index);
	if (!c)
		return row;
	if (bpf_map_update_elem(&cell_index, &key, &index, BPF_NOEXIST)) {
		bpf_map_push_elem(&free_cells, &index, 0); /* another thread was first */
		known = bpf_map_lookup_elem(&cell_index, &key);
		return known ? *known : row;
	}
	c->start_boottime = start_boottime;
	c->row = row;
	c->tgid = tgid; /* last: readers skip cells without it */
	return index;
}

static __always_inline u32 cell_of(struct thread *th, struct task_struct *task, u32 row)
{
	u32 index = th->cells[row & (MAX_CALLS - 1)];

	if (!index) { /* stored plus one: 0 means not looked up */
		index = take_cell(task->tgid, row, task->group_leader->start_boottime) + 1;
		th->cells[row & (MAX_CALLS - 1)] = index;
	}
	return index - 1;
}

static __always_inline void count_missed(u32 row, bool deep)
{
	struct missed *m = bpf_map_lookup_elem(&missed_calls, &row);

	if (m)
		__sync_fetch_and_add(deep ? &m->too_deep : &m->no_thread, 1);
}

/* Counts one call and says if it is the slowest since user space last looked.
 * Counters are added to atomically even where they could be per CPU: a probe
 * can be preempted by another thread between load and store. */
static __always_inline bool count(struct cell *c, u32 index, u64 bytes, u64 dur, s32 ret, u32 depth)
{
	struct bucket_row *b = bpf_map_lookup_elem(&buckets, &index);
	u32 i = bucket_of(dur);

	if (b && i < BUCKETS)
		__sync_fetch_and_add(&b->count[i], 1);
	__sync_fetch_and_add(&c->sum_ns, dur);
	if (bytes)
		__sync_fetch_and_add(&c->bytes, bytes);
	if (depth)
		__sync_fetch_and_add(&c->nested, 1);
	if (ret)
		__sync_fetch_and_add(&c->errors, 1);
	if (dur <= c->max_ns)
		return false;
	c->max_ns = dur; /* a lost race leaves the highest bucket to tell */
	return true;
}
