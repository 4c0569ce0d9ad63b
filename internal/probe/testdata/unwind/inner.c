/* Built without frame pointers: the functions next to CUDA. Adding to what a
 * call returned keeps the compiler from jumping to it. */
#include <alloca.h>
#include <stdint.h>
#include <string.h>
#include "cuda.h"

int inner_launch(int n)
{
	struct dim3 one = { 1, 1, 1 };

	return cudaLaunchKernel((void *)inner_launch, one, one, 0, 0, 0) + n;
}

int inner_alloc(int n)
{
	void *p = 0;
	int err = cudaMalloc(&p, 4096);

	return (err ? err : cudaFreeAsync(p, 0)) + n;
}

/* Realigns its stack and moves it by an amount only known when it runs. */
int inner_aligned(int n)
{
	_Alignas(64) volatile char buf[256];
	volatile char *more = alloca(16 + n % 1000);

	buf[n & 255] = 1;
	more[0] = 2;
	return cudaMemcpyAsync(0, 0, 0, 1, 0) + buf[n & 255] + more[0] + ((uintptr_t)buf & 63);
}

int inner_deep(int n)
{
	volatile char pad[24];

	pad[n & 7] = n;
	if (n > 0)
		return inner_deep(n - 1) + pad[n & 7];
	return cudaMemset(0, 0, 0) + 1;
}
