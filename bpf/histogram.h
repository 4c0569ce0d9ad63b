/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Buckets of stats.Histogram: base-2 exponential, scale 5, integers only. The
 * two tables are stats.Bounds and stats.Guess, written before load. */
#pragma once

#define SCALE 5

const volatile u32 bucket_bounds[(1 << SCALE) + 1] = {};
const volatile u8 bucket_guess[64] = {};

/* __builtin_clzll crashes clang 16's BPF back end. */
static __always_inline u32 highest_bit(u64 v)
{
	u32 r = 0;

	if (v >> 32) { v >>= 32; r += 32; }
	if (v >> 16) { v >>= 16; r += 16; }
	if (v >> 8) { v >>= 8; r += 8; }
	if (v >> 4) { v >>= 4; r += 4; }
	if (v >> 2) { v >>= 2; r += 2; }
	if (v >> 1) r += 1;
	return r;
}

static __always_inline u32 bucket_of(u64 v)
{
	u32 msb, m, guess, b;

	if (v <= 1)
		return 0;
	msb = highest_bit(v);
	if (v == 1ULL << msb) { /* a power of two closes its bucket */
		b = msb << SCALE;
	} else {
		m = msb >= 31 ? v >> (msb - 31) : v << (31 - msb);
		guess = bucket_guess[(m >> 25) & 63] & 31;
		b = (msb << SCALE) + guess + 1;
		if (m > bucket_bounds[guess + 1])
			b++;
	}
	return b < BUCKETS ? b : BUCKETS - 1;
}
