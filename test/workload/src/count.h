/* Exact counts of the calls of one library. */
#ifndef COUNT_H
#define COUNT_H

#include "cuda_sim.h"

#define EXPORT __attribute__((visibility("default")))
#define HIDDEN __attribute__((visibility("hidden")))

/* The size of a row is a power of two and its alignment, so that the rows
 * of all files form one array in their section. */
struct row { char name[32]; } __attribute__((aligned(32)));

#define ROW(fn) \
	static const struct row row_##fn __attribute__((section("sim_rows"), used)) = { #fn }

/* DONE counts one finished call and gives back its result. bytes is the
 * size the caller passed; failed calls are included, as a tracer that reads
 * arguments would. */
#define DONE(fn, bytes, err) done(&row_##fn, bytes, err)

HIDDEN int done(const struct row *row, u64 bytes, int err);

struct total { const char *name; u64 calls, bytes, errors; };

/* totals sums the counts of all threads, past ones included, and returns
 * how many rows it wrote. Rows never called are left out. */
HIDDEN size_t totals(struct total *out, size_t max);

/* format writes totals as the JSON described at sim_report. */
HIDDEN size_t format(const struct total *t, size_t n, char *buf, size_t len);

enum { MAX_ROWS = 256 };

#endif
