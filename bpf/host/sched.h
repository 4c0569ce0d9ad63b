/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* The scheduler: what state a traced thread is in. */
#pragma once

const volatile u32 wakes_of[512] = {}; /* by number of the system call: states it can end */
const volatile bool switch_tells_state = true; /* sched_switch has prev_state: Linux 5.18 */

const volatile u32 row_major_fault = NO_ROW;

SEC("tp_btf/sched_switch")
int sched_switch(u64 *ctx)
{
	struct task_struct *prev = (struct task_struct *)ctx[1], *next = (struct task_struct *)ctx[2];
	u32 state = RUNNABLE, prev_state, cpu = bpf_get_smp_processor_id();
	u64 now = bpf_ktime_get_ns();
	struct thread *th;
	bool preempt = ctx[0];

	end_slice(prev, next, cpu, now);
	th = bpf_task_storage_get(&threads, prev, NULL, 0);
	if (th && !th->exited) {
		prev_state = switch_tells_state ? ctx[3] : prev->__state;
		if (!preempt && prev_state)
			state = blocked_state(prev, th, prev_state);
		change(th, prev, now, state);
		th->on_cpu = 0;
		leave_seat(th, prev->pid, now); /* it has none, unless we were not told that it got the CPU */
		th->cpu = cpu;
		if (state == RUNNABLE)
			take_seat(th, prev, cpu, now);
	}
	th = bpf_task_storage_get(&threads, next, NULL, 0);
	if (th && !th->exited) {
		leave_seat(th, next->pid, now);
		change(th, next, now, th->reclaiming ? RECLAIM : RUNNING);
		th->on_cpu = 1;
		th->cpu = cpu;
	}
	return 0;
}

/* Whether the current thread is ending a wait of that kind, or an interrupt
 * does and the thread has nothing to do with it: it must be in a system call
 * that can end such a wait. Rather nobody is named than the wrong one. */
static __noinline bool can_end(u32 state)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	u64 nr = SYSCALL_NUMBER(regs);

	return nr < 512 && wakes_of[nr] & 1U << (state & 31);
}

SEC("tp_btf/sched_waking")
int BPF_PROG(sched_waking, struct task_struct *task)
{
	struct thread *th = bpf_task_storage_get(&threads, task, NULL, 0);
	u64 now, began;

	if (!th || th->exited || th->on_cpu || th->state < DISK)
		return 0;
	now = bpf_ktime_get_ns();
	began = th->began_ns;
	th->wakeups++;
	if (can_end(th->state))
		name_waker(th, task, now - began);
	if (th->faulting) {
		th->faulting = 0;
		count_operation(th, task, row_major_fault, 0, now - began);
	}
	change(th, task, now, RUNNABLE);
	take_seat(th, task, th->cpu, now);
	return 0;
}

SEC("tp_btf/sched_migrate_task")
int BPF_PROG(sched_migrate_task, struct task_struct *task, int dest)
{
	struct thread *th = bpf_task_storage_get(&threads, task, NULL, 0);
	u64 now;

	if (!th)
		return 0;
	if (th->state == RUNNABLE && !th->on_cpu) {
		now = bpf_ktime_get_ns();
		take_seat(th, task, dest, now);
	}
	th->cpu = dest;
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
	u32 state;

	if (!task)
		return 0;
	th = bpf_task_storage_get(&threads, task, NULL, 0);
	now = bpf_ktime_get_ns();
	if (th) {
		if (!th->exited) {
			settle(th, task, now);
			check_capture(th, task);
			count_tallies(th, task);
			book_waker(th, task);
		}
		return 0;
	}
	if (!traced(task->tgid))
		return 0;
	th = bpf_task_storage_get(&threads, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!th)
		return 0;
	state = task->on_cpu ? RUNNING : task->__state ? blocked_state(task, th, task->__state) : RUNNABLE;
	open_books(th, task, now, state);
	return 0;
}
