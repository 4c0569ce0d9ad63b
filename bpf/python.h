/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* The Python stack of the running thread, read from the memory of CPython.
 * Nothing there is trusted: loops are bounded, a read that fails ends the
 * stack. With PYTHON_PLAIN_C this is plain C: the includer says how to read
 * memory and what is known of the process and the thread. */
#pragma once

#include "python_types.h"

#define PY_THREADS 512 /* steps through the lists of interpreters and threads */
#define PY_STEPS 96   /* frames looked at; the interpreter's own are not kept */

#ifndef PYTHON_PLAIN_C
#define PY_READ(to, size, from) bpf_probe_read_user(to, size, (void *)(from))

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, u32); /* tgid */
	__type(value, struct py_process);
} py_processes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct py_thread);
} py_threads SEC(".maps");

static __always_inline struct py_process *py_process_of(struct task_struct *task)
{
	u32 tgid = task->tgid;

	return bpf_map_lookup_elem(&py_processes, &tgid);
}

static __always_inline struct py_thread *py_thread_of(struct task_struct *task)
{
	return bpf_task_storage_get(&py_threads, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
}

/* What the interpreter calls the thread: pthread_self() is the thread pointer
 * on amd64; elsewhere its number in its own PID namespace is used. */
static __always_inline u64 py_self(struct task_struct *task, u32 flags)
{
	struct pid *pid;
	u32 level, number = 0;

	if (!(flags & PY_NATIVE_ID))
		return THREAD_POINTER(task);
	pid = BPF_CORE_READ(task, thread_pid);
	level = BPF_CORE_READ(pid, level);
	bpf_probe_read_kernel(&number, sizeof(number),
			      (void *)pid + bpf_core_field_offset(pid->numbers) +
				      (level & 31) * bpf_core_type_size(struct upid) +
				      bpf_core_field_offset(((struct upid *)0)->nr));
	return number;
}
#endif

/* Returns 0 for what cannot be read: PY_READ leaves zeros. To test for that
 * would give the verifier twice as many paths at every read. */
static __always_inline u64 py_word(u64 from)
{
	u64 word = 0;

	PY_READ(&word, sizeof(word), from);
	return word;
}

static __always_inline u64 py_top(struct py_process *p, u64 state)
{
	u64 frame = py_word(state + p->thread_frame);

	return frame && p->flags & PY_CFRAME ? py_word(frame + p->cframe_current) : frame;
}

/* Differs once a thread state was added: that is done at the head. */
static __always_inline u64 py_stamp(struct py_process *p, u64 interp)
{
	u64 head = py_word(interp + p->interp_threads);

	return head ? head + 3 * py_word(head + p->thread_id) + 5 * py_word(head + p->thread_next) : 0;
}

/* Functions that are not static are verified once, not for each caller; they
 * must check their arguments for NULL. */

/* Searches the threads of all interpreters, the newest interpreter first, for
 * one with this id that has frames, else for any with this id. */
__noinline u64 py_find(struct py_process *p, u64 interp, u64 self)
{
	u64 state = 0, idle = 0;
	u32 i;

	if (!p)
		return 0;
	for (i = 0; i < PY_THREADS; i++) {
		if (!state) {
			if (!interp)
				break;
			state = py_word(interp + p->interp_threads);
			interp = py_word(interp + p->interp_next);
			continue;
		}
		if (py_word(state + p->thread_id) == self) {
			if (py_top(p, state))
				return state;
			idle = state;
		}
		state = py_word(state + p->thread_next);
	}
	return idle;
}

/* Returns the innermost frame of the thread, by the state found last while that
 * is its own. Threads without one search only when a state was added since. */
static __noinline u64 py_innermost(struct py_process *p, struct py_thread *th, u64 self)
{
	u64 interp = py_word(p->interpreters), top, stamp;
	bool alone;

	if (!interp)
		return 0;
	alone = !py_word(interp + p->interp_next);
	if (alone && th->state && py_word(th->state + p->thread_id) == self) {
		top = py_top(p, th->state);
		if (top)
			return top;
	}
	stamp = py_stamp(p, interp);
	if (alone && stamp == th->stamp)
		return 0;
	th->state = py_find(p, interp, self);
	if (!th->state) /* the list changes under us: threads that C made come and go */
		th->state = py_find(p, interp, self);
	if (!th->state)
		th->state = py_find(p, interp, self);
	th->stamp = stamp;
	return th->state ? py_top(p, th->state) : 0;
}

struct py_stack {
	struct py_frame frames[PY_FRAMES];
};

/* Follows the frames from the innermost. */
__noinline u32 py_follow(struct py_process *p, struct py_stack *to, u64 frame)
{
	u64 raw[PY_FRAME_BYTES / 8] = {}, mark = frame, code, instr, kept;
	u32 i, n = 0, size;

	if (!p || !to)
		return 0;
	for (i = 0; i < PY_STEPS && frame; i++) {
		size = p->frame_bytes;
		if (size > sizeof(raw) || n >= PY_FRAMES || PY_READ(raw, size, frame))
			break;
		instr = raw[p->frame_instr / 8 % (PY_FRAME_BYTES / 8)];
		if (p->flags & PY_LASTI)
			instr = (s64)((s32 *)raw)[p->frame_instr / 4 % (PY_FRAME_BYTES / 4)];
		/* The low bits are the interpreter's: a tagged reference. */
		code = raw[p->frame_code / 8 % (PY_FRAME_BYTES / 8)] & ~7ULL;
		code |= ((u8 *)raw)[p->frame_entry % PY_FRAME_BYTES] & p->entry_mask & 1;
		code |= (p->flags & PY_LASTI) / PY_LASTI; /* 3.10 has C call for every frame */
		to->frames[n & (PY_FRAMES - 1)].code = code;
		to->frames[n & (PY_FRAMES - 1)].instr = instr;
		/* The next frame takes the place of one of the interpreter's own,
		 * which stands where C called. With branches, the verifier would
		 * look at every number of frames kept. */
		kept = ((u8 *)raw)[p->frame_owner % PY_FRAME_BYTES] - (u64)p->owner_c;
		asm volatile("" : "+r"(kept));
		kept >>= 63;
		to->frames[(n - 1) & (PY_FRAMES - 1)].code |= kept ^ 1;
		n += kept;
		frame = raw[p->frame_previous / 8 % (PY_FRAME_BYTES / 8)];
		if (frame == mark)
			break; /* a loop */
		if (!(i & (i + 1)))
			mark = frame;
	}
	return n;
}

/* Fills PY_FRAMES frames at most, the innermost first, and returns how many. */
static __noinline u32 python_stack(struct task_struct *task, struct py_frame *frames)
{
	struct py_process *p = py_process_of(task);
	struct py_thread *th;
	u64 frame;

	if (!p)
		return 0;
	th = py_thread_of(task);
	if (!th)
		return 0;
	frame = py_innermost(p, th, py_self(task, p->flags));
	return frame ? py_follow(p, (struct py_stack *)frames, frame) : 0;
}
