/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* What user space tells about a process that runs CPython, and what the
 * walker tells about its stack. */
#pragma once

#define PY_FRAMES 64       /* of a stack, the innermost */
#define PY_FRAME_BYTES 128 /* read of each frame at most */

/* A frame as the interpreter has it. Bit 0 of code is set if C called the
 * interpreter to run it, so that a native frame stands for it and those it
 * called before the next such. instr is the address of an instruction of the
 * code object, in 3.10 the number of one (f_lasti). */
struct py_frame {
	u64 code;
	u64 instr;
};

enum py_flag {
	PY_CFRAME = 1,    /* the frame is behind tstate->cframe: 3.11, 3.12 */
	PY_LASTI = 2,     /* a frame holds an int f_lasti: 3.10 */
	PY_NATIVE_ID = 4, /* thread_id is gettid, not pthread_self */
};

/* Offsets are into the struct that the first part of the name says. */
struct py_process {
	u64 interpreters; /* the address of _PyRuntime.interpreters.head */
	u32 flags;
	u32 interp_next;
	u32 interp_threads;
	u32 thread_next;
	u32 thread_id;
	u32 thread_frame; /* the frame, or what is between (PY_CFRAME) */
	u32 cframe_current;
	u32 frame_bytes; /* up to the last field used */
	u32 frame_previous;
	u32 frame_code;
	u32 frame_instr;
	u32 frame_owner;
	u32 owner_c; /* owners from here on are the interpreter itself */
	u32 frame_entry; /* where entry_mask says that C called: 3.11 */
	u32 entry_mask;
	u32 _pad;
};

/* What the walker remembers of a thread. */
struct py_thread {
	u64 state; /* the PyThreadState found last */
	u64 stamp; /* of the list of threads when it was searched */
};
