"""Calls a function from every kind of Python frame and says where from.

job.py LIBRARY ROUNDS THREADS TRUTH: after a line on stdin, makes the calls;
then writes to TRUTH the chains of [file, function, line] and, for each call,
the number of its chain. Ends at the end of stdin.
"""

import contextlib
import ctypes
import functools
import itertools
import json
import sys
import threading


class Dim3(ctypes.Structure):
    _fields_ = [("x", ctypes.c_uint), ("y", ctypes.c_uint), ("z", ctypes.c_uint)]


cuda = ctypes.CDLL(sys.argv[1])
libc = ctypes.CDLL(None)
cuda.cudaLaunchKernel.argtypes = [ctypes.c_void_p, Dim3, Dim3, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
launch, grid = cuda.cudaLaunchKernel, Dim3(1, 1, 1)
tags = itertools.count(1)
chains, calls, lock = {}, {}, threading.Lock()


def note(lines=0):
    """Notes the stack of the caller, who calls lines further down."""
    f, chain = sys._getframe(1), []
    while f:
        code = f.f_code
        chain += [code.co_filename, getattr(code, "co_qualname", code.co_name), f.f_lineno + lines]
        f, lines = f.f_back, 0
    chain = tuple(chain)
    with lock:
        number = chains.setdefault(chain, len(chains))
    tag = next(tags)
    calls[tag] = number
    return tag


def plain():
    launch(note(), grid, grid, None, 0, None)


def nested():
    def inner():
        def innermost():
            launch(note(), grid, grid, None, 0, None)

        innermost()

    inner()


def several_lines():
    launch(
        note(-1),
        grid, grid,
        None, 0, None,
    )


def generator():
    def count():
        for i in range(2):
            launch(note(), grid, grid, None, 0, None)
            yield i

    def through():
        yield from count()

    list(through())
    list(launch(note(), grid, grid, None, 0, None) for _ in range(2))


class Model:
    def method(self):
        self.forward()

    @property
    def prop(self):
        return launch(note(), grid, grid, None, 0, None)

    @staticmethod
    def forward():
        launch(note(), grid, grid, None, 0, None)

    def __call__(self):
        self.method()

    def __del__(self):
        launch(note(), grid, grid, None, 0, None)


def methods():
    m = Model()
    m()
    m.prop
    del m


def lambdas():
    (lambda: launch(note(), grid, grid, None, 0, None))()
    sorted([2, 1], key=lambda _: launch(note(), grid, grid, None, 0, None))
    [launch(note(), grid, grid, None, 0, None) for _ in range(2)]
    functools.partial(plain)()
    list(map(lambda _: plain(), "ab"))


COMPARE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


@COMPARE
def compare(a, b):
    launch(note(), grid, grid, None, 0, None)
    return 0


def callback():
    libc.qsort((ctypes.c_int * 2)(2, 1), ctypes.c_size_t(2), ctypes.c_size_t(4), compare)


ENTRY = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)


@ENTRY
def entry(_):
    nested()
    plain()


def foreign_thread():
    """A thread that Python did not make: it has a thread state only here."""
    thread = ctypes.c_void_p()
    libc.pthread_create(ctypes.byref(thread), None, entry, None)
    libc.pthread_join(thread, None)


def recurse(depth):
    if depth:
        recurse(depth - 1)
    else:
        launch(note(), grid, grid, None, 0, None)


def decorated(f):
    @functools.wraps(f)
    def wrapper(*args):
        try:
            return f(*args)
        finally:
            launch(note(), grid, grid, None, 0, None)

    return wrapper


@decorated
def wrapped(*args):
    with managed():
        try:
            raise ValueError
        except ValueError:
            launch(note(), grid, grid, None, 0, None)


@contextlib.contextmanager
def managed():
    launch(note(), grid, grid, None, 0, None)
    yield
    launch(note(), grid, grid, None, 0, None)


def coroutines():
    async def leaf():
        launch(note(), grid, grid, None, 0, None)

    async def root():
        await leaf()

    try:
        root().send(None)
    except StopIteration:
        pass


def größe_计算():
    launch(note(), grid, grid, None, 0, None)


def class_body():
    class Body:
        launch(note(), grid, grid, None, 0, None)


made = {"launch": launch, "note": note, "grid": grid, "__name__": "made"}
text = "\n" * 70000 + "def " + "x" * 1000 + "():\n  launch(note(), grid, grid, None, 0, None)\nf = " + "x" * 1000 + "\n"
exec(compile(text, "<made 计>", "exec"), made)
top = compile("\n\nlaunch(note(), grid, grid, None, 0, None); f()\n", "/x/" + "y" * 300 + ".py", "exec")


def loops():
    i = 0
    while i < 3:
        i += 1
        if i == 2:
            launch(note(), grid, grid, None, 0, None)
            continue
        launch(note(), grid, grid, None, 0, None)


def everything(rounds):
    for _ in range(rounds):
        plain(), nested(), several_lines(), generator(), methods(), lambdas(), callback()
        recurse(30), recurse(90), wrapped(1), coroutines(), größe_计算(), class_body()
        made["f"](), exec(top, made), loops(), foreign_thread()


def main():
    rounds, count = int(sys.argv[2]), int(sys.argv[3])
    threads = [threading.Thread(target=everything, args=(rounds,)) for _ in range(count - 1)]
    for t in threads:
        t.start()
    everything(rounds)
    for t in threads:
        t.join()


print("ready", flush=True)
sys.stdin.readline()
main()
launch(note(), grid, grid, None, 0, None)
with open(sys.argv[4], "w") as f:
    json.dump({"chains": list(chains), "calls": [calls[i + 1] for i in range(len(calls))]}, f)
print("done", flush=True)
sys.stdin.read()
