/* The account that the job keeps of itself: how far it is, and when. */
#include "loop.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { EVERY_NS = 100000000 };

void log_steps(const struct worker *first)
{
	static u64 due;
	static int fd = -1;
	struct timespec ts;
	char line[80];
	u64 now, steps = 0;

	if (!opt.log)
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	now = ts.tv_sec * 1000000000ull + ts.tv_nsec;
	if (now < due)
		return;
	due = now + EVERY_NS;
	if (fd < 0)
		fd = open_or_die(opt.log, O_WRONLY | O_CREAT | O_APPEND);
	for (int i = 0; i < opt.threads; i++)
		steps += __atomic_load_n(&first[i].steps, __ATOMIC_RELAXED);
	if (write(fd, line, snprintf(line, sizeof(line), "%d %llu %llu\n", getpid(), (unsigned long long)now, (unsigned long long)steps)) < 0)
		die("write %s: %m", opt.log);
}
