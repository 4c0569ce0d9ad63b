/* The CUDA functions that the workload calls, linked or loaded. */
#ifndef API_H
#define API_H

#include "../cuda_sim.h"

/* All of the runtime: --bench finds its functions here, for in a static
 * program the loader does not know them. */
#define RUNTIME_CALLS(X) \
	X(cudaGetDeviceCount) X(cudaGetDevice) X(cudaSetDevice) X(cudaGetLastError) X(cudaMalloc) \
	X(cudaMallocManaged) X(cudaMallocHost) X(cudaHostAlloc) X(cudaMallocAsync) X(cudaMallocFromPoolAsync) \
	X(cudaFree) X(cudaFreeAsync) X(cudaFreeHost) X(cudaMemGetInfo) X(cudaMemcpy) X(cudaMemcpyAsync) \
	X(cudaMemcpyAsync_ptsz) X(cudaMemcpy2D) X(cudaMemcpy2DAsync) X(cudaMemset) X(cudaMemsetAsync) \
	X(cudaMemPrefetchAsync) X(cudaLaunchKernel) X(cudaLaunchKernel_ptsz) X(cudaLaunchKernelExC) \
	X(cudaLaunchCooperativeKernel) X(cudaStreamCreate) X(cudaStreamDestroy) X(cudaStreamQuery) \
	X(cudaStreamSynchronize) X(cudaStreamSynchronize_ptsz) X(cudaDeviceSynchronize) X(cudaEventCreate) \
	X(cudaEventRecord) X(cudaEventQuery) X(cudaEventSynchronize) X(cudaEventDestroy) \
	X(cudaStreamBeginCapture) X(cudaStreamEndCapture) X(cudaGraphInstantiate) \
	X(cudaGraphInstantiateWithFlags) X(cudaGraphInstantiateWithParams) X(cudaGraphExecUpdate) \
	X(cudaGraphLaunch) X(cudaGraphExecDestroy) X(cudaGraphDestroy)

/* Of the driver, what the loop needs. */
#define DRIVER_CALLS(X) \
	X(cuInit) X(cuDeviceGet) X(cuDevicePrimaryCtxRetain) X(cuCtxSetCurrent) X(cuModuleLoadData) \
	X(cuModuleGetFunction) X(cuMemAlloc_v2) X(cuMemFree_v2) X(cuMemcpyHtoDAsync_v2) X(cuMemcpyDtoH_v2) \
	X(cuLaunchKernel) X(cuStreamCreate) X(cuStreamDestroy_v2) X(cuStreamSynchronize) X(cuCtxSynchronize) \
	X(cuEventCreate) X(cuEventRecord) X(cuEventSynchronize) X(cuEventDestroy_v2) X(cuStreamBeginCapture_v2) \
	X(cuStreamEndCapture) X(cuGraphInstantiateWithFlags) X(cuGraphLaunch) X(cuGraphExecDestroy) X(cuGraphDestroy)

struct api {
#define X(fn) __typeof__(fn) *fn;
	RUNTIME_CALLS(X)
	DRIVER_CALLS(X)
#undef X
	size_t (*report)(char *buf, size_t len);
};

extern struct api cuda;

/* api_load fills in cuda. With driver, only the driver is loaded. It ends
 * the process if a library or function is missing. */
void api_load(int driver);

/* api_find returns any function by name, or NULL. */
void *api_find(const char *name);

/* api_set is sim_set; it does nothing before the driver is loaded. */
void api_set(const char *key, double value);

#endif
