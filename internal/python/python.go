// Package python knows CPython: which process runs it, where the kernel
// finds the stack of a thread, and which line of which file an instruction
// belongs to. It reads the memory of other processes and trusts nothing in it.
package python

import (
	"errors"
	"fmt"
)

// RawFrame is a frame as the kernel saw it: struct py_frame.
type RawFrame struct{ Code, Instr uint64 }

// entered is set in Code if C called the interpreter to run the frame.
const entered = 1

// Flags of a Walk; enum py_flag in bpf/python_types.h.
const (
	flagCFrame   = 1
	flagLasti    = 2
	flagNativeID = 4
)

// maxFrameBytes is what the kernel reads of a frame; PY_FRAME_BYTES.
const maxFrameBytes = 128

// Walk is what the kernel must know of a process to walk its Python stacks:
// struct py_process in bpf/python_types.h, field by field.
type Walk struct {
	Interpreters  uint64
	Flags         uint32
	InterpNext    uint32
	InterpThreads uint32
	ThreadNext    uint32
	ThreadId      uint32
	ThreadFrame   uint32
	CframeCurrent uint32
	FrameBytes    uint32
	FramePrevious uint32
	FrameCode     uint32
	FrameInstr    uint32
	FrameOwner    uint32
	OwnerC        uint32
	FrameEntry    uint32
	EntryMask     uint32
}

// Version is that of an interpreter: 3.11.7 is {3, 11, 7}.
type Version struct{ Major, Minor, Micro int }

// String leaves out what is not known.
func (v Version) String() string {
	if v.Micro < 0 {
		return fmt.Sprintf("%d.%d", v.Major, v.Minor)
	}
	return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Micro)
}

// fromHex decodes PY_VERSION_HEX.
func fromHex(h uint64) Version {
	return Version{int(h >> 24 & 0xff), int(h >> 16 & 0xff), int(h >> 8 & 0xff)}
}

// ErrNone is the error of a process that does not run CPython.
var ErrNone = errors.New("runs no CPython")

// layout says where things are in one build of CPython, in bytes from the
// start of the struct named first.
type layout struct {
	walk         Walk // without Interpreters
	runtimeHead  uint64
	threadInterp uint64

	codeFile, codeName, codeQual, codeTable, codeFirstLine uint64
	codeStart                                              uint64 // co_code_adaptive; 0 when the kernel has f_lasti
	codeTLBC                                               uint64 // co_tlbc, copies of the bytecode for each thread; 0 without
	strLength, strState, strASCII, strCompact              uint64
	bytesSize, bytesData                                   uint64
	oldTable                                               bool // 3.10's line table
}

const (
	maxOffset = 1 << 20 // of a field in any struct
	codeBytes = 1 << 10 // no field of a code object is beyond
)

// check refuses offsets that cannot be right.
func (l *layout) check() error {
	w := l.walk
	for _, end := range []uint32{w.FramePrevious + 8, w.FrameCode + 8, w.FrameInstr + 4, w.FrameOwner + 1, w.FrameEntry + 1} {
		if end > w.FrameBytes {
			return fmt.Errorf("a frame of %d bytes has a field that ends at %d", w.FrameBytes, end)
		}
	}
	if w.FrameBytes > maxFrameBytes {
		return fmt.Errorf("a frame's fields reach to %d, %d are read", w.FrameBytes, maxFrameBytes)
	}
	if (w.FramePrevious|w.FrameCode)%8 != 0 || w.FrameInstr%4 != 0 {
		return errors.New("the fields of a frame are not aligned")
	}
	for _, off := range []uint64{l.codeFile, l.codeName, l.codeQual, l.codeTable, l.codeFirstLine, l.codeStart, l.codeTLBC} {
		if off > codeBytes-8 {
			return fmt.Errorf("a field of the code object at %d", off)
		}
	}
	for _, off := range []uint64{
		uint64(w.InterpNext), uint64(w.InterpThreads), uint64(w.ThreadNext), uint64(w.ThreadId), uint64(w.ThreadFrame), uint64(w.CframeCurrent),
		l.runtimeHead, l.threadInterp, l.strLength, l.strState, l.strASCII, l.strCompact, l.bytesSize, l.bytesData,
	} {
		if off > maxOffset {
			return fmt.Errorf("a field at %d", off)
		}
	}
	if l.strLength+8 > l.strASCII || l.strState+4 > l.strASCII || l.strASCII > l.strCompact || l.strCompact > codeBytes {
		return errors.New("the fields of a string are not in its head")
	}
	return nil
}
