#pragma once
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif
struct dim3 {
	unsigned x, y, z;
};
int cudaLaunchKernel(const void *f, struct dim3 grid, struct dim3 block, void **args, size_t shared, void *stream);
int cudaMalloc(void **p, size_t n);
int cudaFree(void *p);
int cudaFreeAsync(void *p, void *stream);
int cudaMemcpyAsync(void *to, const void *from, size_t n, int kind, void *stream);
int cudaMemset(void *p, int value, size_t n);
int cudaMemsetAsync(void *p, int value, size_t n, void *stream);
int cudaStreamSynchronize(void *stream);

int inner_launch(int n), inner_alloc(int n), inner_aligned(int n), inner_deep(int n);
int middle_launch(int n), middle_big(int n), middle_alloc(int n), middle_deep(int n);
int outer_launch(int n), outer_big(int n), outer_sort(int n), outer_signal(int n), outer_deep(int n), outer_stream(int n);
void outer_init(void);
#ifdef __cplusplus
}
#endif
