/* Data loaders: child processes that prepare batches and pass them on
 * through a pipe with room for a few. */
#define _GNU_SOURCE
#include "control.h"
#include "host.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TOKEN = 1024 }; /* four fit into the smallest pipe */

static int feed[2];
static pid_t *pids;

static void load(pthread_mutex_t *lock)
{
	char token[TOKEN] = { 0 }, *buf = new_buffer();
	int fd = opt.loader_file ? open_or_die(opt.loader_file, O_RDONLY | (opt.direct ? O_DIRECT : 0)) : -1;
	u64 at = (u64)getpid() * CHUNK_BYTES, us;
	struct stat st;
	u64 size = fd < 0 || fstat(fd, &st) ? 0 : st.st_size / CHUNK_BYTES * CHUNK_BYTES;

	at = size ? at % size : 0;
	for (;;) {
		control_read();
		work(LIVE(loader_us));
		if (size)
			read_batch(fd, buf, &at, size, LIVE(loader_bytes));
		if ((us = LIVE(loader_lock_us))) {
			struct timespec ts = { us / 1000000, us % 1000000 * 1000 };

			pthread_mutex_lock(lock);
			nanosleep(&ts, NULL);
			pthread_mutex_unlock(lock);
		}
		if (write(feed[1], token, TOKEN) != TOKEN)
			_exit(0);
	}
}

void loaders_start(void)
{
	pthread_mutex_t *lock = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_t attr;
	pid_t parent = getpid();

	if (lock == MAP_FAILED || pipe2(feed, O_CLOEXEC))
		die("start loaders: %m");
	if (!(pids = calloc(opt.loaders, sizeof(*pids))))
		die("start loaders: no memory");
	fcntl(feed[1], F_SETPIPE_SZ, 4096);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(lock, &attr);
	for (int i = 0; i < opt.loaders; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("start a loader: %m");
		if (pid) {
			pids[i] = pid;
			continue;
		}
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		prctl(PR_SET_NAME, "loader");
		signal(SIGPIPE, SIG_IGN);
		close(feed[0]);
		load(lock);
	}
	close(feed[1]);
}

void loaders_stop(void)
{
	for (int i = 0; i < opt.loaders; i++)
		kill(pids[i], SIGKILL);
	for (int i = 0; i < opt.loaders; i++)
		waitpid(pids[i], NULL, 0);
}

void next_batch(void)
{
	char token[TOKEN];

	for (size_t got = 0; got < TOKEN;) {
		ssize_t k = read(feed[0], token, TOKEN - got);

		if (k <= 0)
			die("wait for a batch: the loaders have ended");
		got += k;
	}
}
