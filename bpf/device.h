/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Which device a thread uses. */
#pragma once

struct ctx_key {
	u64 ctx;
	u32 tgid, _pad;
};

/* Which device a CUDA context is on. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct ctx_key);
	__type(value, u32);
} contexts SEC(".maps");

/* Remembers which device the thread uses from now on. */
static __noinline void select_device(struct thread *th, struct frame *f, u32 tgid, u64 made)
{
	const volatile struct call_spec *spec = &specs[f->row & (MAX_CALLS - 1)];
	struct ctx_key key = { .ctx = spec->new_ctx ? made : f->handle, .tgid = tgid };
	u32 device = f->device, *known;

	if (spec->device) {
		th->gpu = device;
		return;
	}
	if (spec->new_ctx) {
		bpf_map_update_elem(&contexts, &key, &device, BPF_ANY);
		return;
	}
	known = bpf_map_lookup_elem(&contexts, &key);
	if (known)
		th->gpu = *known;
}
