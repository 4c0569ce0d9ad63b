/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Life of traced processes: fork, exec, exit. */
#pragma once

SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_fork, struct task_struct *parent, struct task_struct *child)
{
	u32 tgid = child->tgid;
	struct thread *th;
	u8 yes = 1;

	if (!traced(parent->tgid))
		return 0;
	th = bpf_task_storage_get(&threads, child, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (th)
		open_books(th, child, bpf_ktime_get_ns(), RUNNABLE);
	if (tgid == parent->tgid)
		return 0; /* a thread */
	bpf_map_update_elem(&targets, &tgid, &yes, BPF_ANY);
	tell_process(parent, PROCESS_FORK, tgid, NULL);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *task)
{
	struct thread *th;

	if (!traced(task->tgid))
		return 0;
	th = bpf_task_storage_get(&threads, task, NULL, 0);
	if (th) {
		settle(th, task, bpf_ktime_get_ns());
		th->depth = th->gpu = 0; /* no call and no device survives its program */
		th->left_ns = th->capture = 0;
	}
	tell_process(task, PROCESS_EXEC, task->real_parent->tgid, NULL);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
	struct cell_key key = { .tgid = task->tgid };
	struct thread *th;
	u32 tgid = task->tgid, row;
	bool yes;

	if (traced(tgid)) {
		th = bpf_task_storage_get(&threads, task, NULL, 0);
		if (th && th->depth)
			tell_process(task, THREAD_DIED_IN_CALL, task->real_parent->tgid, &th->frames[0]);
		if (th) {
			close_books(th, task);
			count_tallies(th, task);
			book_waker(th, task);
		}
	}
	if (task->signal->live.counter > 0)
		return 0; /* other threads live on */
	yes = traced(tgid);
	/* The last two threads may both find nobody alive: one of them removes
	 * the process and tells of it. */
	if (bpf_map_delete_elem(&targets, &tgid) || !yes)
		return 0;
	/* The number may be used again at once: a new process must not find the
	 * old one's cells. User space still drains them. */
	for (row = 0; row < MAX_CALLS; row++) {
		key.row = row;
		bpf_map_delete_elem(&cell_index, &key);
	}
	tell_process(task, PROCESS_EXIT, task->real_parent->tgid, NULL);
	return 0;
}
