/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* The scheduler: what state a traced thread is in, who had the CPU it waited
 * for, and who ended its waits. */
#pragma once

const volatile bool switch_tells_state = true; /* sched_switch has prev_state: Linux 5.18 */

#define SLICES 128 /* of each CPU that are remembered; a power of two */
#define MAX_CPUS 1024

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

/* Says who ran on the CPU that the thread waited for since waiting_ns. Slices
 * that are forgotten already stay unnamed. */
static __noinline void name_thieves(struct thread *th, u32 victim, u64 now)
{
	u64 from, start, next;
	struct slice *s, *before;
	struct slices *all;
	u32 cpu, i;

	if (!th)
		return;
	cpu = th->cpu;
	from = th->waiting_ns;
	all = bpf_map_lookup_elem(&slices, &cpu);
	if (!all || !from || from >= now)
		return;
	next = all->next;
	for (i = 1; i < SLICES - 1; i++) {
		s = &all->ring[(next - i) & (SLICES - 1)];
		before = &all->ring[(next - i - 1) & (SLICES - 1)];
		if (s->end_ns > now || s->end_ns <= from || !before->end_ns)
			break;
		start = before->end_ns > from ? before->end_ns : from;
		if (s->end_ns > start)
			add_thief(victim, s, s->end_ns - start);
	}
	th->waiting_ns = 0;
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

SEC("tp_btf/sched_switch")
int sched_switch(u64 *ctx)
{
	struct task_struct *prev = (struct task_struct *)ctx[1], *next = (struct task_struct *)ctx[2];
	u32 state = RUNNABLE, prev_state;
	u64 now = bpf_ktime_get_ns();
	struct thread *th;
	bool preempt = ctx[0];

	log_slice(prev, now);
	th = bpf_task_storage_get(&threads, prev, NULL, 0);
	if (th && !th->exited) {
		prev_state = switch_tells_state ? ctx[3] : prev->__state;
		if (!preempt && prev_state)
			state = blocked_state(prev, th, prev_state);
		change(th, prev, now, state);
		th->cpu = bpf_get_smp_processor_id();
		th->waiting_ns = state == RUNNABLE ? now : 0;
	}
	th = bpf_task_storage_get(&threads, next, NULL, 0);
	if (th && !th->exited) {
		if (th->waiting_ns)
			name_thieves(th, next->tgid, now);
		change(th, next, now, RUNNING);
		th->cpu = bpf_get_smp_processor_id();
	}
	return 0;
}

/* The preemption count is a per-CPU variable on x86, by itself or (6.2 to 6.14)
 * in pcpu_hot; arm64 keeps it in the thread. */
extern void __per_cpu_offset __ksym __weak;
extern void __preempt_count __ksym __weak;
extern void pcpu_hot __ksym __weak;

/* Whether we are called for an interrupt; then the current thread has nothing
 * to do with it. When that is not known, nobody is named rather than the wrong
 * one. */
static __noinline bool in_interrupt(void)
{
	const u32 irq = 0x00ffff00; /* soft, hard and NMI: include/linux/preempt.h */
#if defined(__TARGET_ARCH_x86)
	u64 base = 0, at = (u64)&__preempt_count;
	int count = 0;

	if (!at && &pcpu_hot)
		at = (u64)&pcpu_hot + bpf_core_field_offset(struct pcpu_hot, preempt_count);
	if (!at || !&__per_cpu_offset)
		return true;
	if (bpf_probe_read_kernel(&base, sizeof(base), (void *)((u64)&__per_cpu_offset + 8 * bpf_get_smp_processor_id())) ||
	    bpf_probe_read_kernel(&count, sizeof(count), (void *)(base + at)))
		return true;
	return count & irq;
#else
	return BPF_CORE_READ(bpf_get_current_task_btf(), thread_info.preempt.count) & irq;
#endif
}

SEC("tp_btf/sched_waking")
int BPF_PROG(sched_waking, struct task_struct *task)
{
	struct thread *th = bpf_task_storage_get(&threads, task, NULL, 0);
	u64 now, began;

	if (!th || th->exited || th->state < DISK)
		return 0;
	now = bpf_ktime_get_ns();
	began = th->began_ns;
	if (!in_interrupt()) {
		th->waker = bpf_get_current_pid_tgid();
		bpf_get_current_comm(th->waker_comm, sizeof(th->waker_comm));
		name_waker(th, task, now - began);
	}
	change(th, task, now, RUNNABLE);
	th->waiting_ns = now;
	return 0;
}

SEC("tp_btf/sched_migrate_task")
int BPF_PROG(sched_migrate_task, struct task_struct *task, int dest)
{
	struct thread *th = bpf_task_storage_get(&threads, task, NULL, 0);
	u64 now;

	if (!th)
		return 0;
	if (th->waiting_ns) {
		now = bpf_ktime_get_ns();
		name_thieves(th, task->tgid, now);
		th->waiting_ns = now;
	}
	th->cpu = dest;
	return 0;
}

SEC("tp_btf/mm_vmscan_direct_reclaim_begin")
int BPF_PROG(reclaim_begin)
{
	struct thread *th = bpf_task_storage_get(&threads, bpf_get_current_task_btf(), NULL, 0);

	if (th)
		th->reclaiming = 1;
	return 0;
}

SEC("tp_btf/mm_vmscan_direct_reclaim_end")
int BPF_PROG(reclaim_end)
{
	struct thread *th = bpf_task_storage_get(&threads, bpf_get_current_task_btf(), NULL, 0);

	if (th)
		th->reclaiming = 0;
	return 0;
}

/* Once a second user space walks over all threads: those of traced processes
 * that we have not met get their books, and all books are brought up to now,
 * so that a thread which has been waiting for minutes shows it. */
SEC("iter/task")
int look_at_threads(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct thread *th;
	u64 now;

	if (!task)
		return 0;
	th = bpf_task_storage_get(&threads, task, NULL, 0);
	now = bpf_ktime_get_ns();
	if (th) {
		if (!th->exited)
			settle(th, task, now);
		return 0;
	}
	if (!traced(task->tgid))
		return 0;
	th = bpf_task_storage_get(&threads, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (th)
		open_books(th, now, task->on_cpu ? RUNNING : task->__state ? blocked_state(task, th, task->__state) : RUNNABLE);
	return 0;
}
