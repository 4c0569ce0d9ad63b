package event

// RawStack is a call stack as the kernel side took it: addresses.
type RawStack struct {
	Hash      uint64
	PID, TID  uint32
	Start     int64  // of the process, unix ns
	StartBoot uint64 // the same in ns since boot; with PID it is unique
	Op        Op     // the call it was first seen at
	// IPs are innermost first: an address in the traced function, then
	// return addresses, each one instruction after a call.
	IPs    []uint64
	Python []PythonFrame // innermost first
}

// PythonFrame is a frame of the interpreter: addresses in the process.
type PythonFrame struct {
	Code, Instr uint64
}

// Frame is one level of a call stack: a native address with what is known of
// it, or a line of Python.
type Frame struct {
	IP     uint64 // 0 for Python
	Symbol string // with the offset in it, as in cudaMalloc+0x1f3
	File   string // library or program, without its directory
	PyFile string
	PyFunc string
	PyLine int
}

// Python reports whether the frame is one of the interpreter.
func (f *Frame) Python() bool { return f.PyFunc != "" || f.PyFile != "" }

// Stack is a call stack with names, innermost first.
type Stack struct {
	Hash   uint64
	PID    uint32
	Op     Op // the call it was first seen at
	IPs    []uint64
	Frames []Frame
}
