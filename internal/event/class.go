package event

// Class groups operations that mean the same to a user, whichever library
// made the call.
type Class uint8

// Classes of operations.
const (
	None       Class = iota
	Launch           // work queued on a device
	Alloc            // memory taken
	Free             // memory given back
	Copy             // memory moved or set
	Sync             // a wait for the device
	Capture          // recording a graph
	Prepare          // making, updating or destroying an executable graph
	Load             // modules, contexts, start-up
	Device           // choosing a device
	Lifecycle        // a process begins, changes or ends
	Sched            // the scheduler
	Memory           // the kernel's memory management
	Block            // block devices
	Network          // sockets and TCP
	Gap              // time between calls
	Capturing        // a thread records a graph: between its calls, and in those that are recorded
	Collective       // work of several devices together
)

var classNames = [...]string{
	None: "none", Launch: "launch", Alloc: "alloc", Free: "free", Copy: "copy", Sync: "sync",
	Capture: "capture", Prepare: "prepare", Load: "load", Device: "device",
	Lifecycle: "lifecycle", Sched: "sched", Memory: "memory", Block: "block", Network: "network", Gap: "gap", Capturing: "capturing",
	Collective: "collective",
}

// String returns the name used in JSON and on screen.
func (c Class) String() string { return classNames[c] }

// HasBytes reports whether calls of the class take a size.
func (c Class) HasBytes() bool {
	return c == Alloc || c == Copy || c == Collective || c == Memory || c == Block || c == Network
}

// IsCall reports whether the operation is a traced library function, and not
// an event of the kernel.
func (o Op) IsCall() bool {
	switch o.Source() {
	case CUDA, Driver, Graph, NCCL:
		return true
	}
	return false
}

// Sampled reports whether fast calls of the class may be recorded by
// sampling; all others are always recorded.
func (c Call) Sampled() bool {
	switch c.Class {
	case Launch:
		return c.ID.Source() != Graph
	case Copy:
		return c.Async
	case Device, Collective:
		return true
	}
	return false
}
