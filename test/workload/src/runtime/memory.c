/* Memory and copies. */
#include "runtime.h"

#include <string.h>

#define D(p) ((dptr)(uintptr_t)(p))

static int new_memory(void **p, size_t n)
{
	if (!p)
		return ERR_VALUE;
	*p = NULL;
	return n ? cu.cuMemAlloc_v2((dptr *)p, n) : OK;
}

static int copy(void *d, const void *s, size_t n, int kind)
{
	switch (kind) {
	case H2H:
		if (!d || !s)
			return ERR_VALUE;
		memmove(d, s, n);
		return OK;
	case H2D:
		return cu.cuMemcpyHtoD_v2(D(d), s, n);
	case D2H:
		return cu.cuMemcpyDtoH_v2(d, D(s), n);
	case D2D:
		return cu.cuMemcpyDtoD_v2(D(d), D(s), n);
	case ANY:
		return cu.cuMemcpy(D(d), D(s), n);
	}
	return ERR_VALUE;
}

static int copy_async(void *d, const void *s, size_t n, int kind, void *st)
{
	switch (kind) {
	case H2H:
	case ANY:
		return cu.cuMemcpyAsync(D(d), D(s), n, st);
	case H2D:
		return cu.cuMemcpyHtoDAsync_v2(D(d), s, n, st);
	case D2H:
		return cu.cuMemcpyDtoHAsync_v2(d, D(s), n, st);
	case D2D:
		return cu.cuMemcpyDtoDAsync_v2(D(d), D(s), n, st);
	}
	return ERR_VALUE;
}

static int plane(void *d, size_t dp, const void *s, size_t sp, size_t w, size_t h, int kind, int async, void *st)
{
	struct cu_copy2d c = {
		.src = { .host = s, .device = D(s), .pitch = sp },
		.dst = { .host = d, .device = D(d), .pitch = dp },
		.width = w,
		.height = h,
	};

	if (!d || !s || w > dp || w > sp || kind < H2H || kind > ANY)
		return ERR_VALUE;
	return async ? cu.cuMemcpy2DAsync_v2(&c, st) : cu.cuMemcpy2DUnaligned_v2(&c);
}

static int free_memory(void *p) { return p ? cu.cuMemFree_v2(D(p)) : OK; }
static int free_host(void *p) { return p ? cu.cuMemFreeHost(p) : OK; }

RT(cudaMalloc, void **p, size_t n) { RET(cudaMalloc, n, enter() ?: new_memory(p, n)); }

RT(cudaMallocManaged, void **p, size_t n, u32 flags)
{
	RET(cudaMallocManaged, n, enter() ?: cu.cuMemAllocManaged((dptr *)p, n, flags));
}

RT(cudaMallocHost, void **p, size_t n) { RET(cudaMallocHost, n, enter() ?: cu.cuMemAllocHost_v2(p, n)); }

RT(cudaHostAlloc, void **p, size_t n, u32 flags)
{
	RET(cudaHostAlloc, n, enter() ?: cu.cuMemHostAlloc(p, n, flags));
}

RT(cudaMallocAsync, void **p, size_t n, void *s)
{
	RET(cudaMallocAsync, n, enter() ?: cu.cuMemAllocAsync((dptr *)p, n, s));
}

RT(cudaMallocFromPoolAsync, void **p, size_t n, void *pool, void *s)
{
	RET(cudaMallocFromPoolAsync, n, enter() ?: cu.cuMemAllocFromPoolAsync((dptr *)p, n, pool, s));
}

RT(cudaFree, void *p) { RET(cudaFree, 0, enter() ?: free_memory(p)); }
RT(cudaFreeAsync, void *p, void *s) { RET(cudaFreeAsync, 0, enter() ?: cu.cuMemFreeAsync(D(p), s)); }
RT(cudaFreeHost, void *p) { RET(cudaFreeHost, 0, enter() ?: free_host(p)); }
RT(cudaMemGetInfo, size_t *f, size_t *total) { RET(cudaMemGetInfo, 0, enter() ?: cu.cuMemGetInfo_v2(f, total)); }

RT(cudaMemcpy, void *d, const void *s, size_t n, int kind)
{
	RET(cudaMemcpy, n, enter() ?: copy(d, s, n, kind));
}

RT(cudaMemcpyAsync, void *d, const void *s, size_t n, int kind, void *st)
{
	RET(cudaMemcpyAsync, n, enter() ?: copy_async(d, s, n, kind, st));
}

RT(cudaMemcpyAsync_ptsz, void *d, const void *s, size_t n, int kind, void *st)
{
	int bad = kind < H2H || kind > ANY ? ERR_VALUE : OK;

	RET(cudaMemcpyAsync_ptsz, n, enter() ?: bad ?: cu.cuMemcpyAsync_ptsz(D(d), D(s), n, st));
}

RT(cudaMemcpy2D, void *d, size_t dp, const void *s, size_t sp, size_t w, size_t h, int kind)
{
	RET(cudaMemcpy2D, w * h, enter() ?: plane(d, dp, s, sp, w, h, kind, 0, NULL));
}

RT(cudaMemcpy2DAsync, void *d, size_t dp, const void *s, size_t sp, size_t w, size_t h, int kind, void *st)
{
	RET(cudaMemcpy2DAsync, w * h, enter() ?: plane(d, dp, s, sp, w, h, kind, 1, st));
}

RT(cudaMemset, void *d, int v, size_t n) { RET(cudaMemset, n, enter() ?: cu.cuMemsetD8_v2(D(d), v, n)); }

RT(cudaMemsetAsync, void *d, int v, size_t n, void *st)
{
	RET(cudaMemsetAsync, n, enter() ?: cu.cuMemsetD8Async(D(d), v, n, st));
}

RT(cudaMemPrefetchAsync, const void *p, size_t n, int dev, void *st)
{
	RET(cudaMemPrefetchAsync, n, enter() ?: cu.cuMemPrefetchAsync(D(p), n, dev, st));
}
