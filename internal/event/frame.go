package event

// Frame is one place in a stack: native code, or a line of Python.
type Frame struct {
	IP     uint64 // of native code; 0 in Python
	Symbol string // the native function
	File   string // the binary it is in
	PyFile string // as the code object has it: co_filename
	PyFunc string // qualified where the interpreter knows that; "?" if it could not be read
	PyLine int    // 0 if the instruction has none
}
