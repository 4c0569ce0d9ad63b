/* Launches, streams, events and waits. */
#include "device.h"

POOL(marks, struct mark, 8192);

HIDDEN int is_code(const void *f);

static inline int launch(void *f, u64 blocks, u64 threads, void *stream, int per_thread)
{
	struct stream *s;
	int err = stream_of(stream, per_thread, &s);

	if (err)
		return err;
	if (!is_code(f))
		return ERR_HANDLE;
	if (!blocks || !threads)
		return ERR_VALUE;
	push(s, COMPUTE, 1, settings.kernel_ns);
	return OK;
}

#define BLOCKS ((u64)gx * gy * gz)
#define THREADS ((u64)bx * by * bz)

static int launch_config(const struct cu_launch_config *c, void *f)
{
	if (!c)
		return ERR_VALUE;
	return launch(f, (u64)c->grid[0] * c->grid[1] * c->grid[2],
		(u64)c->block[0] * c->block[1] * c->block[2], c->stream, 0);
}

API(cuLaunchKernel, LAUNCH_ARGS) { return DONE(cuLaunchKernel, 0, launch(f, BLOCKS, THREADS, s, 0)); }
API(cuLaunchKernel_ptsz, LAUNCH_ARGS) { return DONE(cuLaunchKernel_ptsz, 0, launch(f, BLOCKS, THREADS, s, 1)); }

API(cuLaunchKernelEx, const struct cu_launch_config *c, void *f, void **params, void **extra)
{
	return DONE(cuLaunchKernelEx, 0, launch_config(c, f));
}

API(cuLaunchCooperativeKernel, void *f, u32 gx, u32 gy, u32 gz, u32 bx, u32 by, u32 bz, u32 shared, void *s, void **params)
{
	return DONE(cuLaunchCooperativeKernel, 0, launch(f, BLOCKS, THREADS, s, 0));
}

static int create_stream(void **out)
{
	struct stream *s;

	if (!current())
		return ERR_CONTEXT;
	if (!out)
		return ERR_VALUE;
	s = pool_new(&streams);
	if (!s)
		return ERR_MEMORY;
	s->dev = current()->dev;
	s->capture = NULL;
	s->tail = 0;
	for (int i = 0; i < QUEUE; i++)
		s->end[i] = 0;
	*out = s;
	return OK;
}

static int destroy_stream(void *s)
{
	if (!pool_has(&streams, s) || s == ((struct stream *)s)->dev->legacy)
		return ERR_HANDLE;
	pool_free(s);
	return OK;
}

static int wait_stream(void *stream, int per_thread)
{
	struct stream *s;
	int err = stream_of(stream, per_thread, &s);

	if (err)
		return err;
	if (s->capture)
		return ERR_CAPTURE;
	device_wait(drained(s));
	return OK;
}

static int query_stream(void *stream)
{
	struct stream *s;
	int err = stream_of(stream, 0, &s);

	if (err)
		return err;
	return device_now() < drained(s) ? ERR_NOT_READY : OK;
}

static int wait_device(void)
{
	struct context *c = current();

	if (!c)
		return ERR_CONTEXT;
	device_wait(__atomic_load_n(&c->dev->tail, __ATOMIC_RELAXED));
	return OK;
}

API(cuStreamCreate, void **s, u32 flags) { return DONE(cuStreamCreate, 0, create_stream(s)); }
API(cuStreamDestroy_v2, void *s) { return DONE(cuStreamDestroy_v2, 0, destroy_stream(s)); }
API(cuStreamQuery, void *s) { return DONE(cuStreamQuery, 0, query_stream(s)); }
API(cuStreamSynchronize, void *s) { return DONE(cuStreamSynchronize, 0, wait_stream(s, 0)); }
API(cuStreamSynchronize_ptsz, void *s) { return DONE(cuStreamSynchronize_ptsz, 0, wait_stream(s, 1)); }
API(cuCtxSynchronize, void) { return DONE(cuCtxSynchronize, 0, wait_device()); }

static int create_event(void **out)
{
	struct mark *e;

	if (!current())
		return ERR_CONTEXT;
	if (!out)
		return ERR_VALUE;
	e = pool_new(&marks);
	if (!e)
		return ERR_MEMORY;
	e->at = 0;
	*out = e;
	return OK;
}

static int record(struct mark *e, void *stream)
{
	struct stream *s;
	int err = stream_of(stream, 0, &s);

	if (err)
		return err;
	if (!pool_has(&marks, e))
		return ERR_HANDLE;
	__atomic_store_n(&e->at, drained(s), __ATOMIC_RELAXED);
	return OK;
}

/* passed says whether the event is over; it waits for it if asked to. */
static int passed(const struct mark *e, int wait)
{
	u64 at;

	if (!pool_has(&marks, e))
		return ERR_HANDLE;
	at = __atomic_load_n(&e->at, __ATOMIC_RELAXED);
	if (wait)
		device_wait(at);
	return wait || device_now() >= at ? OK : ERR_NOT_READY;
}

static int destroy_event(void *e)
{
	if (!pool_has(&marks, e))
		return ERR_HANDLE;
	pool_free(e);
	return OK;
}

API(cuEventCreate, void **e, u32 flags) { return DONE(cuEventCreate, 0, create_event(e)); }
API(cuEventRecord, void *e, void *s) { return DONE(cuEventRecord, 0, record(e, s)); }
API(cuEventQuery, void *e) { return DONE(cuEventQuery, 0, passed(e, 0)); }
API(cuEventSynchronize, void *e) { return DONE(cuEventSynchronize, 0, passed(e, 1)); }
API(cuEventDestroy_v2, void *e) { return DONE(cuEventDestroy_v2, 0, destroy_event(e)); }
