/* Launches, streams, events and graphs. */
#include "runtime.h"

#include <pthread.h>
#include <stdio.h>

extern HIDDEN void *module;

/* What a kernel gets whose caller gives no arguments, as ours on a device
 * need. */
extern HIDDEN void **kernel_args;

enum { KERNELS = 1024 };

/* The driver's function for a host function, found at its first launch and
 * kept. Readers take no lock: fn is written before host. */
static struct kernel { const void *host; void *fn; } kernels[KERNELS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct kernel *slot(const void *host)
{
	u64 h = (uintptr_t)host * 0x9E3779B97F4A7C15ull >> 54;

	for (int i = 0; i < KERNELS; i++) {
		struct kernel *k = &kernels[(h + i) % KERNELS];
		const void *p = __atomic_load_n(&k->host, __ATOMIC_ACQUIRE);

		if (!p || p == host)
			return k;
	}
	return NULL;
}

static int find(const void *host, void **fn)
{
	static int known;
	struct kernel *k = slot(host);
	char name[24];
	int err = OK;

	if (!host || !k)
		return ERR_FUNCTION;
	if (__atomic_load_n(&k->host, __ATOMIC_ACQUIRE) == host) {
		*fn = k->fn;
		return OK;
	}
	pthread_mutex_lock(&lock);
	k = slot(host); /* another thread may have been here */
	if (!k) {
		err = ERR_FUNCTION;
	} else if (!k->host) {
		snprintf(name, sizeof(name), "kernel_%d", known++);
		err = cu.cuModuleGetFunction(&k->fn, module, name);
		if (!err)
			__atomic_store_n(&k->host, host, __ATOMIC_RELEASE);
	}
	if (!err)
		*fn = k->fn;
	pthread_mutex_unlock(&lock);
	return err;
}

static int valid(struct dim3 g, struct dim3 b)
{
	return g.x && g.y && g.z && b.x && b.y && b.z ? OK : ERR_CONFIG;
}

static inline int launch(__typeof__(cuLaunchKernel) *call, const void *f, struct dim3 g, struct dim3 b,
	void **args, size_t shared, void *s)
{
	void *fn;

	return find(f, &fn) ?: valid(g, b) ?: call(fn, g.x, g.y, g.z, b.x, b.y, b.z, shared, s, args ?: kernel_args, NULL);
}

static int cooperative(const void *f, struct dim3 g, struct dim3 b, void **args, size_t shared, void *s)
{
	void *fn;

	return find(f, &fn) ?: valid(g, b)
		?: cu.cuLaunchCooperativeKernel(fn, g.x, g.y, g.z, b.x, b.y, b.z, shared, s, args ?: kernel_args);
}

static int launch_config(const struct cuda_launch_config *c, const void *f, void **args)
{
	struct cu_launch_config d;
	void *fn;
	int err;

	if (!c)
		return ERR_VALUE;
	err = find(f, &fn) ?: valid(c->grid, c->block);
	if (err)
		return err;
	d = (struct cu_launch_config){
		.grid = { c->grid.x, c->grid.y, c->grid.z },
		.block = { c->block.x, c->block.y, c->block.z },
		.shared = c->shared,
		.stream = c->stream,
	};
	return cu.cuLaunchKernelEx(&d, fn, args ?: kernel_args, NULL);
}

#define LAUNCH const void *f, struct dim3 g, struct dim3 b, void **args, size_t shared, void *s

RT(cudaLaunchKernel, LAUNCH)
{
	RET(cudaLaunchKernel, 0, enter() ?: launch(cu.cuLaunchKernel, f, g, b, args, shared, s));
}

RT(cudaLaunchKernel_ptsz, LAUNCH)
{
	RET(cudaLaunchKernel_ptsz, 0, enter() ?: launch(cu.cuLaunchKernel_ptsz, f, g, b, args, shared, s));
}

/* What nvcc 13 compiles a launch to; kernels have their own handles there. */
RT(__cudaLaunchKernel, LAUNCH)
{
	RET(__cudaLaunchKernel, 0, enter() ?: launch(cu.cuLaunchKernel, f, g, b, args, shared, s));
}

RT(cudaLaunchKernelExC, const struct cuda_launch_config *c, const void *f, void **args)
{
	RET(cudaLaunchKernelExC, 0, enter() ?: launch_config(c, f, args));
}

RT(cudaLaunchCooperativeKernel, LAUNCH)
{
	RET(cudaLaunchCooperativeKernel, 0, enter() ?: cooperative(f, g, b, args, shared, s));
}

RT(cudaStreamCreate, void **s) { RET(cudaStreamCreate, 0, enter() ?: cu.cuStreamCreate(s, 0)); }
RT(cudaStreamDestroy, void *s) { RET(cudaStreamDestroy, 0, enter() ?: cu.cuStreamDestroy_v2(s)); }
RT(cudaStreamSynchronize, void *s) { RET(cudaStreamSynchronize, 0, enter() ?: cu.cuStreamSynchronize(s)); }

RT(cudaStreamSynchronize_ptsz, void *s)
{
	RET(cudaStreamSynchronize_ptsz, 0, enter() ?: cu.cuStreamSynchronize_ptsz(s));
}

RT(cudaDeviceSynchronize, void) { RET(cudaDeviceSynchronize, 0, enter() ?: cu.cuCtxSynchronize()); }

/* Not ready is an answer and not an error to remember. */
RT(cudaStreamQuery, void *s) { return DONE(cudaStreamQuery, 0, enter() ?: cu.cuStreamQuery(s)); }
RT(cudaEventQuery, void *e) { return DONE(cudaEventQuery, 0, enter() ?: cu.cuEventQuery(e)); }
RT(cudaEventCreate, void **e) { RET(cudaEventCreate, 0, enter() ?: cu.cuEventCreate(e, 0)); }
RT(cudaEventRecord, void *e, void *s) { RET(cudaEventRecord, 0, enter() ?: cu.cuEventRecord(e, s)); }
RT(cudaEventSynchronize, void *e) { RET(cudaEventSynchronize, 0, enter() ?: cu.cuEventSynchronize(e)); }
RT(cudaEventDestroy, void *e) { RET(cudaEventDestroy, 0, enter() ?: cu.cuEventDestroy_v2(e)); }

RT(cudaStreamBeginCapture, void *s, int mode)
{
	RET(cudaStreamBeginCapture, 0, enter() ?: cu.cuStreamBeginCapture_v2(s, mode));
}

RT(cudaStreamEndCapture, void *s, void **g) { RET(cudaStreamEndCapture, 0, enter() ?: cu.cuStreamEndCapture(s, g)); }

RT(cudaGraphInstantiate, void **x, void *g, u64 flags)
{
	RET(cudaGraphInstantiate, 0, enter() ?: cu.cuGraphInstantiateWithFlags(x, g, flags));
}

RT(cudaGraphInstantiateWithFlags, void **x, void *g, u64 flags)
{
	RET(cudaGraphInstantiateWithFlags, 0, enter() ?: cu.cuGraphInstantiateWithFlags(x, g, flags));
}

RT(cudaGraphInstantiateWithParams, void **x, void *g, void *params)
{
	RET(cudaGraphInstantiateWithParams, 0, enter() ?: cu.cuGraphInstantiateWithParams(x, g, params));
}

RT(cudaGraphExecUpdate, void *x, void *g, void *result)
{
	RET(cudaGraphExecUpdate, 0, enter() ?: cu.cuGraphExecUpdate_v2(x, g, result));
}

RT(cudaGraphLaunch, void *x, void *s) { RET(cudaGraphLaunch, 0, enter() ?: cu.cuGraphLaunch(x, s)); }
RT(cudaGraphExecDestroy, void *x) { RET(cudaGraphExecDestroy, 0, enter() ?: cu.cuGraphExecDestroy(x)); }
RT(cudaGraphDestroy, void *g) { RET(cudaGraphDestroy, 0, enter() ?: cu.cuGraphDestroy(g)); }
