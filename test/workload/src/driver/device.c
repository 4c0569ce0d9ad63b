#include "device.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

u32 driver_state;

static u64 own_busy[MAX_DEVICES][2];

struct device devices[MAX_DEVICES] = {
	[0 ... MAX_DEVICES - 1] = { .lock = PTHREAD_MUTEX_INITIALIZER },
};

POOL(streams, struct stream, 512);

/* Device time is the same in all processes while their speed is 1, so the
 * ends of what is queued are all that they need to share. */
__attribute__((constructor)) static void share(void)
{
	const char *name = getenv("SIM_CUDA_SHARE");
	u64 (*busy)[2] = own_busy;

	if (name && *name) {
		int fd = open(name, O_RDWR | O_CREAT, 0666);

		if (fd < 0 || ftruncate(fd, sizeof(own_busy)))
			busy = MAP_FAILED;
		else
			busy = mmap(NULL, sizeof(own_busy), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (busy == MAP_FAILED) {
			fprintf(stderr, "simulated CUDA: share %s: %m\n", name);
			busy = own_busy;
		}
		if (fd >= 0)
			close(fd);
	}
	for (int i = 0; i < MAX_DEVICES; i++)
		devices[i].busy = busy[i];
}

void *pool_new(struct pool *p)
{
	size_t at = __atomic_load_n(&p->hint, __ATOMIC_RELAXED);

	for (size_t i = 0; i < p->n; i++, at++) {
		u32 *live = (u32 *)(p->base + at % p->n * p->size), no = 0;

		if (__atomic_compare_exchange_n(live, &no, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
			__atomic_store_n(&p->hint, at + 1, __ATOMIC_RELAXED);
			return live;
		}
	}
	return NULL;
}

int pool_has(const struct pool *p, const void *handle)
{
	size_t off = (const char *)handle - p->base;

	return off < p->size * p->n && off % p->size == 0 && __atomic_load_n((const u32 *)handle, __ATOMIC_ACQUIRE);
}

void pool_free(void *handle)
{
	__atomic_store_n((u32 *)handle, 0, __ATOMIC_RELEASE);
}

/* own returns the calling thread's stream on a device. */
static struct stream *own(struct device *d)
{
	static __thread struct stream *mine[MAX_DEVICES] __attribute__((tls_model("initial-exec")));
	struct stream **s = &mine[d - devices];

	if (!*s && (*s = calloc(1, sizeof(**s))))
		(*s)->dev = d;
	return *s;
}

int stream_of(void *handle, int per_thread, struct stream **out)
{
	struct context *c = current();
	uintptr_t h = (uintptr_t)handle; /* 1 and 2 are CU_STREAM_LEGACY and _PER_THREAD */

	if (!c)
		return ERR_CONTEXT;
	if (h > 2) {
		if (!pool_has(&streams, handle))
			return ERR_HANDLE;
		*out = handle;
		return OK;
	}
	*out = h == 2 || (h == 0 && per_thread) ? own(c->dev) : c->dev->legacy;
	return *out ? OK : ERR_MEMORY;
}

static inline u64 max(u64 a, u64 b) { return a > b ? a : b; }

/* load reads a time that other threads may be moving. */
static inline u64 load(const u64 *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
static inline void store(u64 *p, u64 v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }

u64 drained(const struct stream *s)
{
	/* The legacy stream waits for all others of its device. */
	return s == s->dev->legacy ? load(&s->dev->tail) : load(&s->tail);
}

/* push_one is called with the device locked; it unlocks while it waits. */
static void push_one(struct stream *s, enum engine e, u64 cost)
{
	struct device *d = s->dev;
	u64 now, full, start, busy;

	while ((now = device_now()) < (full = s->end[s->pushed % QUEUE])) {
		pthread_mutex_unlock(&d->lock);
		device_wait(full);
		pthread_mutex_lock(&d->lock);
	}
	busy = load(&d->busy[e]);
	do {
		start = max(max(now, drained(s)), busy);
	} while (!__atomic_compare_exchange_n(&d->busy[e], &busy, start + cost, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	store(&s->tail, start + cost);
	store(&d->tail, max(d->tail, s->tail));
	s->end[s->pushed++ % QUEUE] = s->tail;
}

void push(struct stream *s, enum engine e, u64 n, u64 cost)
{
	if (s->capture) {
		if (e == COMPUTE)
			s->capture->kernels += n;
		else
			s->capture->copied_ns += n * cost;
		return;
	}
	/* Free work on an idle stream changes nothing; it must cost next to
	 * nothing too, so that a million empty launches are quick. */
	if (!cost && drained(s) <= device_seen())
		return;
	pthread_mutex_lock(&s->dev->lock);
	while (n--)
		push_one(s, e, cost);
	pthread_mutex_unlock(&s->dev->lock);
}
