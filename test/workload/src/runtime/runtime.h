/* The runtime: thin, as the real one, over the driver it loads. */
#ifndef RUNTIME_H
#define RUNTIME_H

#include "../count.h"

#define DRIVER_CALLS(X) \
	X(cuInit) X(cuDriverGetVersion) X(cuDeviceGet) X(cuDeviceGetCount) X(cuDevicePrimaryCtxRetain) \
	X(cuCtxSetCurrent) X(cuModuleLoadData) X(cuModuleGetFunction) \
	X(cuMemAlloc_v2) X(cuMemAllocManaged) X(cuMemHostAlloc) X(cuMemAllocHost_v2) X(cuMemAllocAsync) \
	X(cuMemAllocFromPoolAsync) X(cuMemFree_v2) X(cuMemFreeAsync) X(cuMemFreeHost) X(cuMemGetInfo_v2) \
	X(cuMemcpy) X(cuMemcpyAsync) X(cuMemcpyAsync_ptsz) X(cuMemcpyHtoD_v2) X(cuMemcpyDtoH_v2) \
	X(cuMemcpyDtoD_v2) X(cuMemcpyHtoDAsync_v2) X(cuMemcpyDtoHAsync_v2) X(cuMemcpyDtoDAsync_v2) \
	X(cuMemcpy2DUnaligned_v2) X(cuMemcpy2DAsync_v2) X(cuMemsetD8_v2) X(cuMemsetD8Async) X(cuMemPrefetchAsync) \
	X(cuLaunchKernel) X(cuLaunchKernel_ptsz) X(cuLaunchKernelEx) X(cuLaunchCooperativeKernel) \
	X(cuStreamCreate) X(cuStreamDestroy_v2) X(cuStreamQuery) X(cuStreamSynchronize) X(cuStreamSynchronize_ptsz) \
	X(cuCtxSynchronize) X(cuEventCreate) X(cuEventRecord) X(cuEventQuery) X(cuEventSynchronize) X(cuEventDestroy_v2) \
	X(cuStreamBeginCapture_v2) X(cuStreamEndCapture) X(cuGraphInstantiateWithFlags) X(cuGraphInstantiateWithParams) \
	X(cuGraphExecUpdate_v2) X(cuGraphLaunch) X(cuGraphExecDestroy) X(cuGraphDestroy)

struct driver {
#define X(fn) __typeof__(fn) *fn;
	DRIVER_CALLS(X)
#undef X
	size_t (*totals)(struct total *out, size_t max);
};

extern struct driver cu HIDDEN;

/* enter makes the thread ready for a call: the driver is loaded, the
 * context of the chosen device made and current. */
HIDDEN int enter(void);

/* note keeps an error for cudaGetLastError. */
HIDDEN int note(int err);

/* RT defines an exported function. The build's flags make each begin with
 * push %rbp, as the real ones do. */
#define RT(fn, ...) \
	ROW(fn); \
	EXPORT int fn(__VA_ARGS__); \
	int fn(__VA_ARGS__)

#define RET(fn, bytes, err) return note(DONE(fn, bytes, err))

#endif
