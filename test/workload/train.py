#!/usr/bin/env python3
"""A training-like loop in Python on the simulated CUDA, through ctypes.

Makes the same calls as the program workload with the same options and prints
the same line of JSON: what it really did.
"""

import argparse
import ctypes
import json
import os
import signal
import sys
import time

HOST_TO_DEVICE = 1


class Dim3(ctypes.Structure):
    _fields_ = [("x", ctypes.c_uint), ("y", ctypes.c_uint), ("z", ctypes.c_uint)]


def options():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--lib-dir", help="folder of libcudart.so.12 (default: the loader's search path)")
    p.add_argument("--steps", type=int, default=100, help="0 until stopped (100)")
    p.add_argument("--launches", type=int, default=10, help="kernel launches a step (10)")
    p.add_argument("--gap-us", type=int, default=0, help="sleep between steps (0)")
    p.add_argument("--duration-s", type=float, default=0, help="end after so many seconds")
    p.add_argument("--kernel-ns", type=int, default=10000, help="device time of a kernel (10000)")
    p.add_argument("--speed", type=float, default=1, help="device speed (1)")
    p.add_argument("--copy-bytes", type=int, default=0, help="copied to the device each step (0)")
    p.add_argument("--work-us", type=int, default=0, help="CPU time of Python in each step (0)")
    p.add_argument("--log", help="append a line 'pid unix-ns steps' every 100 ms")
    p.add_argument("--control", help="lines launches= gap_us= work_us=, read again at each step when the file changed")
    p.add_argument("--wait-stdin", action="store_true", help="print ready on stderr, begin at a newline on stdin")
    return p.parse_args()


def open_runtime(opt):
    # The driver reads its settings when the runtime loads it.
    os.environ["SIM_CUDA_KERNEL_NS"] = str(opt.kernel_ns)
    os.environ["SIM_CUDA_SPEED"] = str(opt.speed)
    name = "libcudart.so.12"
    cuda = ctypes.CDLL(os.path.join(opt.lib_dir, name) if opt.lib_dir else name)
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    cuda.cudaLaunchKernel.argtypes = [pointer, Dim3, Dim3, pointer, size, pointer]
    cuda.cudaMalloc.argtypes = [pointer, size]
    cuda.cudaFree.argtypes = [pointer]
    cuda.cudaMemcpyAsync.argtypes = [pointer, pointer, size, ctypes.c_int, pointer]
    cuda.cudaStreamCreate.argtypes = [pointer]
    cuda.cudaStreamSynchronize.argtypes = [pointer]
    cuda.cudaStreamDestroy.argtypes = [pointer]
    cuda.sim_report.argtypes = [pointer, size]
    cuda.sim_report.restype = size
    return cuda


def check(what, err):
    if err:
        raise RuntimeError(f"{what}: error {err}")


class Trainer:
    def __init__(self, cuda, opt):
        self.cuda = cuda
        self.opt = opt
        self.stop = False
        self.stream = ctypes.c_void_p()
        self.device_batch = ctypes.c_void_p()
        self.host_batch = (ctypes.c_char * max(opt.copy_bytes, 1))()
        # Kernels are known by the address of a host function.
        self.kernels = (ctypes.c_char * 4)()
        self.control_read = None
        self.log_due = 0

    def read_control(self):
        try:
            changed = os.stat(self.opt.control).st_mtime_ns
        except OSError:
            return  # the file may appear later
        if changed == self.control_read:
            return
        self.control_read = changed
        with open(self.opt.control) as f:
            for line in f:
                key, _, value = line.strip().partition("=")
                if key in ("launches", "gap_us", "work_us"):
                    setattr(self.opt, key, int(value))

    def log_steps(self, steps):
        now = time.time_ns()
        if now >= self.log_due:
            self.log_due = now + 100_000_000
            with open(self.opt.log, "a") as f:
                f.write(f"{os.getpid()} {now} {steps}\n")

    def augment(self):
        end = time.thread_time_ns() + self.opt.work_us * 1000
        while time.thread_time_ns() < end:
            pass

    def load_batch(self):
        if self.opt.copy_bytes:
            check("cudaMemcpyAsync", self.cuda.cudaMemcpyAsync(
                self.device_batch, self.host_batch, self.opt.copy_bytes, HOST_TO_DEVICE, self.stream))

    def forward(self):
        grid, block = Dim3(64, 1, 1), Dim3(256, 1, 1)
        first = ctypes.addressof(self.kernels)
        for i in range(self.opt.launches):
            check("cudaLaunchKernel", self.cuda.cudaLaunchKernel(first + i % 4, grid, block, None, 0, self.stream))

    def train_step(self):
        if self.opt.work_us:
            self.augment()
        self.load_batch()
        self.forward()
        check("cudaStreamSynchronize", self.cuda.cudaStreamSynchronize(self.stream))

    def train(self):
        """Runs the loop and returns the time of each step in ns."""
        opt, times = self.opt, []
        deadline = time.monotonic() + opt.duration_s if opt.duration_s else float("inf")
        check("cudaSetDevice", self.cuda.cudaSetDevice(0))
        check("cudaStreamCreate", self.cuda.cudaStreamCreate(ctypes.byref(self.stream)))
        if opt.copy_bytes:
            check("cudaMalloc", self.cuda.cudaMalloc(ctypes.byref(self.device_batch), opt.copy_bytes))
        while not self.stop and (not opt.steps or len(times) < opt.steps):
            if times and opt.gap_us:
                time.sleep(opt.gap_us / 1e6)
            if time.monotonic() >= deadline:
                break
            if opt.control:
                self.read_control()
            start = time.monotonic_ns()
            self.train_step()
            times.append(time.monotonic_ns() - start)
            if opt.log:
                self.log_steps(len(times))
        if opt.copy_bytes:
            check("cudaFree", self.cuda.cudaFree(self.device_batch))
        check("cudaStreamDestroy", self.cuda.cudaStreamDestroy(self.stream))
        return times


def report(cuda):
    """Returns the counts of both libraries."""
    size = cuda.sim_report(None, 0) + 1
    text = ctypes.create_string_buffer(size)
    cuda.sim_report(text, size)
    return json.loads("{" + text.value.decode() + "}")


def main():
    opt = options()
    try:
        cuda = open_runtime(opt)
    except OSError as e:
        sys.exit(f"train.py: load the runtime: {e}; give its folder with --lib-dir")
    trainer = Trainer(cuda, opt)

    def stop(signum, frame):
        trainer.stop = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if opt.wait_stdin:
        print("ready", file=sys.stderr, flush=True)
        sys.stdin.readline()
    start = time.monotonic_ns()
    times = trainer.train()
    truth = {"pid": os.getpid(), **report(cuda)}
    truth["steps"] = len(times)
    truth["worst_step_ns"] = max(times, default=0)
    truth["median_step_ns"] = sorted(times)[(len(times) - 1) // 2] if times else 0
    truth["elapsed_ns"] = time.monotonic_ns() - start
    truth["ns_per_call"] = 0.0
    print(json.dumps(truth, separators=(",", ":")))


if __name__ == "__main__":
    main()
