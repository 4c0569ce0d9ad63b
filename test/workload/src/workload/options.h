/* What the workload was asked to do. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "../cuda_sim.h"

enum sync { SYNC_STREAM, SYNC_DEVICE, SYNC_EVENT, SYNC_NONE };

struct options {
	u64 steps;         /* of each thread; 0 is until stopped */
	int threads, processes, devices;
	double speed;
	u64 alloc_bytes, memory_bytes;
	u64 start_delay_ms, late_dlopen_ms;
	double cold_start_ms, bandwidth, duration_s;
	enum sync sync;
	const char *control, *bench, *log, *share;
	const char *read, *map, *write, *dirty, *peer, *requests, *loader_file;
	int lock, loaders, direct;
	u64 graph_pool;    /* executable graphs kept; 0 is one */
	u64 count;
	int graph, driver, fail, crash, wait_stdin, preload, late;
};

/* Settings that change while the workload runs. */
struct live {
	double speed;
	u64 gap_us, launches, kernel_ns;
	u64 copy_bytes, copy_every, allocs, recapture, capture_us, shapes; /* the calls of a step */
	u64 alloc_ns, instantiate_ns;
	u64 work_us, read_bytes, map_pages, drop, dirty_bytes, grow_bytes; /* what the host does each step */
	u64 write_bytes, write_every, lock_us, peer_bytes;
	u64 loader_us, loader_bytes, loader_lock_us; /* for one batch */
	int spin, stop;
};

extern struct options opt;
extern struct live live;

/* LIVE reads a setting, SETTLE changes it. */
#define LIVE(field) ({ __typeof__(live.field) v_; __atomic_load(&live.field, &v_, __ATOMIC_RELAXED); v_; })
#define SETTLE(field, value) ({ __typeof__(live.field) v_ = (value); __atomic_store(&live.field, &v_, __ATOMIC_RELAXED); })

/* parse reads the command line; it ends the process on --help (status 0)
 * and on a mistake (status 2). */
void parse(int argc, char **argv);

/* export_settings puts the device's settings into the environment, for the
 * driver to find when it is loaded. */
void export_settings(void);

/* die prints a message and exits with status 1. */
void die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
