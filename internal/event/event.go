// Package event says what can happen: the event itself, the process it
// happened in, and the tables of everything that is traced. It imports
// nothing of ours, so that every other package can speak its language.
package event

import "strconv"

// Source is the layer an event comes from. The numbers are stored on disk.
type Source uint8

// Sources in use. 2 is reserved: older recordings list it but never used it.
const (
	CUDA   Source = 1 // CUDA runtime API
	Host   Source = 3 // scheduler, memory, process life
	Driver Source = 4 // CUDA driver API
	IO     Source = 5 // block devices
	TCP    Source = 6 // retransmits
	Net    Source = 7 // sockets
	Graph  Source = 8 // CUDA graphs, runtime and driver
	NCCL   Source = 9 // collectives
)

var sourceNames = [...]struct {
	Source      Source
	Name        string
	Description string
}{
	{CUDA, "cuda", "CUDA runtime API (libcudart), uprobes"},
	{Host, "host", "Linux kernel: scheduler, memory, process life, tracepoints"},
	{Driver, "driver", "CUDA driver API (libcuda), uprobes"},
	{IO, "io", "block devices, tracepoints"},
	{TCP, "tcp", "TCP retransmits, tracepoints"},
	{Net, "net", "sockets, tracepoints"},
	{Graph, "cuda_graph", "CUDA graphs, runtime and driver, uprobes"},
	{NCCL, "nccl", "NCCL collectives, uprobes"},
}

// String returns the name used in JSON, SQL and on screen.
func (s Source) String() string {
	for _, n := range sourceNames {
		if n.Source == s {
			return n.Name
		}
	}
	return "source" + strconv.Itoa(int(s))
}

// Sources calls f for every source in the order of their numbers.
func Sources(f func(s Source, name, description string)) {
	for _, n := range sourceNames {
		f(n.Source, n.Name, n.Description)
	}
}

// Op identifies one kind of event: a source and a code within it. Both are
// stored on disk, so a number is never changed and never used again.
type Op uint16

// MakeOp joins a source and a code.
func MakeOp(s Source, code uint8) Op { return Op(s)<<8 | Op(code) }

// Source is the layer of the operation.
func (o Op) Source() Source { return Source(o >> 8) }

// Code is the operation's number within its source.
func (o Op) Code() uint8 { return uint8(o) }

// String returns the display name, as on screen and in JSON.
func (o Op) String() string {
	if i, ok := infoOf[o]; ok {
		return i.Name
	}
	return o.Source().String() + ".op" + strconv.Itoa(int(o.Code()))
}

// Class returns the operation's class; rules and reports speak of classes.
func (o Op) Class() Class { return infoOf[o].Class }

// Direction of a copy, numbered as cudaMemcpyKind in the CUDA headers
// (driver_types.h).
type Direction uint8

// The values of cudaMemcpyKind.
const (
	HostToHost Direction = iota
	HostToDevice
	DeviceToHost
	DeviceToDevice
	Unspecified // cudaMemcpyDefault, or a call that does not say
)

// Rank places a process in a distributed job; -1 means not known.
type Rank struct {
	Rank, Local, World int32
}

// NoRank is the rank of a process that is not part of a distributed job.
var NoRank = Rank{-1, -1, -1}

// Event is one recorded call or kernel event.
type Event struct {
	Start  int64 // unix ns; always the start, never the end
	Dur    int64 // ns
	PID    uint32
	TID    uint32
	Op     Op
	Depth  uint8 // calls of the same thread this one is nested in
	Dir    Direction
	GPU    int16 // device ordinal the thread had selected
	Ret    int32 // the library's return code; 0 is success
	Bytes  uint64
	Handle uint64 // function, pointer, stream or graph, by class
	Stack  uint64 // hash of the call stack; 0 is none
	Cgroup uint64 // cgroup v2 id
	Comm   string // thread name
	Rank   Rank

	// Of Dur, the time spent waiting for a CPU and for anything else, in ns.
	// -1 is not measured: host events other than gaps, older recordings.
	Runnable, Blocked int64
}

// Arg0 and Arg1 are the columns of the same name that queries written for
// older recordings use: bytes for calls that move or take memory and the
// handle for all others; the direction of a copy, the pointer of an
// allocation, the PID of a new process, the device or peer of an I/O.
func (e *Event) Arg0() uint64 {
	switch c := e.Op.Class(); {
	case c.HasBytes():
		return e.Bytes
	case c == Lifecycle:
		return 0
	}
	return e.Handle
}

// Arg1 is described at Arg0.
func (e *Event) Arg1() uint64 {
	switch e.Op.Class() {
	case Copy:
		return uint64(e.Dir)
	case Alloc, Lifecycle, Memory, Block, Network:
		return e.Handle
	}
	return 0
}

// Process is one process as long as it lives. PID and Start together are
// unique; a PID alone is not.
type Process struct {
	PID       uint32
	PPID      uint32
	Start     int64 // unix ns
	SinceBoot int64 // start in ns since boot, as /proc has it: a step of the wall clock does not move it
	Comm      string
	Cmdline   string
	UID       uint32
	Cgroup    uint64
	Container string // 64 hex digits, or empty
	Pod       string // UID that Kubernetes gave its pod, or empty
	Rank      Rank
}
