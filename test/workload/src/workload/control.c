#include "control.h"
#include "api.h"
#include "options.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static sigset_t obeyed(void)
{
	sigset_t s;

	sigemptyset(&s);
	sigaddset(&s, SIGTERM);
	sigaddset(&s, SIGINT);
	sigaddset(&s, SIGUSR1);
	sigaddset(&s, SIGUSR2);
	sigaddset(&s, SIGCHLD);
	return s;
}

void control_block(void)
{
	sigset_t s = obeyed();

	pthread_sigmask(SIG_BLOCK, &s, NULL);
}

static void set_speed(double v)
{
	SETTLE(speed, v);
	api_set("speed", v);
}

static void stop(void)
{
	SETTLE(stop, 1);
	if (LIVE(speed) == 0)
		set_speed(1); /* or the loop would never come to its end */
}

static void *listen(void *unused)
{
	sigset_t s = obeyed();
	int sig;

	(void)unused;
	while (!sigwait(&s, &sig)) {
		if (sig == SIGUSR1)
			set_speed(LIVE(speed) / 2);
		else if (sig == SIGUSR2)
			set_speed(opt.speed);
		else if (sig != SIGCHLD)
			stop();
	}
	return NULL;
}

void control_start(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, listen, NULL))
		die("start the signal thread: no more threads");
	pthread_detach(t);
}

int control_children(const int *pids, int n)
{
	sigset_t s = obeyed();
	int left = n, sig, status, worst = 0;

	while (left && !sigwait(&s, &sig)) {
		if (sig != SIGCHLD) {
			for (int i = 0; i < n; i++)
				kill(pids[i], sig);
			continue;
		}
		/* One signal can stand for several children. */
		while (waitpid(-1, &status, WNOHANG) > 0) {
			left--;
			if (status)
				worst = 1;
		}
	}
	return worst;
}

void control_loaded(void)
{
	api_set("speed", LIVE(speed));
	if (opt.crash)
		api_set("crash", 1);
}

/* Numbers that are only stored; those with device are the device's too. */
static const struct { const char *key; u64 *to; int device; } numbers[] = {
#define N(field) { #field, &live.field, 0 }
#define DEVICE(field) { #field, &live.field, 1 }
	N(gap_us), N(launches), DEVICE(kernel_ns), N(copy_bytes), N(copy_every), N(allocs), DEVICE(alloc_ns),
	N(recapture), N(capture_us), N(shapes), DEVICE(instantiate_ns), N(work_us), N(read_bytes), N(map_pages), N(drop),
	N(dirty_bytes), N(grow_bytes), N(write_bytes), N(write_every), N(lock_us), N(peer_bytes), N(loader_us),
	N(loader_bytes), N(loader_lock_us),
#undef N
#undef DEVICE
};

static void apply(const char *key, const char *v)
{
	double d = atof(v);

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (strcmp(key, numbers[i].key))
			continue;
		__atomic_store_n(numbers[i].to, (u64)d, __ATOMIC_RELAXED);
		if (numbers[i].device)
			api_set(key, d);
		return;
	}
	if (!strcmp(key, "speed")) {
		set_speed(d);
	} else if (!strcmp(key, "bandwidth")) {
		api_set("bandwidth", d);
	} else if (!strcmp(key, "wait")) {
		SETTLE(spin, !strcmp(v, "spin"));
		api_set("spin", !strcmp(v, "spin"));
	} else if (!strcmp(key, "stop")) {
		if (d)
			stop();
	} else {
		fprintf(stderr, "workload: %s: no such setting: %s\n", opt.control, key);
	}
}

void control_read(void)
{
	static struct timespec read_at;
	static long long size = -1;
	struct stat st;
	char line[128];
	FILE *f;

	if (!opt.control || stat(opt.control, &st))
		return; /* the file may appear later */
	if (size == st.st_size && read_at.tv_sec == st.st_mtim.tv_sec && read_at.tv_nsec == st.st_mtim.tv_nsec)
		return;
	f = fopen(opt.control, "r");
	if (!f)
		return;
	read_at = st.st_mtim;
	size = st.st_size;
	while (fgets(line, sizeof(line), f)) {
		char *v = strchr(line, '=');

		line[strcspn(line, "\r\n")] = 0;
		if (!v || line[0] == '#')
			continue;
		*v++ = 0;
		apply(line, v);
	}
	fclose(f);
}
