/* Copies and fills. They take device time; no data is moved. */
#include "device.h"

/* copy queues one copy and, unless it is asynchronous, waits for it. */
static int copy(void *stream, int per_thread, int async, int valid, double bytes)
{
	struct stream *s;
	int err = stream_of(stream, per_thread, &s);

	if (err)
		return err;
	if (!valid)
		return ERR_VALUE;
	if (!async && s->capture)
		return ERR_CAPTURE;
	if (bytes > 0)
		push(s, COPY, 1, bytes * 1e9 / settings.bandwidth);
	if (!async)
		device_wait(drained(s));
	return OK;
}

static int now(const void *d, const void *s, size_t n) { return copy(NULL, 0, 0, d && s, n); }

static int later(const void *d, const void *s, size_t n, void *st) { return copy(st, 0, 1, d && s, n); }

static int plane(const struct cu_copy2d *c, int async, void *st)
{
	return copy(st, 0, async, c != NULL, c ? (double)c->width * c->height : 0);
}

static int volume(const struct cu_copy3d *c, int async, void *st)
{
	return copy(st, 0, async, c != NULL, c ? (double)c->width * c->height * c->depth : 0);
}

#define P(x) ((const void *)(uintptr_t)(x))

API(cuMemcpy, dptr d, dptr s, size_t n) { return DONE(cuMemcpy, n, now(P(d), P(s), n)); }
API(cuMemcpyHtoD_v2, dptr d, const void *s, size_t n) { return DONE(cuMemcpyHtoD_v2, n, now(P(d), s, n)); }
API(cuMemcpyDtoH_v2, void *d, dptr s, size_t n) { return DONE(cuMemcpyDtoH_v2, n, now(d, P(s), n)); }
API(cuMemcpyDtoD_v2, dptr d, dptr s, size_t n) { return DONE(cuMemcpyDtoD_v2, n, now(P(d), P(s), n)); }

API(cuMemcpyAsync, dptr d, dptr s, size_t n, void *st) { return DONE(cuMemcpyAsync, n, later(P(d), P(s), n, st)); }

API(cuMemcpyAsync_ptsz, dptr d, dptr s, size_t n, void *st)
{
	return DONE(cuMemcpyAsync_ptsz, n, copy(st, 1, 1, d && s, n));
}

API(cuMemcpyHtoDAsync_v2, dptr d, const void *s, size_t n, void *st)
{
	return DONE(cuMemcpyHtoDAsync_v2, n, later(P(d), s, n, st));
}

API(cuMemcpyDtoHAsync_v2, void *d, dptr s, size_t n, void *st)
{
	return DONE(cuMemcpyDtoHAsync_v2, n, later(d, P(s), n, st));
}

API(cuMemcpyDtoDAsync_v2, dptr d, dptr s, size_t n, void *st)
{
	return DONE(cuMemcpyDtoDAsync_v2, n, later(P(d), P(s), n, st));
}

API(cuMemcpyPeer, dptr d, void *dctx, dptr s, void *sctx, size_t n) { return DONE(cuMemcpyPeer, n, now(P(d), P(s), n)); }

API(cuMemcpyPeerAsync, dptr d, void *dctx, dptr s, void *sctx, size_t n, void *st)
{
	return DONE(cuMemcpyPeerAsync, n, later(P(d), P(s), n, st));
}

/* The size of these is in memory, where a tracer does not look. */
API(cuMemcpy2D_v2, const struct cu_copy2d *c) { return DONE(cuMemcpy2D_v2, 0, plane(c, 0, NULL)); }
API(cuMemcpy2DUnaligned_v2, const struct cu_copy2d *c) { return DONE(cuMemcpy2DUnaligned_v2, 0, plane(c, 0, NULL)); }
API(cuMemcpy2DAsync_v2, const struct cu_copy2d *c, void *st) { return DONE(cuMemcpy2DAsync_v2, 0, plane(c, 1, st)); }
API(cuMemcpy3D_v2, const struct cu_copy3d *c) { return DONE(cuMemcpy3D_v2, 0, volume(c, 0, NULL)); }
API(cuMemcpy3DAsync_v2, const struct cu_copy3d *c, void *st) { return DONE(cuMemcpy3DAsync_v2, 0, volume(c, 1, st)); }

API(cuMemsetD8_v2, dptr d, unsigned char v, size_t n) { return DONE(cuMemsetD8_v2, n, copy(NULL, 0, 0, d != 0, n)); }

API(cuMemsetD16_v2, dptr d, unsigned short v, size_t n)
{
	return DONE(cuMemsetD16_v2, 2 * n, copy(NULL, 0, 0, d != 0, 2.0 * n));
}

API(cuMemsetD32_v2, dptr d, u32 v, size_t n) { return DONE(cuMemsetD32_v2, 4 * n, copy(NULL, 0, 0, d != 0, 4.0 * n)); }

API(cuMemsetD8Async, dptr d, unsigned char v, size_t n, void *st)
{
	return DONE(cuMemsetD8Async, n, copy(st, 0, 1, d != 0, n));
}

API(cuMemsetD16Async, dptr d, unsigned short v, size_t n, void *st)
{
	return DONE(cuMemsetD16Async, 2 * n, copy(st, 0, 1, d != 0, 2.0 * n));
}

API(cuMemsetD32Async, dptr d, u32 v, size_t n, void *st)
{
	return DONE(cuMemsetD32Async, 4 * n, copy(st, 0, 1, d != 0, 4.0 * n));
}

API(cuMemPrefetchAsync, dptr p, size_t n, int dev, void *st)
{
	return DONE(cuMemPrefetchAsync, n, copy(st, 0, 1, p != 0, n));
}
