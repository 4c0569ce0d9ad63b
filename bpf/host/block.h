/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Block devices: requests of traced processes, and who else uses the device.
 * A request belongs to the task that made it, which need not be the one that
 * hands it to the device when the scheduler says so. What the kernel does on
 * its own behalf, such as writing back a file's pages, belongs to nobody. */
#pragma once

const volatile u32 row_block_read = NO_ROW;
const volatile u32 row_block_write = NO_ROW;
const volatile u32 row_block_discard = NO_ROW;

#define PF_KTHREAD 0x00200000
/* include/linux/blk_types.h */
#define REQ_OP_MASK 0xff
#define REQ_OP_READ 0
#define REQ_OP_WRITE 1
#define REQ_OP_DISCARD 3
#define REQ_OP_SECURE_ERASE 5
#define REQ_OP_WRITE_ZEROES 9

/* A request on its way. */
struct request_state {
	u64 start_ns; /* when it was handed to the device; 0: not yet */
	u64 cgroup;
	u32 tgid, tid;
	u32 bytes;
	u32 dev;  /* major << 20 | minor of the whole disk, as in the kernel */
	u32 row;
	u32 cell; /* plus one; 0: the process is not traced */
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, u64); /* the request's address */
	__type(value, struct request_state);
} requests SEC(".maps");

struct request___old { /* before Linux 5.17 */
	struct gendisk *rq_disk;
} __attribute__((preserve_access_index));

static __always_inline u32 device_of(struct request *rq)
{
	struct gendisk *disk = NULL;

	if (bpf_core_field_exists(((struct request_queue *)0)->disk))
		disk = BPF_CORE_READ(rq, q, disk);
	else
		disk = BPF_CORE_READ((struct request___old *)rq, rq_disk);
	return disk ? BPF_CORE_READ(disk, major) << 20 | BPF_CORE_READ(disk, first_minor) : 0;
}

static __always_inline u32 row_of_request(u32 flags)
{
	switch (flags & REQ_OP_MASK) {
	case REQ_OP_READ:
		return row_block_read;
	case REQ_OP_WRITE:
		return row_block_write;
	case REQ_OP_DISCARD:
	case REQ_OP_SECURE_ERASE:
	case REQ_OP_WRITE_ZEROES:
		return row_block_discard;
	}
	return NO_ROW; /* a flush, or a driver's own */
}

/* Notes that the current task has made a request. */
static __always_inline void make_request(struct request *rq, u64 start, u64 flags)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct request_state r = { .start_ns = start, .bytes = rq->__data_len };
	u64 key = (u64)rq;
	struct thread *th;

	r.row = row_of_request(rq->cmd_flags);
	if (r.row >= MAX_CALLS)
		return;
	r.dev = device_of(rq);
	if (!(task->flags & PF_KTHREAD)) {
		r.tgid = task->tgid;
		r.tid = task->pid;
		r.cgroup = bpf_get_current_cgroup_id();
		bpf_get_current_comm(r.comm, sizeof(r.comm));
		th = acting(task);
		if (th)
			r.cell = cell_of(th, task, r.row) + 1;
	}
	bpf_map_update_elem(&requests, &key, &r, flags);
}

SEC("tp_btf/block_io_start") /* Linux 6.5 */
int BPF_PROG(block_start, struct request *rq)
{
	make_request(rq, 0, BPF_ANY);
	return 0;
}

/* The best that older kernels have: into the scheduler's queue. */
SEC("tp_btf/block_rq_insert")
int BPF_PROG(block_insert, struct request *rq)
{
	u64 key = (u64)rq;

	if (!bpf_map_lookup_elem(&requests, &key))
		make_request(rq, 0, BPF_NOEXIST);
	return 0;
}

SEC("tp_btf/block_rq_issue")
int BPF_PROG(block_issue, struct request *rq)
{
	u64 key = (u64)rq, now = bpf_ktime_get_ns();
	struct request_state *r = bpf_map_lookup_elem(&requests, &key);

	if (!r) {
		make_request(rq, now, BPF_ANY);
		return 0;
	}
	r->start_ns = now;
	r->bytes = rq->__data_len; /* others may have been merged into it */
	return 0;
}

static __always_inline void record_request(struct cell *c, struct request_state *r, u64 ns, s32 error)
{
	struct call_record *e = begin_record(c);

	if (!e)
		return;
	__builtin_memset(e, 0, sizeof(*e));
	e->start_ns = r->start_ns;
	e->dur_ns = ns;
	e->bytes = r->bytes;
	e->handle = r->dev;
	e->cgroup = r->cgroup;
	e->pid = r->tgid;
	e->tid = r->tid;
	e->ret = error;
	e->row = r->row;
	__builtin_memcpy(e->comm, r->comm, sizeof(e->comm));
	end_record(e, false);
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(block_complete, struct request *rq, u8 error, u32 bytes)
{
	u64 key = (u64)rq, now = bpf_ktime_get_ns(), ns;
	struct request_state *r;
	struct cell *c;
	u32 index;

	if (bytes < rq->__data_len)
		return 0; /* a part of it */
	r = bpf_map_lookup_elem(&requests, &key);
	if (!r || !r->start_ns)
		return 0;
	ns = now - r->start_ns;
	add_rival(r->tgid, r->dev, r->bytes, ns, r->comm);
	index = r->cell - 1;
	c = r->cell ? bpf_map_lookup_elem(&cells, &index) : NULL;
	/* the process may have ended, and the cell be another's */
	if (c && c->row == r->row && (!c->tgid || c->tgid == r->tgid)) {
		bool slowest = count(c, index, r->bytes, ns, error, 0);

		if (wanted(c, slowest, ns, error, now))
			record_request(c, r, ns, error);
	}
	bpf_map_delete_elem(&requests, &key);
	return 0;
}
