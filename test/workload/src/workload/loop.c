#include "loop.h"
#include "api.h"
#include "control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

u64 wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

void check(const char *what, int err)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static const char *told[32];
	int i;

	if (!err)
		return;
	pthread_mutex_lock(&lock);
	for (i = 0; i < 32 && told[i] && told[i] != what; i++)
		;
	if (i < 32 && !told[i]) {
		told[i] = what;
		fprintf(stderr, "workload: %s: error %d\n", what, err);
	}
	pthread_mutex_unlock(&lock);
}

#define TRY(fn, ...) check(#fn, cuda.fn(__VA_ARGS__))

/* Kernels are known to the runtime by the address of a host function. */
static const char kernels[4] = { 1, 2, 3, 4 };

static void launch(struct worker *w, u64 i)
{
	struct dim3 grid = { 64, 1, 1 }, block = { 256, 1, 1 };
	void *f = w->kernel[i % 4];

	if (opt.driver)
		TRY(cuLaunchKernel, f, 64, 1, 1, 256, 1, 1, 0, w->stream, NULL, NULL);
	else
		TRY(cudaLaunchKernel, f, grid, block, NULL, 0, w->stream);
}

static void forget(struct worker *w, u64 at)
{
	if (w->exec[at] && opt.driver)
		TRY(cuGraphExecDestroy, w->exec[at]);
	else if (w->exec[at])
		TRY(cudaGraphExecDestroy, w->exec[at]);
	w->exec[at] = NULL;
}

static void capture(struct worker *w, u64 at)
{
	void *g = NULL;

	forget(w, at);

	if (opt.driver)
		TRY(cuStreamBeginCapture_v2, w->stream, 0);
	else
		TRY(cudaStreamBeginCapture, w->stream, 0);
	for (u64 i = 0, n = LIVE(launches); i < n; i++) {
		work(LIVE(capture_us) / n);
		launch(w, i);
	}
	if (opt.driver) {
		TRY(cuStreamEndCapture, w->stream, &g);
		TRY(cuGraphInstantiateWithFlags, &w->exec[at], g, 0);
		TRY(cuGraphDestroy, g);
	} else {
		TRY(cudaStreamEndCapture, w->stream, &g);
		TRY(cudaGraphInstantiate, &w->exec[at], g, 0);
		TRY(cudaGraphDestroy, g);
	}
}

/* graph returns the graph of the step's shape. There are as many places as
 * the pool has; a shape that finds another in its place is captured again. */
static void *graph(struct worker *w)
{
	u64 shapes = LIVE(shapes), shape = shapes ? w->steps % shapes : 0;
	u64 at = shape % (opt.graph_pool ? opt.graph_pool : 1);

	if (w->shape[at] != shape + 1 || LIVE(recapture))
		capture(w, at);
	w->shape[at] = shape + 1;
	return w->exec[at];
}

static void setup_driver(struct worker *w)
{
	static const char *const names[] = { "matmul", "softmax", "layer_norm", "adam" };
	void *ctx = NULL, *mod = NULL;
	int dev = 0;

	TRY(cuInit, 0);
	TRY(cuDeviceGet, &dev, w->device);
	TRY(cuDevicePrimaryCtxRetain, &ctx, dev);
	TRY(cuCtxSetCurrent, ctx);
	TRY(cuModuleLoadData, &mod, "image");
	for (int i = 0; i < 4; i++)
		TRY(cuModuleGetFunction, &w->kernel[i], mod, names[i]);
	TRY(cuStreamCreate, &w->stream, 0);
	if (opt.sync == SYNC_EVENT)
		TRY(cuEventCreate, &w->event, 0);
	if (live.copy_bytes)
		TRY(cuMemAlloc_v2, (dptr *)&w->device_buf, live.copy_bytes);
}

static void setup_runtime(struct worker *w)
{
	for (int i = 0; i < 4; i++)
		w->kernel[i] = (void *)&kernels[i];
	TRY(cudaSetDevice, w->device);
	TRY(cudaStreamCreate, &w->stream);
	if (opt.sync == SYNC_EVENT)
		TRY(cudaEventCreate, &w->event);
	if (live.copy_bytes)
		TRY(cudaMalloc, &w->device_buf, live.copy_bytes);
}

static void setup(struct worker *w)
{
	w->device = w->index % opt.devices;
	w->bins = calloc(BINS, sizeof(w->bins[0]));
	if (!w->bins)
		die("allocate bins: no memory");
	if (live.copy_bytes && !(w->host_buf = malloc(live.copy_bytes)))
		die("allocate --copy-bytes: no memory");
	if (opt.driver)
		setup_driver(w);
	else
		setup_runtime(w);
	control_loaded();
	if (opt.graph && !opt.bench)
		graph(w);
	host_setup(&w->host);
}

static void teardown(struct worker *w)
{
	for (u64 i = 0; i < 64; i++)
		forget(w, i);
	if (opt.driver) {
		if (w->device_buf)
			TRY(cuMemFree_v2, (dptr)(uintptr_t)w->device_buf);
		if (w->event)
			TRY(cuEventDestroy_v2, w->event);
		TRY(cuStreamDestroy_v2, w->stream);
	} else {
		if (w->device_buf)
			TRY(cudaFree, w->device_buf);
		if (w->event)
			TRY(cudaEventDestroy, w->event);
		TRY(cudaStreamDestroy, w->stream);
	}
	free(w->host_buf);
}

static void sync_driver(struct worker *w)
{
	switch (opt.sync) {
	case SYNC_STREAM:
		TRY(cuStreamSynchronize, w->stream);
		break;
	case SYNC_DEVICE:
		TRY(cuCtxSynchronize);
		break;
	case SYNC_EVENT:
		TRY(cuEventRecord, w->event, w->stream);
		TRY(cuEventSynchronize, w->event);
		break;
	case SYNC_NONE:
		break;
	}
}

static void sync_runtime(struct worker *w)
{
	switch (opt.sync) {
	case SYNC_STREAM:
		TRY(cudaStreamSynchronize, w->stream);
		break;
	case SYNC_DEVICE:
		TRY(cudaDeviceSynchronize);
		break;
	case SYNC_EVENT:
		TRY(cudaEventRecord, w->event, w->stream);
		TRY(cudaEventSynchronize, w->event);
		break;
	case SYNC_NONE:
		break;
	}
}

/* fail makes one wrong call of each kind; that they fail is expected. */
static void fail(void)
{
	struct dim3 one = { 1, 1, 1 };
	void *p = NULL, *bad = (void *)0x1234560;

	if (opt.driver) {
		cuda.cuMemAlloc_v2((dptr *)&p, opt.memory_bytes + 1);
		cuda.cuMemFree_v2(0x1234560);
		cuda.cuLaunchKernel(NULL, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL);
		cuda.cuStreamSynchronize(bad);
		return;
	}
	cuda.cudaMalloc(&p, opt.memory_bytes + 1);
	cuda.cudaFree(bad);
	cuda.cudaLaunchKernel(NULL, one, one, NULL, 0, NULL);
	cuda.cudaMemcpy(NULL, &one, sizeof(one), H2D);
	cuda.cudaStreamSynchronize(bad);
	cuda.cudaSetDevice(-1);
	cuda.cudaGetLastError();
}

/* copied returns the bytes to copy in this step, 0 if the worker has no
 * memory for copies: with --copy-every N, only each Nth copy is large. */
static u64 copied(const struct worker *w)
{
	u64 n = w->device_buf ? LIVE(copy_bytes) : 0, every = LIVE(copy_every);

	return every && w->steps % every ? n / 64 : n;
}

static void step_driver(struct worker *w, u64 launches)
{
	u64 bytes = copied(w);

	for (u64 i = 0, n = opt.alloc_bytes ? LIVE(allocs) : 0; i < n; i++) {
		dptr p = 0;

		TRY(cuMemAlloc_v2, &p, opt.alloc_bytes);
		if (p)
			TRY(cuMemFree_v2, p);
	}
	if (bytes)
		TRY(cuMemcpyHtoDAsync_v2, (dptr)(uintptr_t)w->device_buf, w->host_buf, bytes, w->stream);
	if (opt.graph)
		TRY(cuGraphLaunch, graph(w), w->stream);
	else
		for (u64 i = 0; i < launches; i++)
			launch(w, i);
	sync_driver(w);
	if (bytes)
		TRY(cuMemcpyDtoH_v2, w->host_buf, (dptr)(uintptr_t)w->device_buf, bytes);
}

static void step_runtime(struct worker *w, u64 launches)
{
	u64 bytes = copied(w);

	for (u64 i = 0, n = opt.alloc_bytes ? LIVE(allocs) : 0; i < n; i++) {
		void *p = NULL;

		TRY(cudaMalloc, &p, opt.alloc_bytes);
		if (p)
			TRY(cudaFree, p);
	}
	if (bytes)
		TRY(cudaMemcpyAsync, w->device_buf, w->host_buf, bytes, H2D, w->stream);
	if (opt.graph)
		TRY(cudaGraphLaunch, graph(w), w->stream);
	else
		for (u64 i = 0; i < launches; i++)
			launch(w, i);
	sync_runtime(w);
	if (bytes)
		TRY(cudaMemcpy, w->host_buf, w->device_buf, bytes, D2H);
}

/* bin counts a step of so many ns. */
static void bin(struct worker *w, u64 ns)
{
	int e = ns < SUB ? 0 : 64 - __builtin_clzll(ns) - 7; /* bits beyond SUB's */

	w->bins[e ? e * (SUB / 2) + (ns >> e) : ns]++;
	w->steps++;
	if (ns > w->worst_ns)
		w->worst_ns = ns;
}

static u64 value(int b)
{
	int e = b < SUB ? 0 : b / (SUB / 2) - 1;

	return e ? (((u64)(b - e * (SUB / 2)) << e) + (1ull << e >> 1)) : (u64)b;
}

u64 median(const struct worker *w, int n)
{
	u64 all = 0, sum = 0;

	for (int i = 0; i < n; i++)
		all += w[i].steps;
	for (int b = 0; all && b < BINS; b++) {
		for (int i = 0; i < n; i++)
			sum += w[i].bins ? w[i].bins[b] : 0;
		if (sum > (all - 1) / 2)
			return value(b);
	}
	return 0;
}

/* gap sleeps in pieces, so that a stop is not left waiting. */
static void gap(u64 us)
{
	while (us && !LIVE(stop)) {
		u64 n = us > 100000 ? 100000 : us;
		struct timespec ts = { 0, n * 1000 };

		nanosleep(&ts, NULL);
		us -= n;
	}
}

void *run_worker(void *arg)
{
	struct worker *w = arg;
	u64 deadline = opt.duration_s > 0 ? wall_ns() + (u64)(opt.duration_s * 1e9) : ~0ull;

	setup(w);
	if (opt.bench) {
		bench(w);
		teardown(w);
		return NULL;
	}
	for (u64 i = 0; (!opt.steps || i < opt.steps) && !LIVE(stop); i++) {
		u64 start;

		if (i)
			gap(LIVE(gap_us));
		if (w->index == 0)
			control_read();
		start = wall_ns();
		if (start >= deadline || LIVE(stop))
			break;
		host_step(&w->host, w->steps);
		if (LIVE(stop))
			break;
		if (opt.driver)
			step_driver(w, LIVE(launches));
		else
			step_runtime(w, LIVE(launches));
		if (opt.fail)
			fail();
		bin(w, wall_ns() - start);
		if (w->index == 0)
			log_steps(w);
	}
	teardown(w);
	return NULL;
}
