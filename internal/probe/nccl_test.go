package probe

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"ingero/test/workload"
)

// Collectives are counted with the bytes of count times the size of the type;
// what they launch is nested in them.
func TestCollectives(t *testing.T) {
	dir := sim(t)
	s := open(t, Config{Everyone: true, Emit: EmitAll}, append(libs(dir), filepath.Join(dir, "libnccl.so.2"))...)
	p := python(t, fmt.Sprintf(`
dir = %q
cuda, nccl = ctypes.CDLL(dir + "/libcudart.so.12"), ctypes.CDLL(dir + "/libnccl.so.2")
class Id(ctypes.Structure):
    _fields_ = [("text", ctypes.c_char * 128)]
comm = ctypes.c_void_p()
n = ctypes.c_size_t
ready()
nccl.ncclCommInitRank(ctypes.byref(comm), 4, Id(), 1)
for kind in range(13): # the last is no type
    nccl.ncclAllReduce(None, None, n(1000), kind, 0, comm, None)
for _ in range(5):
    nccl.ncclAllGather(None, None, n(1 << 33), 7, comm, None)
    nccl.ncclReduceScatter(None, None, n(10), 9, 0, comm, None)
    nccl.ncclBroadcast(None, None, n(11), 8, 0, comm, None)
    nccl.ncclBcast(None, n(12), 0, 0, comm, None)
    nccl.ncclReduce(None, None, n(13), 6, 0, 0, comm, None)
for _ in range(3):
    nccl.ncclGroupStart()
    for peer in range(4):
        nccl.ncclSend(None, n(100), 7, peer, comm, None)
        nccl.ncclRecv(None, n(100), 7, peer, comm, None)
    nccl.ncclGroupEnd()
def report(f):
    text = ctypes.create_string_buffer(1 << 16)
    f(text, n(len(text)))
    return "{" + text.value.decode() + "}"
print(report(cuda.sim_report), flush=True)
print(report(nccl.sim_nccl_report), flush=True)
ready()
`, dir))
	p.line()
	p.goOn()
	truth := workload.Truth{Calls: map[string]uint64{}, Bytes: map[string]uint64{}, Errors: map[string]uint64{}}
	for range 2 {
		if err := json.Unmarshal([]byte(p.line()), &truth); err != nil { // adds to the maps
			t.Fatal(err)
		}
	}
	p.line()
	p.goOn()
	p.end(s)
	s.finish()
	s.agree(truth)
	if truth.Calls["ncclAllReduce"] != 13 || truth.Bytes["ncclAllGather"] != 5*4<<33 || truth.Errors["ncclAllReduce"] != 1 {
		t.Errorf("the program says %+v", truth)
	}
	if c := s.calls["cudaLaunchKernel"]; c == nil || c.Nested != c.Hist.Count() || c.Hist.Count() != 12+25+3 {
		t.Errorf("launches: %+v", c)
	}
}
