/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Memory: pages allocated, reclaim, and who is killed for want of it. */
#pragma once

const volatile u32 row_direct_reclaim = NO_ROW;
const volatile u32 row_oom_kill = NO_ROW;
const volatile bool victim_is_task = true; /* mark_victim's argument is a task: Linux 6.9 */

SEC("tp_btf/mm_page_alloc")
int BPF_PROG(page_alloc, struct page *page, u32 order)
{
	struct thread *th = bpf_task_storage_get(&threads, bpf_get_current_task_btf(), NULL, 0);

	if (!th || !page)
		return 0;
	__sync_fetch_and_add(&th->pages, 1);
	__sync_fetch_and_add(&th->page_bytes, 4096ULL << (order & 31));
	return 0;
}

/* The thread frees memory, for all or for its cgroup, before it gets any. One
 * kind can happen inside the other. */
static __always_inline int begin_reclaim(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct thread *th = acting(task);

	if (!th || th->reclaiming++)
		return 0;
	th->reclaim_ns = bpf_ktime_get_ns();
	change(th, task, th->reclaim_ns, RECLAIM);
	return 0;
}

static __always_inline int end_reclaim(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct thread *th = acting(task);
	u64 now;

	if (!th || !th->reclaiming || --th->reclaiming)
		return 0;
	now = bpf_ktime_get_ns();
	change(th, task, now, RUNNING);
	count_operation(th, task, row_direct_reclaim, 0, now - th->reclaim_ns);
	return 0;
}

SEC("tp_btf/mm_vmscan_direct_reclaim_begin")
int BPF_PROG(reclaim_begin)
{
	return begin_reclaim();
}

SEC("tp_btf/mm_vmscan_direct_reclaim_end")
int BPF_PROG(reclaim_end)
{
	return end_reclaim();
}

SEC("tp_btf/mm_vmscan_memcg_reclaim_begin")
int BPF_PROG(group_reclaim_begin)
{
	return begin_reclaim();
}

SEC("tp_btf/mm_vmscan_memcg_reclaim_end")
int BPF_PROG(group_reclaim_end)
{
	return end_reclaim();
}

/* Tells of a victim before it dies. The current task wanted the memory. */
static __always_inline void tell_victim(struct task_struct *victim, u32 tgid)
{
	struct process_record *r = bpf_ringbuf_reserve(&process_records, sizeof(*r), 0);
	u32 memory = bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id);
	struct cgroup_subsys_state *group;

	if (!r)
		return;
	__builtin_memset(r, 0, sizeof(*r));
	r->time_ns = bpf_ktime_get_ns();
	r->pid = r->tid = tgid;
	r->other = bpf_get_current_pid_tgid() >> 32;
	r->kind = PROCESS_OOM;
	bpf_get_current_comm(r->other_comm, sizeof(r->other_comm));
	if (victim) {
		r->tid = victim->pid;
		r->start_boottime = victim->group_leader->start_boottime;
		r->cgroup = BPF_CORE_READ(victim, cgroups, dfl_cgrp, kn, id);
		bpf_probe_read_kernel(r->comm, sizeof(r->comm), victim->comm);
		group = BPF_CORE_READ(victim, cgroups, subsys[memory & 15]);
		bpf_probe_read_kernel_str(r->memory_group, sizeof(r->memory_group), BPF_CORE_READ(group, cgroup, kn, name));
	}
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
}

SEC("tp_btf/mark_victim")
int oom_kill(u64 *ctx)
{
	struct task_struct *victim = NULL;
	u32 tgid, index;
	struct cell *c;
	u64 start = 0;

	if (victim_is_task) {
		victim = (struct task_struct *)ctx[0];
		tgid = victim->tgid;
		start = victim->group_leader->start_boottime;
	} else {
		tgid = ctx[0];
	}
	if (!traced(tgid))
		return 0;
	index = take_cell(tgid, row_oom_kill, start);
	c = bpf_map_lookup_elem(&cells, &index);
	if (c)
		count(c, index, 0, 0, 0, 0);
	tell_victim(victim, tgid);
	return 0;
}
