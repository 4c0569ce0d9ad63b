/* The loop that each thread runs. */
#ifndef LOOP_H
#define LOOP_H

#include "host.h"
#include "options.h"

#include <pthread.h>

enum { SUB = 128, BINS = 60 * SUB / 2 }; /* SUB / 2 bins for each power of two */

struct worker {
	int index;
	pthread_t thread;
	u64 steps, worst_ns, bench_ns;
	u32 *bins; /* steps by their time */
	int device;
	void *stream, *event;
	void *exec[64]; /* graphs, by shape */
	u64 shape[64];  /* 1 + the shape in that place */
	struct host host;
	void *kernel[4];
	void *device_buf, *host_buf;
};

/* run_worker runs the loop, or the bench, until its end. */
void *run_worker(void *worker);

/* bench calls one function opt.count times. */
void bench(struct worker *w);

/* median returns the median step of all workers in ns, within 1 %. */
u64 median(const struct worker *w, int n);

/* log_steps appends to --log, every 100 ms, how many steps all workers have
 * done. It is for the first worker, whose address it takes. */
void log_steps(const struct worker *first);

u64 wall_ns(void);

/* check reports an unexpected result once for each call. */
void check(const char *what, int err);

#endif
