/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Stacks of code built without frame pointers. User space makes a table of
 * rules from the .eh_frame of each binary (internal/unwind) and says which
 * process maps which of them where. Code without a rule is walked by its frame
 * pointer. */
#pragma once

#define UNWIND_FRAMES 128
#define UNWIND_MAPPINGS 512
#define UNWIND_REGION_BITS 16 /* words in a region */
#define UNWIND_REGIONS 256
#define UNWIND_BLOCK_BITS 10 /* bytes of code in a block */

/* How the caller's frame is found: unwind.Kind. */
enum unwind_kind {
	UNWIND_HOLE,
	UNWIND_SP,
	UNWIND_BP,
	UNWIND_REALIGNED,
	UNWIND_PLT,
	UNWIND_SIGNAL,
	UNWIND_END,
	UNWIND_UNSUPPORTED,
};
#define UNWIND_BP_SAME 0
#define UNWIND_BP_AT_FRAME 1
#define UNWIND_BP_LOST 1023

/* How walks ended. */
enum unwind_outcome {
	UNWIND_COMPLETE,     /* at the outermost frame */
	UNWIND_NO_RULE,      /* no rule, and no frame pointer either */
	UNWIND_NOT_KNOWN,    /* a rule of a kind that is not supported */
	UNWIND_UNREADABLE,   /* no stack at that address, or it is paged out */
	UNWIND_TOO_DEEP,
	UNWIND_OUTCOMES,
};

/* Words, in regions that user space makes when it needs them. A file has two
 * pieces: an index of the blocks of its code, and their rules. An index word is
 * the position of the block's first rule and, above 32 bits, their number; a
 * rule's word is the first address in the block that it is for and, above 32
 * bits, an unwind.Rule. The first rule of a block is for its first byte, and
 * the rules of one block are in one region. */
struct unwind_region {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1 << UNWIND_REGION_BITS);
	__type(key, u32);
	__type(value, u64);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, UNWIND_REGIONS);
	__type(key, u32);
	__array(values, struct unwind_region);
} unwind_regions SEC(".maps");

struct unwind_mapping {
	u64 start;
	u32 size;
	u32 text;  /* where it begins in the file's code */
	u32 index; /* position of the file's index; 0 is none */
	u32 _pad;
};

struct unwind_process {
	u32 count;
	u32 _pad;
	struct unwind_mapping mappings[UNWIND_MAPPINGS]; /* by rising start */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, u32);
	__type(value, struct unwind_process);
} unwind_mappings SEC(".maps");

/* By tgid: walks that met code of which user space has told us nothing. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u32);
	__type(value, u64);
} unwind_misses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, UNWIND_OUTCOMES);
	__type(key, u32);
	__type(value, u64);
} unwind_outcomes SEC(".maps");

/* The frame a walk is at. */
struct walk {
	u64 ip, sp, bp;
	struct unwind_mapping m; /* that ip was last in */
	u32 tgid;
	u32 outer;    /* traced calls whose return address is still to come */
	u32 exact;    /* ip is where the code was interrupted, not where it returns to */
	u32 missed;   /* met code without a mapping */
	u32 guessed;  /* ip comes from a frame pointer */
	u32 outcome;
	u32 depth;
	u32 _pad;
};

/* The searches are global, so that the verifier follows their many paths once
 * and not for each combination of the two. */

__noinline int find_mapping(struct walk *w, const struct unwind_process *p, u64 pc)
{
	u32 lo = 0, hi, mid, i;
	const struct unwind_mapping *m;

	if (!w || !p)
		return false;
	hi = p->count;
	if (pc - w->m.start < w->m.size)
		return true;
	for (i = 0; i < 10 && lo < hi; i++) {
		mid = (lo + hi) >> 1;
		if (mid >= UNWIND_MAPPINGS)
			return false;
		if (p->mappings[mid].start <= pc)
			lo = mid + 1;
		else
			hi = mid;
	}
	lo--;
	if (lo >= UNWIND_MAPPINGS)
		return false;
	m = &p->mappings[lo];
	w->m = *m;
	return pc - m->start < m->size;
}

static __always_inline u64 *find_word(void *region, u32 at)
{
	at &= (1 << UNWIND_REGION_BITS) - 1;
	return bpf_map_lookup_elem(region, &at);
}

__noinline int find_rule(const struct walk *w, u64 pc)
{
	u32 rel, at, key, lo = 0, hi, mid, i, rule = UNWIND_HOLE;
	void *region;
	u64 *v;

	if (!w || !w->m.index)
		return UNWIND_HOLE;
	rel = pc - w->m.start + w->m.text;
	at = w->m.index + (rel >> UNWIND_BLOCK_BITS);
	key = at >> UNWIND_REGION_BITS;
	region = bpf_map_lookup_elem(&unwind_regions, &key);
	v = region ? find_word(region, at) : NULL;
	if (!v)
		return UNWIND_HOLE;
	hi = *v >> 32;
	at = *v;
	key = at >> UNWIND_REGION_BITS;
	region = bpf_map_lookup_elem(&unwind_regions, &key);
	if (!region)
		return UNWIND_HOLE;
	rel &= (1 << UNWIND_BLOCK_BITS) - 1;
	for (i = 0; i <= UNWIND_BLOCK_BITS && lo < hi; i++) {
		mid = (lo + hi) >> 1;
		v = find_word(region, at + mid);
		if (!v)
			break;
		if ((u32)*v <= rel) {
			lo = mid + 1;
			rule = *v >> 32;
		} else {
			hi = mid;
		}
	}
	return rule;
}
