"""Stands still in two threads, for a capture of memory.

Prints for each thread its pthread_self and the chain of [file, function,
line] in which it will wait, then waits for ever.
"""

import ctypes
import json
import sys
import threading

libc = ctypes.CDLL(None)
truth = []


def wait():
    f, chain = sys._getframe(), []
    while f:
        code = f.f_code
        chain.append([code.co_filename, getattr(code, "co_qualname", code.co_name), f.f_lineno])
        f = f.f_back
    chain[0][2] += 6
    truth.append({"Self": threading.get_ident(), "Chain": chain})
    if len(truth) == 2:
        print(json.dumps(truth), flush=True)
    libc.pause()


class Model:
    def forward(self):
        yield (lambda: wait())()


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
def compare(a, b):
    next(Model().forward())
    return 0


def größe_计算():
    libc.qsort((ctypes.c_int * 2)(2, 1), ctypes.c_size_t(2), ctypes.c_size_t(4), compare)


def main():
    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    größe_计算()


main()
