/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* One step of a walk: from a frame to its caller's. It is a function of its own
 * that the verifier looks at once, so that kernels without bpf_loop can do it
 * too. */
#pragma once

#define MAX_FRAME (16 << 20) /* bytes that a frame pointer may skip */

#if defined(__TARGET_ARCH_x86)
/* Where a signal frame keeps registers: uc_mcontext of struct ucontext. */
#define SIGNAL_BP 120
#define SIGNAL_SP 160
#define SIGNAL_IP 168
#endif

static __always_inline bool end_walk(struct walk *w, u32 outcome)
{
	w->outcome = outcome;
	return false;
}

/* Gives back what a return probe replaced: the return address of a traced call
 * that is still in flight. They come in the order of the stack. */
static __always_inline u64 original(struct walk *w, const struct thread *th, u64 slot, u64 ra)
{
	u32 n = w->outer, i;

	for (i = 0; i < MAX_DEPTH && n; i++) {
		const struct frame *f = &th->frames[(n - 1) & (MAX_DEPTH - 1)];

		if (f->sp > slot)
			break;
		n--;
		if (f->sp == slot) {
			ra = f->ret;
			break;
		}
	}
	w->outer = n;
	return ra;
}

#if defined(SIGNAL_IP)
static __always_inline bool leave_signal(struct walk *w)
{
	u64 sp = w->sp;

	if (bpf_probe_read_user(&w->bp, 8, (void *)(sp + SIGNAL_BP)) ||
	    bpf_probe_read_user(&w->ip, 8, (void *)(sp + SIGNAL_IP)) ||
	    bpf_probe_read_user(&w->sp, 8, (void *)(sp + SIGNAL_SP)))
		return end_walk(w, UNWIND_UNREADABLE);
	w->exact = 1;
	return true;
}
#endif

/* Finds the stack pointer before the call; 0 ends the walk. */
static __always_inline u64 frame_address(struct walk *w, u32 *rule)
{
	s64 offset = ((s32)*rule >> 14) * 8LL;
	u64 cfa = 0;

	switch (*rule & 15) {
	case UNWIND_SP:
		return w->sp + offset;
	case UNWIND_BP:
		return w->bp + offset;
	case UNWIND_REALIGNED:
		if (bpf_probe_read_user(&cfa, 8, (void *)(w->bp + offset)))
			end_walk(w, UNWIND_UNREADABLE);
		return cfa;
	case UNWIND_PLT:
		cfa = w->sp + 8;
		if ((w->ip & 15) >= (*rule >> 4 & 1023))
			cfa += 8;
		*rule = UNWIND_SP;
		return cfa;
	case UNWIND_END:
		end_walk(w, UNWIND_COMPLETE);
		return 0;
	case UNWIND_HOLE:
		if (w->bp < w->sp || w->bp - w->sp > MAX_FRAME || w->bp & 7) {
			end_walk(w, UNWIND_NO_RULE);
			return 0;
		}
		*rule = 2 << 4;
		return w->bp + 16;
	}
	end_walk(w, UNWIND_NOT_KNOWN);
	return 0;
}

/* Goes to the caller of a frame. */
static __always_inline bool leave_frame(struct walk *w, const struct thread *th, u32 rule)
{
	u64 cfa = frame_address(w, &rule), two[2] = {}; /* the caller's bp where it is often, and the return address */
	u32 bp = rule >> 4 & 1023;

	if (!cfa)
		return false;
	if (cfa <= w->sp || bpf_probe_read_user(two, sizeof(two), (void *)(cfa - 16)))
		return end_walk(w, UNWIND_UNREADABLE);
	if (bp == UNWIND_BP_AT_FRAME || (bp > 2 && bp != UNWIND_BP_LOST)) {
		if (bpf_probe_read_user(&w->bp, 8, (void *)(bp == UNWIND_BP_AT_FRAME ? w->bp : cfa - 8 * bp)))
			return end_walk(w, UNWIND_UNREADABLE);
	} else if (bp == 2) {
		w->bp = two[0];
	} else if (bp == UNWIND_BP_LOST) {
		w->bp = 0;
	}
	w->ip = original(w, th, cfa - 8, two[1]);
	w->sp = cfa;
	return w->ip ? true : end_walk(w, UNWIND_COMPLETE);
}

/* Is ip what a call would leave as return address? For what a register that is
 * perhaps no frame pointer leads to, in code that is not known. */
static __always_inline bool follows_call(u64 ip)
{
#if defined(__TARGET_ARCH_arm64)
	u32 word = 0;

	bpf_probe_read_user(&word, sizeof(word), (void *)(ip - sizeof(word)));
	return (word & 0xfc000000) == 0x94000000 /* BL */ || (word & 0xfffffc1f) == 0xd63f0000 /* BLR */;
#else
	u8 b[8] = {}; /* the seven before ip, and a zero */
	u32 i;

	if (bpf_probe_read_user(b, 7, (void *)(ip - 7)))
		return false;
	if (b[2] == 0xe8) /* CALL rel32 */
		return true;
	for (i = 0; i < 6; i++)
		if (b[i] == 0xff && (b[i + 1] & 0x38) == 0x10) /* CALL r/m64, of two to seven bytes */
			return true;
	return false;
#endif
}

/* Global, so that it is verified by itself. 0 ends the walk. */
__noinline int unwind_step(struct walk *w, const struct thread *th, const struct unwind_process *p)
{
	u32 rule = UNWIND_HOLE;
	u64 pc;

	if (!w || !th)
		return 0;
	pc = w->exact ? w->ip : w->ip - 1;
	w->exact = 0;
	if (p && find_mapping(w, p, pc)) {
		rule = find_rule(w, pc);
	} else {
		w->missed = 1;
		if (w->guessed && !follows_call(w->ip)) /* it was something else in the register */
			return end_walk(w, UNWIND_NO_RULE);
	}
	w->depth++;
	w->guessed = (rule & 15) == UNWIND_HOLE;
#if defined(SIGNAL_IP)
	if ((rule & 15) == UNWIND_SIGNAL)
		return leave_signal(w);
#endif
	return leave_frame(w, th, rule);
}
