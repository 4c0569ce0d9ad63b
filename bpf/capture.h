/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Which threads capture a CUDA graph: from the return of the call that begins a
 * capture to the call that ends it, what the host does is neither work of the
 * device nor between two pieces of it. Only outermost calls count: the runtime
 * asks the driver. */
#pragma once

#define BETWEEN MAX_CALLS /* the place outside of all traced calls and captures */
#define PLACE_MASK (2 * MAX_CALLS - 1)

/* Stream 0 of functions compiled for per-thread streams (cudaStreamPerThread);
 * that of others cannot be captured. */
#define PER_THREAD_STREAM 2

const volatile u32 row_capturing = NO_ROW; /* the place of a thread that captures */

struct capture_key {
	u64 stream;
	u32 tgid, _pad;
};

/* Streams that are being captured: another thread may end it. What nobody ends
 * is pushed out by others. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct capture_key);
	__type(value, u8);
} captures SEC(".maps");

/* Where a thread is: inside its outermost call, capturing, or between calls. */
static __always_inline u32 place_of(struct thread *th)
{
	u32 row = th->frames[0].row & (MAX_CALLS - 1);

	if (!th->capture)
		return th->depth ? row : BETWEEN;
	return th->depth && specs[row].capture != CAPTURE_RECORDS ? row : row_capturing;
}

/* An outermost call has returned. A thread that captures several streams does
 * so until it ends the first. What it never ends is over when it launches a
 * graph or has waited for the device, which is refused meanwhile. (A graph that
 * is launched into a capture, to become part of it, ends it here too early.) */
static __noinline void note_capture(struct thread *th, struct frame *f, u32 tgid, s32 ret)
{
	struct capture_key key = { .tgid = tgid };
	u8 yes = 1;

	if (!th || !f)
		return;
	key.stream = f->handle ?: PER_THREAD_STREAM;
	switch (specs[f->row & (MAX_CALLS - 1)].capture) {
	case CAPTURE_BEGINS:
		if (ret || th->capture)
			return;
		bpf_map_update_elem(&captures, &key, &yes, BPF_ANY);
		th->capture = key.stream;
		return;
	case CAPTURE_ENDS:
		if (ret && th->capture != key.stream)
			return; /* it is not for this thread to end */
		break;
	case CAPTURE_OVER:
		if (ret || !th->capture)
			return;
		key.stream = th->capture;
		break;
	}
	bpf_map_delete_elem(&captures, &key);
	if (th->capture == key.stream)
		th->capture = 0;
}

/* Once a second: another thread may have ended the capture. */
static __always_inline void check_capture(struct thread *th, struct task_struct *task)
{
	struct capture_key key = { .stream = th->capture, .tgid = task->tgid };

	if (key.stream && !bpf_map_lookup_elem(&captures, &key))
		th->capture = 0;
}
