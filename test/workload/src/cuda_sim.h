/* The part of the CUDA runtime and driver interface that we simulate, with
 * the argument positions of NVIDIA's public headers: the tracer reads
 * registers by position. Handles are opaque. */
#ifndef CUDA_SIM_H
#define CUDA_SIM_H

#include <stddef.h>
#include <stdint.h>

typedef uint64_t u64;
typedef uint32_t u32;
typedef u64 dptr; /* CUdeviceptr */

struct dim3 { u32 x, y, z; };

struct cuda_launch_config { /* cudaLaunchConfig_t */
	struct dim3 grid, block;
	size_t shared;
	void *stream;
	void *attrs;
	u32 nattrs;
};

struct cu_launch_config { /* CUlaunchConfig */
	u32 grid[3], block[3];
	u32 shared;
	void *stream;
	void *attrs;
	u32 nattrs;
};

struct cu_copy_end { /* one side of CUDA_MEMCPY2D */
	size_t x, y;
	u32 type;
	const void *host;
	dptr device;
	void *array;
	size_t pitch;
};

struct cu_copy2d { /* CUDA_MEMCPY2D */
	struct cu_copy_end src, dst;
	size_t width, height;
};

struct cu_copy_end3 { /* one side of CUDA_MEMCPY3D */
	size_t x, y, z, lod;
	u32 type;
	const void *host;
	dptr device;
	void *array, *reserved;
	size_t pitch, height;
};

struct cu_copy3d { /* CUDA_MEMCPY3D */
	struct cu_copy_end3 src, dst;
	size_t width, height, depth;
};

/* Error codes, the same numbers in both libraries. */
enum {
	OK = 0,
	ERR_VALUE = 1,
	ERR_MEMORY = 2,
	ERR_NOT_INIT = 3,
	ERR_DEINIT = 4,
	ERR_CONFIG = 9,
	ERR_OLD_DRIVER = 35,
	ERR_FUNCTION = 98,
	ERR_DEVICE = 101,
	ERR_CONTEXT = 201,
	ERR_HANDLE = 400,
	ERR_NOT_READY = 600,
	ERR_CAPTURE = 900,
};

/* cudaMemcpyKind */
enum { H2H, H2D, D2H, D2D, ANY };

#define LAUNCH_ARGS void *f, u32 gx, u32 gy, u32 gz, u32 bx, u32 by, u32 bz, u32 shared, void *s, void **params, void **extra

/* driver: start-up, contexts, code */
int cuInit(u32 flags);
int cuDriverGetVersion(int *v);
int cuDeviceGet(int *dev, int ordinal);
int cuDeviceGetCount(int *n);
int cuCtxCreate_v2(void **ctx, u32 flags, int dev);
int cuCtxCreate_v3(void **ctx, void *affinity, int n, u32 flags, int dev);
int cuCtxCreate_v4(void **ctx, void *params, u32 flags, int dev);
int cuCtxDestroy_v2(void *ctx);
int cuDevicePrimaryCtxRetain(void **ctx, int dev);
int cuCtxSetCurrent(void *ctx);
int cuCtxPushCurrent_v2(void *ctx);
int cuCtxPopCurrent_v2(void **ctx);
int cuModuleLoadData(void **mod, const void *image);
int cuModuleLoadDataEx(void **mod, const void *image, u32 n, void *opts, void **vals);
int cuModuleGetFunction(void **f, void *mod, const char *name);
int cuLibraryLoadData(void **lib, const void *code, void *jit, void **jitv, u32 njit, void *opt, void **optv, u32 nopt);
int cuLibraryGetKernel(void **k, void *lib, const char *name);

/* driver: memory */
int cuMemAlloc_v2(dptr *p, size_t n);
int cuMemAllocManaged(dptr *p, size_t n, u32 flags);
int cuMemAllocPitch_v2(dptr *p, size_t *pitch, size_t w, size_t h, u32 elem);
int cuMemAllocAsync(dptr *p, size_t n, void *s);
int cuMemAllocFromPoolAsync(dptr *p, size_t n, void *pool, void *s);
int cuMemCreate(u64 *handle, size_t n, const void *prop, u64 flags);
int cuMemMap(dptr p, size_t n, size_t off, u64 handle, u64 flags);
int cuMemAddressReserve(dptr *p, size_t n, size_t align, dptr addr, u64 flags);
int cuMemHostAlloc(void **p, size_t n, u32 flags);
int cuMemAllocHost_v2(void **p, size_t n);
int cuMemFree_v2(dptr p);
int cuMemFreeAsync(dptr p, void *s);
int cuMemFreeHost(void *p);
int cuMemRelease(u64 handle);
int cuMemUnmap(dptr p, size_t n);
int cuMemGetInfo_v2(size_t *free, size_t *total);

/* driver: copies */
int cuMemcpy(dptr d, dptr s, size_t n);
int cuMemcpyAsync(dptr d, dptr s, size_t n, void *st);
int cuMemcpyAsync_ptsz(dptr d, dptr s, size_t n, void *st);
int cuMemcpyHtoD_v2(dptr d, const void *s, size_t n);
int cuMemcpyDtoH_v2(void *d, dptr s, size_t n);
int cuMemcpyDtoD_v2(dptr d, dptr s, size_t n);
int cuMemcpyHtoDAsync_v2(dptr d, const void *s, size_t n, void *st);
int cuMemcpyDtoHAsync_v2(void *d, dptr s, size_t n, void *st);
int cuMemcpyDtoDAsync_v2(dptr d, dptr s, size_t n, void *st);
int cuMemcpyPeer(dptr d, void *dctx, dptr s, void *sctx, size_t n);
int cuMemcpyPeerAsync(dptr d, void *dctx, dptr s, void *sctx, size_t n, void *st);
int cuMemcpy2D_v2(const struct cu_copy2d *c);
int cuMemcpy2DUnaligned_v2(const struct cu_copy2d *c);
int cuMemcpy2DAsync_v2(const struct cu_copy2d *c, void *st);
int cuMemcpy3D_v2(const struct cu_copy3d *c);
int cuMemcpy3DAsync_v2(const struct cu_copy3d *c, void *st);
int cuMemsetD8_v2(dptr d, unsigned char v, size_t n);
int cuMemsetD16_v2(dptr d, unsigned short v, size_t n);
int cuMemsetD32_v2(dptr d, u32 v, size_t n);
int cuMemsetD8Async(dptr d, unsigned char v, size_t n, void *st);
int cuMemsetD16Async(dptr d, unsigned short v, size_t n, void *st);
int cuMemsetD32Async(dptr d, u32 v, size_t n, void *st);
int cuMemPrefetchAsync(dptr p, size_t n, int dev, void *st);

/* driver: launches, waits, graphs */
int cuLaunchKernel(LAUNCH_ARGS);
int cuLaunchKernel_ptsz(LAUNCH_ARGS);
int cuLaunchKernelEx(const struct cu_launch_config *c, void *f, void **params, void **extra);
int cuLaunchCooperativeKernel(void *f, u32 gx, u32 gy, u32 gz, u32 bx, u32 by, u32 bz, u32 shared, void *s, void **params);
int cuStreamCreate(void **s, u32 flags);
int cuStreamDestroy_v2(void *s);
int cuStreamQuery(void *s);
int cuStreamSynchronize(void *s);
int cuStreamSynchronize_ptsz(void *s);
int cuCtxSynchronize(void);
int cuEventCreate(void **e, u32 flags);
int cuEventRecord(void *e, void *s);
int cuEventQuery(void *e);
int cuEventSynchronize(void *e);
int cuEventDestroy_v2(void *e);
int cuStreamBeginCapture_v2(void *s, int mode);
int cuStreamEndCapture(void *s, void **g);
int cuGraphInstantiate_v2(void **x, void *g, void **err, char *log, size_t n);
int cuGraphInstantiateWithFlags(void **x, void *g, u64 flags);
int cuGraphInstantiateWithParams(void **x, void *g, void *params);
int cuGraphExecUpdate(void *x, void *g, void **err, void *result);
int cuGraphExecUpdate_v2(void *x, void *g, void *result);
int cuGraphLaunch(void *x, void *s);
int cuGraphExecDestroy(void *x);
int cuGraphDestroy(void *g);

/* runtime: devices and memory */
int cudaGetDeviceCount(int *n);
int cudaGetDevice(int *dev);
int cudaSetDevice(int dev);
int cudaGetLastError(void);
int cudaMalloc(void **p, size_t n);
int cudaMallocManaged(void **p, size_t n, u32 flags);
int cudaMallocHost(void **p, size_t n);
int cudaHostAlloc(void **p, size_t n, u32 flags);
int cudaMallocAsync(void **p, size_t n, void *s);
int cudaMallocFromPoolAsync(void **p, size_t n, void *pool, void *s);
int cudaFree(void *p);
int cudaFreeAsync(void *p, void *s);
int cudaFreeHost(void *p);
int cudaMemGetInfo(size_t *free, size_t *total);
int cudaMemcpy(void *d, const void *s, size_t n, int kind);
int cudaMemcpyAsync(void *d, const void *s, size_t n, int kind, void *st);
int cudaMemcpyAsync_ptsz(void *d, const void *s, size_t n, int kind, void *st);
int cudaMemcpy2D(void *d, size_t dp, const void *s, size_t sp, size_t w, size_t h, int kind);
int cudaMemcpy2DAsync(void *d, size_t dp, const void *s, size_t sp, size_t w, size_t h, int kind, void *st);
int cudaMemset(void *d, int v, size_t n);
int cudaMemsetAsync(void *d, int v, size_t n, void *st);
int cudaMemPrefetchAsync(const void *p, size_t n, int dev, void *st);

/* runtime: launches, waits, graphs */
int cudaLaunchKernel(const void *f, struct dim3 grid, struct dim3 block, void **args, size_t shared, void *s);
int cudaLaunchKernel_ptsz(const void *f, struct dim3 grid, struct dim3 block, void **args, size_t shared, void *s);
int __cudaLaunchKernel(const void *f, struct dim3 grid, struct dim3 block, void **args, size_t shared, void *s);
int cudaLaunchKernelExC(const struct cuda_launch_config *c, const void *f, void **args);
int cudaLaunchCooperativeKernel(const void *f, struct dim3 grid, struct dim3 block, void **args, size_t shared, void *s);
int cudaStreamCreate(void **s);
int cudaStreamDestroy(void *s);
int cudaStreamQuery(void *s);
int cudaStreamSynchronize(void *s);
int cudaStreamSynchronize_ptsz(void *s);
int cudaDeviceSynchronize(void);
int cudaEventCreate(void **e);
int cudaEventRecord(void *e, void *s);
int cudaEventQuery(void *e);
int cudaEventSynchronize(void *e);
int cudaEventDestroy(void *e);
int cudaStreamBeginCapture(void *s, int mode);
int cudaStreamEndCapture(void *s, void **g);
int cudaGraphInstantiate(void **x, void *g, u64 flags);
int cudaGraphInstantiateWithFlags(void **x, void *g, u64 flags);
int cudaGraphInstantiateWithParams(void **x, void *g, void *params);
int cudaGraphExecUpdate(void *x, void *g, void *result);
int cudaGraphLaunch(void *x, void *s);
int cudaGraphExecDestroy(void *x);
int cudaGraphDestroy(void *g);

/* Not in CUDA: what the simulation adds. */

/* sim_set changes a setting of the device: speed, kernel_ns, bandwidth,
 * memory, devices, cold_start_ms, spin, crash (see driver/clock.h).
 * Returns 0, or -1 when there is no such setting or the value is wrong. */
int sim_set(const char *key, double value);

/* sim_driver_report and sim_report write "calls":{..},"bytes":{..},
 * "errors":{..} for libcuda, and for both libraries together. The result is
 * the length needed, without the final NUL; the text is whole if len is
 * greater. */
size_t sim_driver_report(char *buf, size_t len);
size_t sim_report(char *buf, size_t len);

#endif
