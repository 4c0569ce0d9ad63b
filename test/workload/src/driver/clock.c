#include "clock.h"

#include <ctype.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct settings settings = {
	.kernel_ns = 10000,
	.bandwidth = 12e9,
	.memory = 16ull << 30,
	.devices = 1,
	.cold_ms = 10,
};

/* Device time is a line through (wall, device) of slope speed. Writers
 * make seq odd while they change it; waiters sleep on seq. */
static struct {
	u32 seq;
	u64 wall, device;
	double speed;
} line = { .speed = 1 };

static u64 seen;
static pthread_mutex_t writer = PTHREAD_MUTEX_INITIALIZER;

static u64 wall_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* read_line returns device time, and the speed and sequence it holds for. */
static u64 read_line(double *speed, u32 *seq)
{
	u64 wall, device, now;

	for (;;) {
		*seq = __atomic_load_n(&line.seq, __ATOMIC_ACQUIRE);
		__atomic_load(&line.wall, &wall, __ATOMIC_RELAXED);
		__atomic_load(&line.device, &device, __ATOMIC_RELAXED);
		__atomic_load(&line.speed, speed, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (!(*seq & 1) && *seq == __atomic_load_n(&line.seq, __ATOMIC_RELAXED))
			break;
	}
	now = wall_now();
	if (now > wall)
		device += (u64)((now - wall) * *speed);
	__atomic_store_n(&seen, device, __ATOMIC_RELAXED);
	return device;
}

u64 device_now(void)
{
	double speed;
	u32 seq;

	return read_line(&speed, &seq);
}

u64 device_seen(void)
{
	return __atomic_load_n(&seen, __ATOMIC_RELAXED);
}

static void futex(int op, u32 val, const struct timespec *timeout)
{
	syscall(SYS_futex, &line.seq, op | FUTEX_PRIVATE_FLAG, val, timeout, NULL, 0);
}

void device_wait(u64 t)
{
	double speed;
	u32 seq;
	u64 now;

	if (settings.crash)
		abort();
	while ((now = read_line(&speed, &seq)) < t) {
		struct timespec ts, *timeout = NULL;

		if (settings.spin)
			continue;
		if (speed > 0) {
			/* Slept piecewise, so that no speed overflows a timespec. */
			double ns = (t - now) / speed + 1;
			u64 left = ns < 1e12 ? (u64)ns : 1000000000000ull;

			ts.tv_sec = left / 1000000000;
			ts.tv_nsec = left % 1000000000;
			timeout = &ts;
		}
		futex(FUTEX_WAIT, seq, timeout);
	}
}

void set_speed(double speed)
{
	double old;
	u32 seq;
	u64 device;

	pthread_mutex_lock(&writer);
	device = read_line(&old, &seq);
	u64 wall = wall_now();
	__atomic_store_n(&line.seq, seq + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	__atomic_store(&line.wall, &wall, __ATOMIC_RELAXED);
	__atomic_store(&line.device, &device, __ATOMIC_RELAXED);
	__atomic_store(&line.speed, &speed, __ATOMIC_RELAXED);
	__atomic_store_n(&line.seq, seq + 2, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&writer);
	futex(FUTEX_WAKE, 1 << 30, NULL);
}

void burn(u64 ns)
{
	struct timespec ts;
	u64 end = 0, now;

	if (!ns)
		return;
	do {
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
		now = ts.tv_sec * 1000000000ull + ts.tv_nsec;
		end = end ? end : now + ns;
	} while (now < end);
}

static int set(const char *key, double v)
{
	if (!(v >= 0))
		return -1;
	if (!strcmp(key, "speed"))
		set_speed(v);
	else if (!strcmp(key, "kernel_ns"))
		settings.kernel_ns = v;
	else if (!strcmp(key, "bandwidth") && v > 0)
		settings.bandwidth = v;
	else if (!strcmp(key, "memory"))
		settings.memory = v;
	else if (!strcmp(key, "devices") && v >= 1 && v <= MAX_DEVICES)
		settings.devices = v;
	else if (!strcmp(key, "cold_start_ms"))
		settings.cold_ms = v;
	else if (!strcmp(key, "spin"))
		settings.spin = v != 0;
	else if (!strcmp(key, "alloc_ns"))
		settings.alloc_ns = v;
	else if (!strcmp(key, "instantiate_ns"))
		settings.instantiate_ns = v;
	else if (!strcmp(key, "crash"))
		settings.crash = v != 0;
	else
		return -1;
	return 0;
}

EXPORT int sim_set(const char *key, double value)
{
	return set(key, value);
}

__attribute__((constructor)) static void from_environment(void)
{
	static const char *keys[] = {
		"speed", "kernel_ns", "bandwidth", "memory", "devices", "cold_start_ms", "spin", "alloc_ns", "instantiate_ns",
	};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		char name[64];
		const char *v;
		char *end, *c;

		snprintf(name, sizeof(name), "SIM_CUDA_%s", keys[i]);
		for (c = name; *c; c++)
			*c = toupper((unsigned char)*c);
		v = getenv(name);
		if (!v)
			continue;
		double d = strtod(v, &end);
		if (*end || end == v || set(keys[i], d))
			fprintf(stderr, "simulated CUDA: ignore %s=%s: not a value for it\n", name, v);
	}
}
