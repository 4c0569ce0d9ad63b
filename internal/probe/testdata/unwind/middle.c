#include "cuda.h"

int middle_launch(int n)
{
	return inner_launch(n) * 3;
}

/* A large frame. */
int middle_big(int n)
{
	volatile char big[100000];

	big[n] = 1;
	return inner_aligned(n) + big[n];
}

int middle_alloc(int n)
{
	return inner_alloc(n) * 5;
}

int middle_deep(int n)
{
	return inner_deep(n) + 1;
}
