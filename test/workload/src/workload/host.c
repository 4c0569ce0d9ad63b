#define _GNU_SOURCE
#include "host.h"
#include "control.h"
#include "loop.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;

static void pause_us(u64 us)
{
	struct timespec ts = { us / 1000000, us % 1000000 * 1000 };

	nanosleep(&ts, NULL);
}

void work(u64 us)
{
	struct timespec ts;
	u64 now, end = 0;

	while (us) {
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
		now = ts.tv_sec * 1000000000ull + ts.tv_nsec;
		end = end ? end : now + us * 1000;
		if (now >= end)
			return;
	}
}

int open_or_die(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0666);

	if (fd < 0)
		die("open %s: %m", path);
	return fd;
}

char *new_buffer(void)
{
	char *p = mmap(NULL, CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		die("allocate a buffer: %m");
	return p;
}

/* hold is a thread that keeps the lock most of the time, for something that
 * is not the step's business, such as writing a log. */
static void *hold(void *unused)
{
	(void)unused;
	prctl(PR_SET_NAME, "holder");
	while (!LIVE(stop)) {
		u64 us = LIVE(lock_us);

		if (us) {
			pthread_mutex_lock(&held);
			pause_us(us);
			pthread_mutex_unlock(&held);
		}
		pause_us(us ? 300 : 20000);
	}
	return NULL;
}

void host_start(void)
{
	pthread_t t;

	if (opt.loaders)
		loaders_start();
	if (!opt.lock)
		return;
	if (pthread_create(&t, NULL, hold, NULL))
		die("start the thread that holds the lock: no more threads");
	pthread_detach(t);
}

static int connect_peer(const char *peer)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	const char *port = strchr(peer, ':');
	char host[64];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	snprintf(host, sizeof(host), "%.*s", port ? (int)(port - peer) : 0, peer);
	a.sin_port = htons(port ? atoi(port + 1) : 0);
	if (!port || !inet_aton(host, &a.sin_addr) || fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)))
		die("connect to %s: %m", peer);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

void host_setup(struct host *h)
{
	struct stat st;

	if (opt.read) {
		h->read_fd = open_or_die(opt.read, O_RDONLY | (opt.direct ? O_DIRECT : 0));
		h->read_size = fstat(h->read_fd, &st) ? 0 : st.st_size / CHUNK_BYTES * CHUNK_BYTES;
	}
	if (opt.write)
		h->write_fd = open_or_die(opt.write, O_WRONLY | O_CREAT);
	if (opt.dirty)
		h->dirty_fd = open_or_die(opt.dirty, O_RDWR | O_CREAT);
	if (opt.map) {
		h->map_fd = open_or_die(opt.map, O_RDONLY);
		h->map_bytes = fstat(h->map_fd, &st) ? 0 : st.st_size;
		h->map = mmap(NULL, h->map_bytes, PROT_READ, MAP_SHARED, h->map_fd, 0);
		if (h->map == MAP_FAILED)
			die("map %s: %m", opt.map);
		/* Pages in the cache come in large pieces, of which no single one
		 * can be dropped; read at random they come one by one. */
		posix_fadvise(h->map_fd, 0, 0, POSIX_FADV_DONTNEED);
		madvise(h->map, h->map_bytes, MADV_RANDOM);
		for (u64 at = 0; at < h->map_bytes; at += 4096)
			(void)*(volatile char *)(h->map + at);
	}
	if (opt.peer)
		h->peer_fd = connect_peer(opt.peer);
	if (opt.requests)
		h->request_fd = open_or_die(opt.requests, O_RDONLY);
	h->buf = new_buffer();
	h->seed = 1;
}

void read_batch(int fd, char *buf, u64 *at, u64 size, u64 bytes)
{
	while (bytes && size) {
		u64 n = bytes < CHUNK_BYTES ? bytes : CHUNK_BYTES;

		if (*at + n > size)
			*at = 0;
		if (pread(fd, buf, n, *at) < 0)
			die("read a batch: %m");
		if (!opt.direct)
			posix_fadvise(fd, *at, n, POSIX_FADV_DONTNEED);
		*at += n;
		bytes -= n;
	}
}

/* touch reads from random pages of the map; with drop they are read from
 * the disk. */
static void touch(struct host *h, u64 pages, u64 drop)
{
	u64 all = h->map_bytes >> 12;

	while (pages-- && all) {
		u64 page = ((h->seed = h->seed * 1664525 + 1013904223) >> 8) % all << 12;

		if (drop) {
			madvise(h->map + page, 4096, MADV_DONTNEED);
			posix_fadvise(h->map_fd, page, 4096, POSIX_FADV_DONTNEED);
		}
		(void)*(volatile char *)(h->map + page);
	}
}

static void put(int fd, const char *buf, u64 at, u64 bytes)
{
	while (bytes) {
		u64 n = bytes < CHUNK_BYTES ? bytes : CHUNK_BYTES;

		if (pwrite(fd, buf, n, at) < 0)
			die("write a file: %m");
		at += n;
		bytes -= n;
	}
}

static void checkpoint(struct host *h)
{
	put(h->write_fd, h->buf, 0, LIVE(write_bytes));
	if (fsync(h->write_fd))
		die("sync %s: %m", opt.write);
}

static void grow(u64 bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return;
	for (u64 i = 0; i < bytes; i += 4096)
		p[i] = 1;
}

static void ask(struct host *h)
{
	u64 bytes = LIVE(peer_bytes);
	char reply[64];

	while (bytes) {
		u64 n = bytes < CHUNK_BYTES ? bytes : CHUNK_BYTES;
		ssize_t k = send(h->peer_fd, h->buf, n, MSG_NOSIGNAL | (bytes > n ? MSG_MORE : 0));

		if (k <= 0)
			die("send to %s: %m", opt.peer);
		bytes -= k;
	}
	for (size_t got = 0; got < sizeof(reply);) {
		ssize_t k = recv(h->peer_fd, reply, sizeof(reply) - got, 0);

		if (k <= 0)
			die("hear from %s: %m", opt.peer);
		got += k;
	}
}

/* next_request waits for one byte; a request that does not come is the end. */
static void next_request(struct host *h)
{
	char c;

	if (read(h->request_fd, &c, 1) <= 0)
		SETTLE(stop, 1);
}

void host_step(struct host *h, u64 step)
{
	u64 every = LIVE(write_every), n;

	if (opt.requests)
		next_request(h);
	if (opt.loaders)
		next_batch();
	work(LIVE(work_us));
	if (opt.read && (n = LIVE(read_bytes)))
		read_batch(h->read_fd, h->buf, &h->read_at, h->read_size, n);
	if (opt.map && (n = LIVE(map_pages)))
		touch(h, n, LIVE(drop));
	if (opt.dirty && (n = LIVE(dirty_bytes))) {
		h->dirty_at = h->dirty_at + n > DIRTY_SPAN ? 0 : h->dirty_at;
		put(h->dirty_fd, h->buf, h->dirty_at, n);
		h->dirty_at += n;
	}
	if ((n = LIVE(grow_bytes)))
		grow(n);
	if (opt.lock) {
		pthread_mutex_lock(&held);
		pthread_mutex_unlock(&held);
	}
	if (opt.peer)
		ask(h);
	if (opt.write && every && step % every == every - 1)
		checkpoint(h);
}
