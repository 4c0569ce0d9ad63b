package event

// Frame is one function of a call stack. What is not known stays empty.
type Frame struct {
	IP      uint64 `json:"ip"`                // 0 for a Python frame
	Symbol  string `json:"symbol,omitempty"`  // demangled, as "cublasSgemm_v2+0xa6"; an inlined function has no offset
	File    string `json:"file,omitempty"`    // base name of the file mapped at IP
	Source  string `json:"source,omitempty"`  // source file, as the compiler was given it
	Line    int    `json:"line,omitempty"`    // in Source
	Inlined bool   `json:"inlined,omitempty"` // into the next frame, which has the same IP

	PyFile string `json:"py_file,omitempty"`
	PyFunc string `json:"py_func,omitempty"`
	PyLine int    `json:"py_line,omitempty"`
}
