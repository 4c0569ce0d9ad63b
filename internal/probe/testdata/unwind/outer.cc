// Calls that come back through code of others: qsort, a signal, a stream.
#include <csignal>
#include <cstdlib>
#include <ostream>
#include <streambuf>
#include "cuda.h"

extern "C" {
int outer_launch(int n) { return middle_launch(n) + 1; }
int outer_big(int n) { return middle_big(n) + 1; }
int outer_deep(int n) { return middle_deep(n) + 1; }

static int outer_compare(const void *a, const void *b)
{
	return cudaStreamSynchronize(0) + *(const int *)a - *(const int *)b;
}

int outer_sort(int n)
{
	int two[2] = { n, 1 };

	qsort(two, 2, sizeof(int), outer_compare);
	return two[0];
}

static void outer_handler(int)
{
	volatile int r = middle_alloc(1);

	(void)r;
}

void outer_init(void)
{
	signal(SIGUSR1, outer_handler);
}

int outer_signal(int n)
{
	return raise(SIGUSR1) + n;
}
}

struct outer_buffer : std::streambuf {
	int_type overflow(int_type c) override;
};

outer_buffer::int_type outer_buffer::overflow(int_type c)
{
	return cudaFree(0) ? 0 : c;
}

extern "C" int outer_stream(int n)
{
	outer_buffer b;
	std::ostream out(&b);

	out << 7; // one character: one overflow
	return out.good() + n;
}
