/* Memory: who holds how much. Device memory is addresses only, nothing can
 * be read there; host and managed memory is real. */
#include "device.h"

#include <stdlib.h>
#include <sys/mman.h>

enum kind { DEVICE = 1, HOST = 2, MANAGED = 4, BLOCK = 8, RANGE = 16, MAPPED = 32 };

struct piece {
	struct piece *next;
	u64 key, bytes;
	enum kind kind;
	struct device *dev;
};

enum { BUCKETS = 4096 };

static struct piece *table[BUCKETS];
static u64 next_address = 64ull << 30; /* below all real mappings' usual place */
static u64 next_handle = 1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct piece **bucket(u64 key) { return &table[(key * 0x9E3779B97F4A7C15ull) >> 52]; }

/* reserve takes memory of the device, or says that there is none. */
static int reserve(struct device *d, enum kind k, u64 bytes)
{
	if (!(k & (DEVICE | BLOCK)))
		return 1;
	if (bytes > settings.memory || d->used > settings.memory - bytes)
		return 0;
	d->used += bytes;
	return 1;
}

static void unreserve(struct device *d, enum kind k, u64 bytes)
{
	if (k & (DEVICE | BLOCK))
		d->used -= bytes;
}

/* place finds the address or handle of a new piece, 0 if there is none. */
static u64 place(enum kind k, u64 bytes)
{
	u64 at;

	if (k & (HOST | MANAGED)) {
		void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		return p == MAP_FAILED ? 0 : (u64)(uintptr_t)p;
	}
	if (k == BLOCK)
		return next_handle++;
	at = next_address;
	next_address += (bytes + 511) & ~511ull; /* as cudaMalloc aligns */
	return at;
}

/* take allocates. key is where an allocation of the caller's choice goes,
 * else 0. */
static int take(enum kind k, u64 bytes, u64 key, u64 *out)
{
	struct context *c = current();
	struct piece *p, **b;

	if (!c)
		return ERR_CONTEXT;
	if (!bytes || !out)
		return ERR_VALUE;
	if (bytes > 1ull << 46 || !(p = malloc(sizeof(*p))))
		return ERR_MEMORY;
	pthread_mutex_lock(&lock);
	if (!reserve(c->dev, k, bytes))
		goto none;
	if (!key && !(key = place(k, bytes))) {
		unreserve(c->dev, k, bytes);
		goto none;
	}
	b = bucket(key);
	*p = (struct piece){ *b, key, bytes, k, c->dev };
	*b = p;
	pthread_mutex_unlock(&lock);
	*out = key;
	return OK;
none:
	pthread_mutex_unlock(&lock);
	free(p);
	return ERR_MEMORY;
}

/* drop frees a piece of one of the given kinds. */
static int drop(int kinds, u64 key)
{
	struct piece *p, **at;

	pthread_mutex_lock(&lock);
	for (at = bucket(key); (p = *at); at = &p->next)
		if (p->key == key && (p->kind & kinds))
			break;
	if (p) {
		*at = p->next;
		unreserve(p->dev, p->kind, p->bytes);
	}
	pthread_mutex_unlock(&lock);
	if (!p)
		return ERR_VALUE;
	if (p->kind & (HOST | MANAGED))
		munmap((void *)(uintptr_t)key, p->bytes);
	free(p);
	return OK;
}

static int drop_device(dptr p) { return p ? drop(DEVICE | MANAGED, p) : OK; }

static int host(void **p, size_t n)
{
	u64 at;
	int err = p ? take(HOST, n, 0, &at) : ERR_VALUE;

	if (!err)
		*p = (void *)(uintptr_t)at;
	return err;
}

static int pitched(dptr *p, size_t *pitch, size_t w, size_t h)
{
	if (!pitch || !w || !h || w > 1ull << 40 || h > 1ull << 20)
		return ERR_VALUE;
	*pitch = (w + 511) & ~(size_t)511;
	return take(DEVICE, *pitch * h, 0, p);
}

static int map(dptr p, size_t n, u64 handle)
{
	u64 at;

	return p && handle ? take(MAPPED, n, p, &at) : ERR_VALUE;
}

static int on_stream(void *s, int (*f)(dptr), dptr p)
{
	struct stream *st;
	int err = stream_of(s, 0, &st);

	return err ? err : f(p);
}

static int info(size_t *free_bytes, size_t *total)
{
	struct context *c = current();

	if (!c)
		return ERR_CONTEXT;
	if (!free_bytes || !total)
		return ERR_VALUE;
	pthread_mutex_lock(&lock);
	*free_bytes = settings.memory > c->dev->used ? settings.memory - c->dev->used : 0;
	*total = settings.memory;
	pthread_mutex_unlock(&lock);
	return OK;
}

/* The plain pair costs CPU time, as in the real driver. */
static int take_slowly(u64 bytes, u64 *out)
{
	burn(settings.alloc_ns);
	return take(DEVICE, bytes, 0, out);
}

static int drop_slowly(dptr p)
{
	burn(settings.alloc_ns);
	return drop_device(p);
}

API(cuMemAlloc_v2, dptr *p, size_t n) { return DONE(cuMemAlloc_v2, n, take_slowly(n, p)); }

API(cuMemAllocManaged, dptr *p, size_t n, u32 flags) { return DONE(cuMemAllocManaged, n, take(MANAGED, n, 0, p)); }

API(cuMemAllocPitch_v2, dptr *p, size_t *pitch, size_t w, size_t h, u32 elem)
{
	return DONE(cuMemAllocPitch_v2, w * h, pitched(p, pitch, w, h));
}

API(cuMemAllocAsync, dptr *p, size_t n, void *s) { return DONE(cuMemAllocAsync, n, take(DEVICE, n, 0, p)); }

API(cuMemAllocFromPoolAsync, dptr *p, size_t n, void *pool, void *s)
{
	return DONE(cuMemAllocFromPoolAsync, n, take(DEVICE, n, 0, p));
}

API(cuMemCreate, u64 *handle, size_t n, const void *prop, u64 flags)
{
	return DONE(cuMemCreate, n, take(BLOCK, n, 0, handle));
}

API(cuMemMap, dptr p, size_t n, size_t off, u64 handle, u64 flags) { return DONE(cuMemMap, n, map(p, n, handle)); }

API(cuMemAddressReserve, dptr *p, size_t n, size_t align, dptr addr, u64 flags)
{
	return DONE(cuMemAddressReserve, n, take(RANGE, n, 0, p));
}

API(cuMemHostAlloc, void **p, size_t n, u32 flags) { return DONE(cuMemHostAlloc, n, host(p, n)); }
API(cuMemAllocHost_v2, void **p, size_t n) { return DONE(cuMemAllocHost_v2, n, host(p, n)); }
API(cuMemFree_v2, dptr p) { return DONE(cuMemFree_v2, 0, drop_slowly(p)); }
API(cuMemFreeAsync, dptr p, void *s) { return DONE(cuMemFreeAsync, 0, on_stream(s, drop_device, p)); }
API(cuMemFreeHost, void *p) { return DONE(cuMemFreeHost, 0, drop(HOST, (uintptr_t)p)); }
API(cuMemRelease, u64 handle) { return DONE(cuMemRelease, 0, drop(BLOCK, handle)); }
API(cuMemUnmap, dptr p, size_t n) { return DONE(cuMemUnmap, n, drop(MAPPED, p)); }
API(cuMemGetInfo_v2, size_t *f, size_t *total) { return DONE(cuMemGetInfo_v2, 0, info(f, total)); }
