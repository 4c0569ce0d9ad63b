#include "cuda.h"

int late_call(int n)
{
	return cudaMemsetAsync(0, 0, 0, 0) + n;
}
