/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Who made a recorded call: its stack, told to user space once. A call that
 * is not recorded costs one word read from its stack, and nothing else. */
#pragma once

const volatile bool stacks = false;       /* take stacks of recorded calls */
const volatile bool stack_samples = true; /* also of fast calls that are only samples */

u32 taking = 1;      /* 0 while what a call costs without is measured */
u64 stacks_lost = 0; /* stacks that could not be told; the next call tries again */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} stack_records SEC(".maps");

/* By hash: the stacks that user space has, and their processes. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, u64);
	__type(value, u8);
} told_stacks SEC(".maps");

/* Where a thread puts a stack together: not per CPU, since a probe can be
 * preempted by another thread's. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct stack_record);
} stack_scratch SEC(".maps");

static __always_inline bool has_stack(enum why why)
{
	return stacks && taking && (why == WANTED || stack_samples);
}

/* Where the kernel makes probed functions return to, instead of to their
 * caller; 0 if it is not known. */
static __always_inline u64 trampoline_of(struct task_struct *task)
{
	struct xol_area *area;

	if (!bpf_core_field_exists(struct xol_area, vaddr))
		return 0;
	area = BPF_CORE_READ(task, mm, uprobes_state.xol_area);
	return area ? BPF_CORE_READ(area, vaddr) : 0;
}

static __always_inline u64 mix(u64 hash, u64 value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15;
	return hash ^ hash >> 32;
}

/* Of the addresses as they were found, and of those that they stand for. */
static __noinline u64 hash_of(struct stack_record *s, u64 hash)
{
	u32 i;

	for (i = 0; i < MAX_DEPTH; i++)
		hash = mix(hash, s->returns[i]);
	for (i = 0; i < MAX_STACK; i++) {
		if (i >= s->natives)
			break;
		hash = mix(hash, s->ips[i]);
	}
	for (i = 0; i < PY_FRAMES; i++) {
		if (i >= s->pythons)
			break;
		hash = mix(mix(hash, s->py[i].code), s->py[i].instr);
	}
	return hash ? hash : 1;
}

static __always_inline bool is_told(u64 hash) { return bpf_map_lookup_elem(&told_stacks, &hash); }

static __always_inline void set_told(u64 hash)
{
	u8 yes = 1;

	bpf_map_update_elem(&told_stacks, &hash, &yes, BPF_ANY);
}

/* Returns the hash of the stack of call f, which is about to begin (entered)
 * or has just returned, and tells user space the stack if it is new; 0 if
 * there is none. The first stack of a process sets *urgent, and each with
 * Python frames: the process, or the code object, may soon be gone, and with it
 * what the addresses mean. */
static __noinline u64 stack_of(struct pt_regs *ctx, struct thread *th, u32 at, bool entered, bool *urgent)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct frame *f = &th->frames[at & (MAX_DEPTH - 1)];
	struct stack_record *s = bpf_task_storage_get(&stack_scratch, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	u64 process, hash;
	u32 i, pythons;

	if (!s) {
		__sync_fetch_and_add(&stacks_lost, 1);
		return 0;
	}
	s->natives = native_stack(ctx, &s->ips[1]) + 1;
	pythons = python_stack(task, s->py);
	s->pythons = pythons = pythons < PY_FRAMES ? pythons : PY_FRAMES;
	s->ips[0] = f->ip;
	if (entered || s->natives < 2) {
		s->ips[1] = f->ret; /* in place of the function itself */
		s->natives = s->natives < 2 ? 2 : s->natives;
	}
	for (i = 0; i < MAX_DEPTH; i++)
		s->returns[i] = i < at ? th->frames[i].ret : 0;
	process = mix(mix(0, task->group_leader->start_boottime), task->tgid);
	hash = hash_of(s, process);
	if (is_told(hash))
		return hash;
	s->hash = hash;
	s->start_boottime = task->group_leader->start_boottime;
	s->pid = task->tgid;
	s->tid = task->pid;
	s->row = f->row;
	s->entered = entered;
	s->trampoline = trampoline_of(task);
	if (bpf_ringbuf_output(&stack_records, s, offsetof(struct stack_record, py) + pythons * sizeof(struct py_frame),
			       BPF_RB_NO_WAKEUP)) {
		__sync_fetch_and_add(&stacks_lost, 1);
		return hash;
	}
	set_told(hash);
	if (pythons || !is_told(process)) {
		set_told(process);
		*urgent = true;
	}
	return hash;
}
