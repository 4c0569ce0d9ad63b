/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Who uses which block device, traced or not. */
#pragma once

struct rival_key {
	u32 tgid; /* 0 is the kernel */
	u32 dev;
};

struct rival {
	u64 ns;
	u64 count;
	u64 bytes;
	char comm[16];
};

/* Everybody's use of every device. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct rival_key);
	__type(value, struct rival);
} rivals SEC(".maps");

static __always_inline void add_rival(u32 tgid, u32 dev, u32 bytes, u64 ns, char comm[16])
{
	struct rival_key key = { .tgid = tgid, .dev = dev };
	struct rival *p = bpf_map_lookup_elem(&rivals, &key), fresh = { .ns = ns, .count = 1, .bytes = bytes };

	if (p) {
		__sync_fetch_and_add(&p->ns, ns);
		__sync_fetch_and_add(&p->count, 1);
		__sync_fetch_and_add(&p->bytes, bytes);
		return;
	}
	__builtin_memcpy(fresh.comm, comm, sizeof(fresh.comm));
	bpf_map_update_elem(&rivals, &key, &fresh, BPF_NOEXIST);
}
