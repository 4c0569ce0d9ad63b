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
	Lines  []Frame       // what Python are, once they were read
}

// PythonFrame is a frame of the interpreter: addresses in the process.
type PythonFrame struct {
	Code, Instr uint64
}

// Stack is a call stack with names, innermost first.
type Stack struct {
	Hash   uint64
	PID    uint32
	TID    uint32 // that had it first
	Op     Op     // the call it was first seen at
	IPs    []uint64
	Frames []Frame
}
