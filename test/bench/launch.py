"""Launch kernels, ten Python functions deep.

usage: launch.py LIBRARY NS
LIBRARY is a driver, NS the time between two launches that Python shall work.
Reads numbers of launches, a line each, and answers with the ns that one took
with its work, and without.
"""

import ctypes
import sys
import time

STEP = 100  # launches, then wait for the device

library, pace = sys.argv[1], int(sys.argv[2])
cuda = ctypes.CDLL(library)


def check(err):
    if err:
        sys.exit(f"launch.py: error {err}")


def kernel():
    context, module, function = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    check(cuda.cuInit(0))
    check(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0))
    check(cuda.cuCtxSetCurrent(context))
    check(cuda.cuModuleLoadData(ctypes.byref(module), b"image"))
    check(cuda.cuModuleGetFunction(ctypes.byref(function), module, b"kernel"))
    return function


def loop(function, count, work):
    launch, now = cuda.cuLaunchKernel, time.perf_counter_ns
    inside = 0
    began = now()
    for _ in range(count // STEP):
        for _ in range(STEP):
            if work:
                called = now()
            check(launch(function, 64, 1, 1, 256, 1, 1, 0, None, None, None))
            if work:
                inside += now() - called
                for _ in range(work):
                    pass
        check(cuda.cuStreamSynchronize(None))
    took = now() - began
    return took / count, (inside if work else took) / count


def nest(depth, *job):
    return nest(depth - 1, *job) if depth else loop(*job)


# The frames of a launch: <module>, nest eight times, loop.
function = kernel()
turn, thousand = nest(7, function, 5000, 1)[0], nest(7, function, 5000, 1001)[0]
work = int(max(pace - turn, 0) / (thousand - turn) * 1000)
for count in sys.stdin:
    print(*nest(7, function, int(count), work), flush=True)
