/* A runtime in which one traced call jumps to another, which calls a third:
 * the first two share a return address. */
#define API __attribute__((noipa, visibility("protected")))

API int cudaMemset(void *p, int value, unsigned long n)
{
	return 0;
}

API int cudaFreeAsync(void *p, void *stream)
{
	return cudaMemset(p, 0, 0) ? 1 : 0;
}

API int cudaFree(void *p)
{
	return cudaFreeAsync(p, 0);
}
