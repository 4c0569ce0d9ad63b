/* Start-up, contexts and code. */
#include "device.h"

#include <errno.h>
#include <time.h>

POOL(contexts, struct context, 64);
POOL(codes, struct code, 4096);

enum { NESTED = 8 };

static __thread struct context *stack[NESTED] __attribute__((tls_model("initial-exec")));
static __thread int depth __attribute__((tls_model("initial-exec")));

static int ready; /* cuInit was called */
static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER;

struct context *current(void) { return stack[depth]; }

/* cold spends a share of the start-up time, blocked as the real calls are. */
static void cold(double share)
{
	double ns = settings.cold_ms * 1e6 * share;
	struct timespec ts = { ns / 1e9, ns - (time_t)(ns / 1e9) * 1e9 };

	if (ns > 0)
		while (clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, &ts) == EINTR)
			;
}

static int init(u32 flags)
{
	if (flags)
		return ERR_VALUE;
	pthread_mutex_lock(&starting);
	if (!ready) {
		cold(0.3);
		__atomic_store_n(&ready, 1, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&starting);
	return OK;
}

static int usable(int dev)
{
	if (!__atomic_load_n(&ready, __ATOMIC_ACQUIRE))
		return ERR_NOT_INIT;
	return dev < 0 || dev >= settings.devices ? ERR_DEVICE : OK;
}

/* new_context makes a context; the caller holds starting. */
static struct context *new_context(int dev)
{
	struct device *d = &devices[dev];
	struct context *c;

	if (!d->legacy) {
		d->legacy = pool_new(&streams);
		if (!d->legacy)
			return NULL;
		d->legacy->dev = d;
	}
	c = pool_new(&contexts);
	if (c)
		c->dev = d;
	cold(0.5);
	return c;
}

static int create(void **out, int dev)
{
	int err = usable(dev);

	if (err)
		return err;
	if (!out)
		return ERR_VALUE;
	pthread_mutex_lock(&starting);
	*out = new_context(dev);
	pthread_mutex_unlock(&starting);
	if (*out)
		stack[depth] = *out;
	return *out ? OK : ERR_MEMORY;
}

static int retain(void **out, int dev)
{
	int err = usable(dev);

	if (err)
		return err;
	if (!out)
		return ERR_VALUE;
	pthread_mutex_lock(&starting);
	if (!devices[dev].primary)
		devices[dev].primary = new_context(dev);
	*out = devices[dev].primary;
	pthread_mutex_unlock(&starting);
	return *out ? OK : ERR_MEMORY;
}

static int select_context(void *ctx)
{
	if (ctx && !pool_has(&contexts, ctx))
		return ERR_CONTEXT;
	stack[depth] = ctx;
	return OK;
}

static int push_context(void *ctx)
{
	if (!pool_has(&contexts, ctx) || depth + 1 == NESTED)
		return ERR_CONTEXT;
	stack[++depth] = ctx;
	return OK;
}

static int pop_context(void **ctx)
{
	if (!current())
		return ERR_CONTEXT;
	if (ctx)
		*ctx = current();
	stack[depth] = NULL;
	if (depth)
		depth--;
	return OK;
}

static int destroy(void *ctx)
{
	if (!pool_has(&contexts, ctx))
		return ERR_CONTEXT;
	if (current() == ctx)
		stack[depth] = NULL;
	pool_free(ctx);
	return OK;
}

static int put_int(int *out, int v)
{
	if (!out)
		return ERR_VALUE;
	*out = v;
	return OK;
}

static int load_code(void **out, const void *image, double share)
{
	if (!current())
		return ERR_CONTEXT;
	if (!out || !image)
		return ERR_VALUE;
	cold(share);
	*out = pool_new(&codes);
	return *out ? OK : ERR_MEMORY;
}

static int find_code(void **out, void *mod, const char *name)
{
	if (!out || !name)
		return ERR_VALUE;
	if (!pool_has(&codes, mod))
		return ERR_HANDLE;
	*out = pool_new(&codes);
	return *out ? OK : ERR_MEMORY;
}

API(cuInit, u32 flags) { return DONE(cuInit, 0, init(flags)); }
API(cuDriverGetVersion, int *v) { return DONE(cuDriverGetVersion, 0, put_int(v, 12040)); }

API(cuDeviceGetCount, int *n)
{
	int err = usable(0);

	return DONE(cuDeviceGetCount, 0, err ? err : put_int(n, settings.devices));
}

API(cuDeviceGet, int *dev, int ordinal)
{
	int err = usable(ordinal);

	return DONE(cuDeviceGet, 0, err ? err : put_int(dev, ordinal));
}

API(cuCtxCreate_v2, void **ctx, u32 flags, int dev) { return DONE(cuCtxCreate_v2, 0, create(ctx, dev)); }

API(cuCtxCreate_v3, void **ctx, void *affinity, int n, u32 flags, int dev)
{
	return DONE(cuCtxCreate_v3, 0, create(ctx, dev));
}

API(cuCtxCreate_v4, void **ctx, void *params, u32 flags, int dev) { return DONE(cuCtxCreate_v4, 0, create(ctx, dev)); }
API(cuCtxDestroy_v2, void *ctx) { return DONE(cuCtxDestroy_v2, 0, destroy(ctx)); }
API(cuDevicePrimaryCtxRetain, void **ctx, int dev) { return DONE(cuDevicePrimaryCtxRetain, 0, retain(ctx, dev)); }
API(cuCtxSetCurrent, void *ctx) { return DONE(cuCtxSetCurrent, 0, select_context(ctx)); }
API(cuCtxPushCurrent_v2, void *ctx) { return DONE(cuCtxPushCurrent_v2, 0, push_context(ctx)); }
API(cuCtxPopCurrent_v2, void **ctx) { return DONE(cuCtxPopCurrent_v2, 0, pop_context(ctx)); }

API(cuModuleLoadData, void **mod, const void *image) { return DONE(cuModuleLoadData, 0, load_code(mod, image, 0.2)); }

API(cuModuleLoadDataEx, void **mod, const void *image, u32 n, void *opts, void **vals)
{
	return DONE(cuModuleLoadDataEx, 0, load_code(mod, image, 0.2));
}

API(cuLibraryLoadData, void **lib, const void *code, void *jit, void **jitv, u32 njit, void *opt, void **optv, u32 nopt)
{
	return DONE(cuLibraryLoadData, 0, load_code(lib, code, 0.2));
}

API(cuModuleGetFunction, void **f, void *mod, const char *name)
{
	return DONE(cuModuleGetFunction, 0, find_code(f, mod, name));
}

API(cuLibraryGetKernel, void **k, void *lib, const char *name)
{
	return DONE(cuLibraryGetKernel, 0, find_code(k, lib, name));
}

/* A function pushed to the device must be one we gave out. */
HIDDEN int is_code(const void *f) { return pool_has(&codes, f); }

__attribute__((destructor)) static void shut_down(void) { driver_state = SHUT_DOWN; }

EXPORT size_t sim_driver_totals(struct total *out, size_t max_rows) { return totals(out, max_rows); }

EXPORT size_t sim_driver_report(char *buf, size_t len)
{
	struct total t[MAX_ROWS];

	return format(t, totals(t, MAX_ROWS), buf, len);
}
