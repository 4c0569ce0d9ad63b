package probe

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// capturing has the calls of a capture, and clocks for what the ledger must
// say: begin and end measure the time between their calls.
const capturing = `
rt, cu = (ctypes.CDLL(sys.argv[1] + '/' + name) for name in ('libcudart.so.12', 'libcuda.so.1'))
def stream():
    s = ctypes.c_void_p()
    assert rt.cudaStreamCreate(ctypes.byref(s)) == 0
    return s
began = {}
def begin(s, fn=rt.cudaStreamBeginCapture, fails=False):
    assert (fn(s, 2) != 0) == fails
    began.setdefault(s.value, time.monotonic_ns())
def end(s, fn=rt.cudaStreamEndCapture):
    took, g = time.monotonic_ns() - began.pop(s.value), ctypes.c_void_p()
    assert fn(s, ctypes.byref(g)) == 0
    return took, g
def launch(s):
    assert rt.cudaLaunchKernel(ctypes.byref(kernel), ctypes.c_uint64(1 << 32 | 1), 1, ctypes.c_uint64(1 << 32 | 1), 1, None, 0, s) == 0
def executable():
    x = ctypes.c_void_p()
    begin(b)
    assert rt.cudaGraphInstantiate(ctypes.byref(x), end(b)[1], ctypes.c_uint64(0)) == 0
    return x
def other(f):
    t = threading.Thread(target=f)
    t.start()
    t.join()
kernel, a, b = ctypes.c_char(), stream(), stream()
x = executable()
def work(): time.sleep(0.1)
ready()
`

// What the host does between the calls of a capture is capturing, however the
// capture begins and ends, and nothing else is. Each ready tells how long that
// was since the last one, by the program's own clock; -1 is not known: where
// another thread ends it, it lasts until somebody looks at all threads.
func TestCapturing(t *testing.T) {
	dir := sim(t)
	s := open(t, Config{}, libs(dir)...)
	for name, program := range map[string]string{
		"runtime":               "work(); begin(a); work(); t, _ = end(a); work(); ready(t)",
		"driver":                "work(); begin(a, cu.cuStreamBeginCapture_v2); work(); t, _ = end(a, cu.cuStreamEndCapture); work(); ready(t)",
		"with launches":         "work(); begin(a); work(); launch(a); work(); launch(a); t, _ = end(a); work(); ready(t)",
		"begin fails":           "begin(ctypes.c_void_p(), fails=True); work(); ready(0)",
		"begins again":          "begin(a); work(); begin(a, fails=True); work(); t, _ = end(a); work(); ready(t)",
		"two streams":           "begin(a); begin(b); work(); end(b); work(); t, _ = end(a); work(); ready(t)",
		"in two threads":        "begin(a); work(); t = []; other(lambda: (begin(b), work(), t.append(end(b)[0]))); u, _ = end(a); work(); ready(t[0] + u)",
		"another thread ends":   "begin(a); work(); other(lambda: end(a)); ready(-1)\nwork(); ready(0)",
		"another may not":       "begin(a); work(); other(lambda: rt.cudaStreamEndCapture(a, None)); work(); t, _ = end(a); ready(t)",
		"graph launched":        "begin(a); work(); t = time.monotonic_ns() - began[a.value]; assert rt.cudaGraphLaunch(x, b) == 0; work(); ready(t)",
		"waited for the device": "begin(a); work(); t = time.monotonic_ns() - began[a.value]; assert rt.cudaDeviceSynchronize() == 0; work(); ready(t)",
		"thread ends":           "t = []; other(lambda: (begin(a), work(), t.append(time.monotonic_ns() - began[a.value]))); work(); ready(t[0])\nwork(); ready(0)",
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			p := python(t, "sys.argv = ['', '"+dir+"']"+capturing+program+"\nready('done')")
			p.trace(s)
			p.goOn()
			for line := p.line(); line != "done"; line = p.line() {
				b := s.books()
				want, err := strconv.ParseInt(line, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				var got uint64
				if l := b.places["capturing"]; l != nil {
					got = l.Total()
				}
				const near = 20 * time.Millisecond // the program may lose its CPU before it reads the clock
				if off := time.Duration(int64(got) - want); want >= 0 && (off < -near || off > near) {
					b.log(t)
					t.Errorf("capturing for %v, by the program's own clock %v", time.Duration(got), time.Duration(want))
				}
				p.goOn()
			}
			p.goOn()
			p.end(s)
		})
	}
}
