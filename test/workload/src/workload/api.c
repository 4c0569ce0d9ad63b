#include "api.h"
#include "options.h"

#include <dlfcn.h>
#include <string.h>

struct api cuda;

static void *open_lib(const char *name)
{
	void *lib = dlopen(name, RTLD_NOW | RTLD_GLOBAL);

	if (!lib)
		die("open %s: %s", name, dlerror());
	return lib;
}

static void *symbol(void *lib, const char *name)
{
	void *p = dlsym(lib, name);

	if (!p)
		die("find %s: %s", name, dlerror());
	return p;
}

static void load_runtime(void)
{
#ifdef SIM_LATE
	void *lib = open_lib("libcudart.so.12");

#define X(fn) cuda.fn = (__typeof__(cuda.fn))symbol(lib, #fn);
	RUNTIME_CALLS(X)
#undef X
	cuda.report = (__typeof__(cuda.report))symbol(lib, "sim_report");
#else
#define X(fn) cuda.fn = fn;
	RUNTIME_CALLS(X)
#undef X
	cuda.report = sim_report;
#endif
}

void api_load(int driver)
{
	void *lib;

	if (!driver) {
		load_runtime();
		return;
	}
	lib = open_lib("libcuda.so.1");
#define X(fn) cuda.fn = (__typeof__(cuda.fn))symbol(lib, #fn);
	DRIVER_CALLS(X)
#undef X
	cuda.report = (__typeof__(cuda.report))symbol(lib, "sim_driver_report");
}

void *api_find(const char *name)
{
	void *lib, *p;

#define X(fn) \
	if (cuda.fn && !strcmp(name, #fn)) \
		return (void *)cuda.fn;
	RUNTIME_CALLS(X)
#undef X
	p = dlsym(RTLD_DEFAULT, name);
	if (!p && (lib = dlopen("libcuda.so.1", RTLD_NOW)))
		p = dlsym(lib, name);
	return p;
}

void api_set(const char *key, double value)
{
	void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
	__typeof__(sim_set) *set;

	if (!lib)
		return;
	set = (__typeof__(set))dlsym(lib, "sim_set");
	if (set)
		set(key, value);
	dlclose(lib);
}
