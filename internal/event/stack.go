package event

// ProcessID is a process for ever: numbers are used again.
type ProcessID struct {
	PID       uint32
	StartBoot uint64 // ns from boot to its start
}

// RawStack is a call stack as the kernel side took it: addresses.
type RawStack struct {
	ProcessID
	Hash uint64
	TID  uint32
	Op   Op // the call it was first seen at
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
