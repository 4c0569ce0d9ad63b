//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* The kernel's walker as an ordinary program. Standard input: a struct
 * py_process, what the interpreter calls the thread, what is remembered of it.
 * Then each read of memory is asked for on standard output, as a 0, an address
 * and a size, and answered on standard input by a byte, 1 if it can be read,
 * and the content. At the end: a 1, a 0, the number of frames, the frames and
 * what is remembered; then the next thread, until the end of the input. */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef int32_t s32;
typedef uint64_t u64;
typedef int64_t s64;
struct task_struct;
#define PYTHON_PLAIN_C
#define __noinline __attribute__((noinline))
#define PY_READ(to, size, from) ask(to, size, from)

static void get(void *to, size_t size)
{
	for (ssize_t n; size; size -= n, to = (char *)to + n)
		if ((n = read(0, to, size)) <= 0)
			_exit(0);
}

static void put(const void *from, size_t size)
{
	for (ssize_t n; size; size -= n, from = (const char *)from + n)
		if ((n = write(1, from, size)) <= 0)
			_exit(1);
}

static int ask(void *to, u64 size, u64 from)
{
	u64 question[3] = { 0, from, size };
	u8 readable;

	memset(to, 0, size);
	put(question, sizeof(question));
	get(&readable, 1);
	if (!readable)
		return -14;
	get(to, size);
	return 0;
}

struct py_process;
struct py_thread;
static struct py_process *py_process_of(struct task_struct *task);
static struct py_thread *py_thread_of(struct task_struct *task);
static u64 self;
static u64 py_self(struct task_struct *task, u32 flags) { return self; }

#include "python.h"

static struct py_process process;
static struct py_thread thread;
static struct py_process *py_process_of(struct task_struct *task) { return &process; }
static struct py_thread *py_thread_of(struct task_struct *task) { return &thread; }

int main(void)
{
	struct py_frame frames[PY_FRAMES + 1];
	u64 end[3] = { 1 };

	for (;;) {
		get(&process, sizeof(process));
		get(&self, sizeof(self));
		get(&thread, sizeof(thread));
		memset(frames, 0xa5, sizeof(frames));
		end[2] = python_stack(0, frames);
		for (size_t i = 0; i < sizeof(frames[0]); i++)
			if (((u8 *)&frames[PY_FRAMES])[i] != 0xa5)
				_exit(2);
		put(end, sizeof(end));
		put(frames, end[2] * sizeof(frames[0]));
		put(&thread, sizeof(thread));
	}
}
