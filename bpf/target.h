/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Which processes are traced, and the state kept for each of their threads. */
#pragma once

const volatile struct call_spec specs[MAX_CALLS] = {}; /* the table of calls */
const volatile u32 enrolling = ENROLL_NAMED; /* an enum enroll */
const volatile u32 enroll_uid = 0;

/* By tgid: 1 is traced, 0 is known not to be, 2 has its calls traced and
 * nothing else: ourselves, to measure. Follows forks (host/process.h). */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, u32);
	__type(value, u8);
} targets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} process_records SEC(".maps");

/* A call in flight. Traced functions call each other (cudaMalloc calls
 * cuMemAlloc_v2), so each thread has a small stack of them. */
struct frame {
	u64 sp; /* of the caller, before the return address */
	u64 ip; /* of the probe */
	u64 ret; /* where it returns to, if stacks are taken */
	u64 start_ns;
	u64 bytes;
	u64 handle;
	u64 out;
	u32 device;
	u16 row;
	u8 dir;
	u8 _pad;
	u64 runnable_ns; /* the thread's totals when the call began */
	u64 blocked_ns;
};

struct thread {
	u32 depth;
	s16 gpu; /* the device ordinal last selected */
	u16 exited;
	struct frame frames[MAX_DEPTH];
	u16 cells[MAX_CALLS]; /* this process's cell for each row; 0 is not looked up yet */
	/* the ledger */
	u32 state;
	u32 cpu;         /* where it runs or waits to */
	u64 capture;     /* the stream that it captures (capture.h); 0 is none */
	u64 since_ns;    /* settled up to here */
	u64 began_ns;    /* when the state began */
	u64 runnable_ns; /* totals, for the split of each call */
	u64 blocked_ns;
	u64 waker;       /* tgid and tid of who ended the last wait; 0 is not known */
	u64 waker_ns, waker_count; /* waits that it ended and that are not booked yet */
	u32 waker_state; /* what they were for */
	u32 file_kind;   /* a state, of the file that it waited for last */
	u64 file;
	char waker_comm[16];
	u32 seat;        /* among those that wait, all CPUs' in a row, plus one; 0 has none */
	u8 on_cpu;
	u8 faulting;     /* waits for a disk in a page fault */
	u8 reclaiming;   /* how deep inside reclaim */
	u8 _pad;
	/* the end of its last outermost call, for gaps */
	u64 left_ns, left_runnable_ns, left_blocked_ns;
	/* the host */
	u64 net_ns;      /* waited on sockets since its last operation on one */
	u64 reclaim_ns;  /* when it began to reclaim */
	u64 wakeups, pages, page_bytes; /* not yet counted in a cell */
	u64 switches;    /* of the task's own count, those that are */
	u16 entries[2 * MAX_CALLS]; /* its ledger entry for each place, plus one */
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct thread);
} threads SEC(".maps");

static __always_inline bool traced(u32 tgid)
{
	u8 *known = bpf_map_lookup_elem(&targets, &tgid);

	return known && *known == 1;
}

static __always_inline void tell_process(struct task_struct *task, u16 kind, u32 other, struct frame *f)
{
	struct process_record *r = bpf_ringbuf_reserve(&process_records, sizeof(*r), 0);

	if (!r)
		return; /* user space also looks into /proc */
	r->time_ns = bpf_ktime_get_ns();
	r->start_boottime = task->group_leader->start_boottime;
	r->cgroup = bpf_get_current_cgroup_id();
	r->call_start_ns = f ? f->start_ns : 0;
	r->pid = task->tgid;
	r->tid = task->pid;
	r->other = other;
	r->uid = (u32)bpf_get_current_uid_gid();
	r->status = task->exit_code;
	r->kind = kind;
	r->row = f ? f->row : 0;
	bpf_get_current_comm(r->comm, sizeof(r->comm));
	r->other_comm[0] = r->memory_group[0] = 0;
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
}

/* Decides once per process, at its first call into a probed library, so that
 * no call of a new process is missed. */
static __always_inline bool is_target(struct task_struct *task)
{
	u32 tgid = task->tgid;
	u8 *known = bpf_map_lookup_elem(&targets, &tgid), verdict;

	if (known)
		return *known;
	if (enrolling == ENROLL_NAMED)
		return false;
	verdict = enrolling == ENROLL_EVERYONE || (u32)bpf_get_current_uid_gid() == enroll_uid;
	bpf_map_update_elem(&targets, &tgid, &verdict, BPF_ANY);
	if (verdict)
		tell_process(task, PROCESS_FOUND, task->real_parent->tgid, NULL);
	return verdict;
}
