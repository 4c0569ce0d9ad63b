/* A training-like program on the simulated CUDA. */
#include "api.h"
#include "control.h"
#include "loop.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static void sleep_ms(u64 ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&ts, &ts))
		;
}

#ifndef SIM_LATE
/* become_late goes on as the same program without libcudart in it. */
static void become_late(char **argv)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 32);
	char *slash;

	path[n < 0 ? 0 : n] = 0;
	slash = strrchr(path, '/');
	if (!slash)
		die("find workload-late: /proc is not mounted");
	strcpy(slash + 1, "workload-late");
	execv(path, argv);
	die("run %s: it must lie beside this program", path);
}
#endif

static void print_truth(const struct worker *w, u64 elapsed)
{
	static char text[64 << 10];
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	u64 steps = 0, worst = 0, bench_ns = 0;
	size_t n, at;

	for (int i = 0; i < opt.threads; i++) {
		steps += w[i].steps;
		bench_ns += w[i].bench_ns;
		worst = w[i].worst_ns > worst ? w[i].worst_ns : worst;
	}
	n = snprintf(text, sizeof(text), "{\"pid\":%d,", getpid());
	n += cuda.report(text + n, sizeof(text) - n - 256);
	n += snprintf(text + n, sizeof(text) - n,
		",\"steps\":%llu,\"worst_step_ns\":%llu,\"median_step_ns\":%llu,\"elapsed_ns\":%llu,\"ns_per_call\":%.2f}\n",
		(unsigned long long)(opt.bench ? 0 : steps), (unsigned long long)worst,
		(unsigned long long)(opt.bench ? 0 : median(w, opt.threads)), (unsigned long long)elapsed,
		opt.bench && steps ? (double)bench_ns / steps : 0.0);
	/* Several processes may share the output; a lock keeps lines whole where
	 * a pipe would not. */
	fcntl(STDOUT_FILENO, F_SETLKW, &whole);
	for (at = 0; at < n;) {
		ssize_t k = write(STDOUT_FILENO, text + at, n - at);

		if (k <= 0)
			_exit(1);
		at += k;
	}
}

/* run is the life of one process that makes calls. */
static int run(void)
{
	struct worker *w = calloc(opt.threads, sizeof(*w));
	u64 start;

	if (!w)
		die("allocate threads: no memory");
	host_start(); /* loaders are forked before there are threads */
	control_start();
	sleep_ms(opt.start_delay_ms);
	if (opt.late)
		sleep_ms(opt.late_dlopen_ms);
	api_load(opt.driver);
	start = wall_ns();
	for (int i = 1; i < opt.threads; i++) {
		w[i].index = i;
		if (pthread_create(&w[i].thread, NULL, run_worker, &w[i]))
			die("start thread %d: no more threads", i);
	}
	run_worker(&w[0]); /* the first thread of the process is a feeder too */
	for (int i = 1; i < opt.threads; i++)
		pthread_join(w[i].thread, NULL);
	print_truth(w, wall_ns() - start);
	loaders_stop();
	return 0;
}

/* run_children makes opt.processes children that run, and waits for them. */
static int run_children(void)
{
	int *pids = calloc(opt.processes, sizeof(*pids));
	pid_t parent = getpid();

	if (!pids)
		die("allocate processes: no memory");
	for (int i = 0; i < opt.processes; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			die("start process %d: no more processes", i);
		if (pids[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (getppid() != parent)
				_exit(1);
			return run();
		}
	}
	return control_children(pids, opt.processes);
}

int main(int argc, char **argv)
{
	char c;

	parse(argc, argv);
#ifndef SIM_LATE
	if (opt.late)
		become_late(argv);
#endif
	export_settings();
	control_block();
	if (opt.preload && !dlopen("libcuda.so.1", RTLD_NOW))
		die("open libcuda.so.1: %s", dlerror());
	if (opt.wait_stdin) {
		fputs("ready\n", stderr);
		while (read(STDIN_FILENO, &c, 1) == 1 && c != '\n')
			;
	}
	return opt.processes > 1 ? run_children() : run();
}
