/* Device time. A device does one ns of work per ns of wall time and speed;
 * device time stands still at speed 0. */
#ifndef CLOCK_H
#define CLOCK_H

#include "../count.h"

/* Settings, by sim_set or at load from SIM_CUDA_<KEY> in the environment. */
struct settings {
	u64 kernel_ns;     /* device time of a kernel */
	double bandwidth;  /* bytes a second of copies */
	u64 memory;        /* bytes of memory of each device */
	int devices;       /* 1 to MAX_DEVICES */
	double cold_ms;    /* start-up, spread over the first calls */
	int spin;          /* waits use the CPU instead of sleeping */
	int crash;         /* the next wait aborts the process */
	u64 alloc_ns;      /* CPU time of cuMemAlloc and of cuMemFree */
	u64 instantiate_ns; /* CPU time to instantiate a graph */
};

extern struct settings settings HIDDEN;

enum { MAX_DEVICES = 8 };

/* device_now returns device time in ns. */
HIDDEN u64 device_now(void);

/* device_seen returns a device time that has surely passed, without reading
 * the clock. */
HIDDEN u64 device_seen(void);

/* device_wait returns once device time has reached t. A change of speed
 * takes effect in waits that have begun. */
HIDDEN void device_wait(u64 t);

/* set_speed changes the speed from now on. Not for signal handlers. */
HIDDEN void set_speed(double speed);

/* burn uses the CPU for so long. */
HIDDEN void burn(u64 ns);

#endif
