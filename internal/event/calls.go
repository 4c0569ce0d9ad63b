package event

import "slices"

// Lib is the library that exports a call.
type Lib uint8

// The libraries we look into.
const (
	CUDART Lib = iota // libcudart, or an executable that contains it
	LIBCUDA
	LIBNCCL
)

// String returns the library's base name.
func (l Lib) String() string { return [...]string{"libcudart", "libcuda", "libnccl"}[l] }

// Args says which arguments the probe captures. Indices are 1-based, 0 is
// none; 1 to 6 are registers.
type Args struct {
	Bytes  uint8     // holds a size
	Mul    uint8     // a second factor of the size (rows of a 2-D copy)
	Shift  uint8     // log2 of the element size
	Type   uint8     // holds an ncclDataType_t, which says the element size
	Handle uint8     // function, pointer, stream, graph or event
	Out    uint8     // points to where the call stores the handle it made
	Kind   uint8     // holds a cudaMemcpyKind
	Dir    Direction // the direction, where the function fixes it
	Device uint8     // holds a device ordinal; the call selects it
	NewCtx uint8     // holds the device ordinal of a context returned through Out
	Ctx    uint8     // holds a context; the call makes it current
}

// Call is one traced library function: one row.
type Call struct {
	ID      Op
	Lib     Lib
	Name    string   // shown to users
	Symbols []string // exported names, newest first; empty means Name
	Class   Class
	Async   bool // returns before the device is done
	Begins  bool // of class Capture: the thread captures from its return on; others end that
	Args    Args
}

// Exports returns the names to look for in the library. Every name is also
// exported with _ptsz or _ptds appended where the caller was compiled for
// per-thread streams; those are functions of their own, so they are listed
// too.
func (c Call) Exports() []string {
	base := c.Symbols
	if len(base) == 0 {
		base = []string{c.Name}
	}
	var all []string
	for _, s := range base {
		all = append(all, s, s+"_ptsz", s+"_ptds")
	}
	return all
}

// Calls is the table of traced functions. The index of a row is the cookie
// of its probes and is not stored; ID is stored. See docs/adding.md.
var Calls = slices.Concat(runtimeCalls, driverCalls, graphCalls, ncclCalls)

// MaxCalls bounds the tables of calls and kernel events together: the kernel
// side sizes its arrays by it.
const MaxCalls = 256

// Info is what is known of any operation, called or host.
type Info struct {
	ID          Op
	Name        string
	Class       Class
	Description string
	Hooks       string // tracepoints of a kernel event; with ? where it can do without
}

var infoOf = func() map[Op]Info {
	m := map[Op]Info{}
	for _, c := range Calls {
		m[c.ID] = Info{c.ID, c.Name, c.Class, c.Lib.String() + " " + c.Exports()[0], ""}
	}
	for _, h := range HostOps {
		m[h.ID] = h
	}
	return m
}()

// Async reports whether the call may return before the device is done.
func (o Op) Async() bool {
	i := slices.IndexFunc(Calls, func(c Call) bool { return c.ID == o })
	return i >= 0 && Calls[i].Async
}

// Symbol returns the exported name of a traced function, such as
// cudaStreamSynchronize for cudaStreamSync; for host events their name.
func (o Op) Symbol() string {
	for _, c := range Calls {
		if c.ID == o {
			return c.Exports()[0]
		}
	}
	return o.String()
}

// Ops returns every known operation, ordered by ID.
func Ops() []Info {
	all := make([]Info, 0, len(infoOf))
	for _, i := range infoOf {
		all = append(all, i)
	}
	slices.SortFunc(all, func(a, b Info) int { return int(a.ID) - int(b.ID) })
	return all
}

// FindOps returns the operations that name means: a display name or an
// exported symbol. The comparison is exact; names are case-sensitive as in C.
func FindOps(name string) []Op {
	var ops []Op
	for _, c := range Calls {
		if c.Name == name || slices.Contains(c.Exports(), name) {
			ops = append(ops, c.ID)
		}
	}
	for _, h := range HostOps {
		if h.Name == name {
			ops = append(ops, h.ID)
		}
	}
	return ops
}
