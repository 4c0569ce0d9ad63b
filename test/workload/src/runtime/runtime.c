/* Loading the driver, the first call, devices. */
#include "runtime.h"

#include "kernels.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

struct driver cu;

#define TLS static __thread __attribute__((tls_model("initial-exec")))

TLS int device;     /* chosen by cudaSetDevice */
TLS int bound;      /* 1 + the device whose context is current */
TLS int last_error;

enum { MAX_DEVICES = 64 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int loaded;
static int load_error;
static int count; /* of devices; 0 while not known */
static void *contexts[MAX_DEVICES];

/* module is what cuModuleGetFunction finds the kernels in. */
HIDDEN void *module;

static int real; /* a driver with a device behind it */
static u64 kernel_ns = 10000;
static void *params[] = { &kernel_ns };

HIDDEN void **kernel_args;

/* use_device makes kernels last as long on a device as on the timeline. */
static void use_device(void)
{
	const char *ns = getenv("SIM_CUDA_KERNEL_NS");

	if (ns)
		kernel_ns = strtoull(ns, NULL, 10);
	kernel_args = params;
}

static int resolve(void)
{
	void *lib = dlopen("libcuda.so.1", RTLD_NOW);

	if (!lib)
		return ERR_OLD_DRIVER;
#define X(fn) \
	if (!(cu.fn = (__typeof__(cu.fn))dlsym(lib, #fn))) \
		return ERR_OLD_DRIVER;
	DRIVER_CALLS(X)
#undef X
	/* Absent in a libcuda that is not ours: its calls are not counted. */
	cu.totals = (__typeof__(cu.totals))dlsym(lib, "sim_driver_totals");
	real = !cu.totals;
	if (real)
		use_device();
	return OK;
}

/* load_driver is the very first step; the caller holds the lock. */
static int load_driver(void)
{
	if (loaded)
		return load_error;
	load_error = resolve();
	if (!load_error)
		load_error = cu.cuInit(0) ?: cu.cuDeviceGetCount(&count);
	__atomic_store_n(&loaded, 1, __ATOMIC_RELEASE);
	return load_error;
}

static int bind(void)
{
	int err, dev;

	pthread_mutex_lock(&lock);
	err = load_driver();
	if (!err && (device < 0 || device >= MAX_DEVICES || device >= count))
		err = ERR_DEVICE;
	if (!err && !contexts[device]) {
		err = cu.cuDeviceGet(&dev, device)
			?: cu.cuDevicePrimaryCtxRetain(&contexts[device], dev)
			?: cu.cuCtxSetCurrent(contexts[device])
			?: cu.cuModuleLoadData(&module, real ? kernels_ptx : "fat binary");
	} else if (!err) {
		err = cu.cuCtxSetCurrent(contexts[device]);
	}
	if (!err)
		bound = device + 1;
	pthread_mutex_unlock(&lock);
	return err;
}

int enter(void) { return __builtin_expect(bound == device + 1, 1) ? OK : bind(); }

int note(int err)
{
	if (__builtin_expect(err, 0))
		last_error = err;
	return err;
}

static int set_device(int dev)
{
	int n = __atomic_load_n(&count, __ATOMIC_RELAXED);

	if (dev < 0 || dev >= (n ? n : MAX_DEVICES))
		return ERR_DEVICE;
	device = dev;
	return OK;
}

static int count_devices(int *n)
{
	int err;

	if (!n)
		return ERR_VALUE;
	pthread_mutex_lock(&lock);
	err = load_driver();
	*n = count;
	pthread_mutex_unlock(&lock);
	return err;
}

static int get_device(int *dev)
{
	if (!dev)
		return ERR_VALUE;
	*dev = device;
	return OK;
}

static int take_error(void)
{
	int err = last_error;

	last_error = OK;
	return err;
}

RT(cudaGetDeviceCount, int *n) { RET(cudaGetDeviceCount, 0, count_devices(n)); }
RT(cudaGetDevice, int *dev) { RET(cudaGetDevice, 0, get_device(dev)); }

/* A leaf: the context is made current by the next call that needs it. */
RT(cudaSetDevice, int dev) { RET(cudaSetDevice, 0, set_device(dev)); }
RT(cudaGetLastError, void) { return DONE(cudaGetLastError, 0, take_error()); }

EXPORT size_t sim_report(char *buf, size_t len)
{
	struct total t[2 * MAX_ROWS];
	size_t n = totals(t, MAX_ROWS);
	void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);

	/* Looked up by itself: the program may call the driver directly. */
	if (lib) {
		__typeof__(cu.totals) driver = (__typeof__(cu.totals))dlsym(lib, "sim_driver_totals");

		if (driver)
			n += driver(t + n, MAX_ROWS);
		dlclose(lib);
	}
	return format(t, n, buf, len);
}
