// A program with all kinds of functions, to be compared with what binutils
// say about it. It stops itself in the innermost one and prints its stack.
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <string>
#include <unistd.h>
#include <vector>

namespace shop {

template <typename T> class Basket {
public:
	explicit Basket(T first) { goods.push_back(first); }
	virtual ~Basket() {}
	__attribute__((noinline)) T total() const;

private:
	std::vector<T> goods;
};

static void *stack[16];
static int depth;

static inline __attribute__((always_inline)) void note(void *at)
{
	stack[depth++] = at;
}

static inline __attribute__((always_inline)) void twice(void *at)
{
	note(at); // the line of the inner call
}

__attribute__((noinline)) int innermost(int n)
{
	note((void *)&innermost);
	note(__builtin_return_address(0));
	return n + 1;
}

template <typename T> __attribute__((noinline)) T Basket<T>::total() const
{
	T sum = 0;
	for (T g : goods)
		sum += innermost(g);
	note(__builtin_return_address(0));
	return sum;
}

__attribute__((noinline)) static long local_one(long n)
{
	Basket<long> b(n);
	long t = b.total();
	twice(nullptr);
	return t + 1;
}

} // namespace shop

extern "C" __attribute__((noinline)) long plain(long n)
{
	return shop::local_one(n) + 1;
}

int main(int argc, char **argv)
{
	long n = plain(argc);
	for (int i = 0; i < 3; i++)
		printf("%lx ", (long)shop::stack[i]);
	printf("\n");
	fflush(stdout);
	char line[512];
	while (fgets(line, sizeof line, stdin)) { // a library to load, and a function in it
		char *fn = strtok(line, " \n"), *so = strtok(nullptr, " \n");
		void *lib = dlopen(so, RTLD_NOW);
		printf("%lx\n", lib ? (long)dlsym(lib, fn) : 0);
		fflush(stdout);
	}
	return n == 42;
}
