/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Who ended the waits of a traced thread. */
#pragma once

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

/* Books what is known of the thread's last waker. */
static __noinline void book_waker(struct thread *th, struct task_struct *task)
{
	u64 ns, count;
	struct waker_key key = {};
	struct pair *p, fresh = {};

	if (!th || !task || !th->waker)
		return;
	ns = __sync_lock_test_and_set(&th->waker_ns, 0);
	count = __sync_lock_test_and_set(&th->waker_count, 0);
	if (!count)
		return;
	key.tgid = task->tgid;
	key.tid = task->pid;
	key.state = th->waker_state;
	key.other_tgid = th->waker >> 32;
	key.other_tid = th->waker;
	p = bpf_map_lookup_elem(&wakers, &key);
	if (p) {
		__sync_fetch_and_add(&p->ns, ns);
		__sync_fetch_and_add(&p->count, count);
		return;
	}
	fresh.ns = ns;
	fresh.count = count;
	__builtin_memcpy(fresh.comm, th->waker_comm, sizeof(fresh.comm));
	bpf_map_update_elem(&wakers, &key, &fresh, BPF_NOEXIST);
}

/* The current thread ends a wait of ns. It is often the same one: that is
 * added up in the thread, and booked when another comes or a second is over. */
static __always_inline void name_waker(struct thread *th, struct task_struct *task, u64 ns)
{
	u64 waker = bpf_get_current_pid_tgid();

	if (th->waker != waker || th->waker_state != th->state) {
		book_waker(th, task);
		th->waker = waker;
		th->waker_state = th->state;
		bpf_get_current_comm(th->waker_comm, sizeof(th->waker_comm));
	}
	th->waker_ns += ns; /* wake-ups of one thread come one by one */
	th->waker_count++;
}
