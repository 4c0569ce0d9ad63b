#!/usr/bin/env python3
"""Calls real CUDA libraries on a machine without a GPU.

Every call fails, but it is made: the program prints, as one line of JSON, how
often it called each function and what that returned.
"""

import argparse
import ctypes
import json
import os
import sys

POINTER, SIZE, INT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
NULL = POINTER(0)


class Dim3(ctypes.Structure):
    _fields_ = [("x", ctypes.c_uint), ("y", ctypes.c_uint), ("z", ctypes.c_uint)]


OUT = ctypes.byref(POINTER())
ONE = Dim3(1, 1, 1)

# Functions and their arguments; how often each is called differs, so that
# counts cannot be mixed up.
RUNTIME = [
    ("cudaSetDevice", (INT(0),)),
    ("cudaMalloc", (OUT, SIZE(4096))),
    ("cudaMallocHost", (OUT, SIZE(4096))),
    ("cudaLaunchKernel", (NULL, ONE, ONE, NULL, SIZE(0), NULL)),
    ("cudaMemcpy", (NULL, NULL, SIZE(16), INT(1))),
    ("cudaMemcpyAsync", (NULL, NULL, SIZE(16), INT(1), NULL)),
    ("cudaStreamSynchronize", (NULL,)),
    ("cudaDeviceSynchronize", ()),
    ("cudaGraphLaunch", (NULL, NULL)),
    ("cudaFree", (NULL,)),
]
DRIVER = [
    ("cuInit", (INT(0),)),
    ("cuDevicePrimaryCtxRetain", (OUT, INT(0))),
    ("cuMemAlloc_v2", (OUT, SIZE(4096))),
    ("cuMemcpyHtoD_v2", (NULL, NULL, SIZE(16))),
    ("cuLaunchKernel", (NULL, INT(1), INT(1), INT(1), INT(1), INT(1), INT(1), INT(0), NULL, NULL, NULL)),
    ("cuStreamSynchronize", (NULL,)),
    ("cuCtxSynchronize", ()),
    ("cuGraphLaunch", (NULL, NULL)),
    ("cuMemFree_v2", (NULL,)),
]


def entry_points(driver):
    """Compares what cuGetProcAddress hands out, which is what libcudart
    calls, with what the library exports. Returns the names that differ."""
    dlsym = ctypes.CDLL(None).dlsym
    dlsym.restype, dlsym.argtypes = POINTER, [POINTER, ctypes.c_char_p]
    ask = getattr(driver, "cuGetProcAddress_v2", None) or driver.cuGetProcAddress
    differ = []
    for symbol, _ in DRIVER:
        at = POINTER()
        name = symbol.removesuffix("_v2").encode()
        code = ask(name, ctypes.byref(at), INT(11040), ctypes.c_uint64(0), ctypes.byref(INT()))
        if code != 0 or at.value != dlsym(driver._handle, symbol.encode()):
            differ.append(symbol)
    return differ


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--libcuda", required=True, help="path of libcuda.so.1")
    p.add_argument("--libcudart", help="path of libcudart.so; without it only the driver is called")
    p.add_argument("--calls", type=int, default=100, help="calls of the first function; the next one is called once more, and so on (100)")
    p.add_argument("--entry-points", action="store_true", help="say which driver functions have a second entry point, and end")
    p.add_argument("--wait-stdin", action="store_true", help="print ready on stderr, begin at a newline on stdin")
    opt = p.parse_args()

    # The runtime opens libcuda.so.1 by name and gets the one that is loaded.
    driver = ctypes.CDLL(opt.libcuda)
    plan = [(driver, f, a) for f, a in DRIVER]
    if opt.libcudart:
        runtime = ctypes.CDLL(opt.libcudart)
        plan = [(runtime, f, a) for f, a in RUNTIME] + plan
    if opt.entry_points:
        print(json.dumps(entry_points(driver)))
        return
    if opt.wait_stdin:
        print("ready", file=sys.stderr, flush=True)
        sys.stdin.readline()

    calls, returns = {}, {}
    for i, (lib, name, args) in enumerate(plan):
        function = getattr(lib, name)
        codes = {function(*args) for _ in range(opt.calls + i)}
        if len(codes) != 1:
            sys.exit(f"{name} returned {sorted(codes)}")
        calls[name], returns[name] = opt.calls + i, codes.pop()
    errors = {name: n for name, n in calls.items() if returns[name] != 0}
    print(json.dumps({"pid": os.getpid(), "calls": calls, "returns": returns, "errors": errors}))


if __name__ == "__main__":
    main()
