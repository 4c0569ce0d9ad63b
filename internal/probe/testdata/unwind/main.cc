// main THREADS ROUNDS [LIBRARY]: waits for a byte, runs, waits for another.
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <thread>
#include <vector>
#include "cuda.h"

static int (*late)(int);

extern "C" __attribute__((noinline)) int job(int rounds)
{
	int sum = 0;

	for (int i = 0; i < rounds; i++) {
		if (late) {
			sum += late(i);
			continue;
		}
		sum += outer_launch(i) + outer_big(i) + outer_sort(i) + outer_signal(i) + outer_stream(i) + outer_deep(20);
	}
	return sum;
}

int main(int argc, char **argv)
{
	int threads = atoi(argv[1]), rounds = atoi(argv[2]);
	std::vector<std::thread> all;

	outer_init();
	cudaStreamSynchronize(0);
	puts("ready"), fflush(stdout), getchar();
	if (argc > 3) {
		void *h = dlopen(argv[3], RTLD_NOW);
		if (!h || !(late = (int (*)(int))dlsym(h, "late_call")))
			return 1;
	}
	for (int i = 1; i < threads; i++)
		all.emplace_back([=] { volatile int r = job(rounds); (void)r; });
	volatile int r = job(rounds);
	(void)r;
	for (auto &t : all)
		t.join();
	puts("done"), fflush(stdout), getchar();
	return 0;
}
