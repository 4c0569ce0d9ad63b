#include <stdio.h>
#include "cuda.h"

__attribute__((noipa)) int job(int rounds)
{
	int sum = 0;

	for (int i = 0; i < rounds; i++)
		sum += cudaFree(0);
	return sum + 1;
}

int main(int argc, char **argv)
{
	puts("ready"), fflush(stdout), getchar();
	job(100);
	puts("done"), fflush(stdout), getchar();
	return 0;
}
