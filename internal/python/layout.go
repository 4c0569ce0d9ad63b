package python

import (
	"encoding/binary"
	"fmt"
	"runtime"
)

// layouts of the versions that do not describe themselves. From offsetof
// with the headers of 3.10.13, 3.11.7 and 3.12.1: Include/internal/
// pycore_runtime.h, pycore_interp.h and pycore_frame.h, Include/cpython/
// pystate.h, code.h and unicodeobject.h. Within a minor version these
// structs do not change.
var layouts = map[int]layout{
	10: {
		walk: Walk{
			Flags:         flagLasti,
			InterpThreads: 8, ThreadNext: 8, ThreadId: 176, ThreadFrame: 24,
			FrameBytes: 104, FramePrevious: 24, FrameCode: 32, FrameInstr: 96, OwnerC: anyOwner,
		},
		runtimeHead: 32, threadInterp: 16,
		codeFile: 104, codeName: 112, codeQual: 112, codeTable: 120, codeFirstLine: 40,
		strLength: 16, strState: 32, strASCII: 48, strCompact: 72,
		bytesSize: 16, bytesData: 32, oldTable: true,
	},
	11: {
		walk: Walk{
			Flags:         flagCFrame,
			InterpThreads: 16, ThreadNext: 8, ThreadId: 152, ThreadFrame: 56, CframeCurrent: 8,
			FrameBytes: 72, FramePrevious: 48, FrameCode: 32, FrameInstr: 56, FrameOwner: 69, OwnerC: 3, FrameEntry: 68, EntryMask: 1,
		},
		runtimeHead: 40, threadInterp: 16,
		codeFile: 112, codeName: 120, codeQual: 128, codeTable: 136, codeFirstLine: 72, codeStart: 184,
		strLength: 16, strState: 32, strASCII: 48, strCompact: 72,
		bytesSize: 16, bytesData: 32,
	},
	12: {
		walk: Walk{
			Flags:         flagCFrame,
			InterpThreads: 72, ThreadNext: 8, ThreadId: 136, ThreadFrame: 56,
			FrameBytes: 72, FramePrevious: 8, FrameInstr: 56, FrameOwner: 70, OwnerC: 3,
		},
		runtimeHead: 40, threadInterp: 16,
		codeFile: 112, codeName: 120, codeQual: 128, codeTable: 136, codeFirstLine: 68, codeStart: 192,
		strLength: 16, strState: 32, strASCII: 40, strCompact: 56,
		bytesSize: 16, bytesData: 32,
	},
}

// anyOwner is more than any owner: 3.10 has none.
const anyOwner = 256

// nativeID is where 3.11 and 3.12 keep gettid of a thread, for machines on
// which pthread_self is not the thread pointer.
var nativeID = map[int]uint32{11: 160, 12: 144}

// Later versions begin _PyRuntime with struct _Py_DebugOffsets: this cookie,
// the version, whether free-threaded, then groups of 64-bit numbers, of
// which the first is a size.
const debugCookie = "xdebugpy"

// Members of each group of _Py_DebugOffsets that we use, in order: see
// Include/internal/pycore_runtime.h (3.13), pycore_debug_offsets.h (3.14).
type group int

const (
	runtimeState group = iota
	interpState
	threadState
	interpFrame
	codeObject
	bytesObject
	unicodeObject
)

// where the groups begin, in words.
var debugGroups = map[int]map[group]int{
	13: {runtimeState: 3, interpState: 6, threadState: 19, interpFrame: 28, codeObject: 34, bytesObject: 64, unicodeObject: 67},
	14: {runtimeState: 3, interpState: 6, threadState: 22, interpFrame: 31, codeObject: 39, bytesObject: 74, unicodeObject: 77},
}

const debugWords = 81

// fromDebug reads the layout that an interpreter tells of itself.
func fromDebug(b []byte) (layout, Version, error) {
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	version := fromHex(word(1))
	groups, known := debugGroups[version.Minor]
	if !known || version.Major != 3 {
		return layout{}, version, fmt.Errorf("CPython %v is not known; 3.10 to 3.14 are", version)
	}
	at := func(g group, i int) uint64 { return word(groups[g] + i) }
	small := func(v uint64) uint32 { return uint32(min(v, maxOffset+1)) } // check refuses it
	l := layout{
		walk: Walk{
			InterpNext: small(at(interpState, 2)), InterpThreads: small(at(interpState, 3)),
			ThreadNext: small(at(threadState, 2)), ThreadFrame: small(at(threadState, 4)), ThreadId: small(at(threadState, 5)),
			FramePrevious: small(at(interpFrame, 1)), FrameCode: small(at(interpFrame, 2)),
			FrameInstr: small(at(interpFrame, 3)), FrameOwner: small(at(interpFrame, 5)), OwnerC: 3,
		},
		runtimeHead: at(runtimeState, 2), threadInterp: at(threadState, 3),
		codeFile: at(codeObject, 1), codeName: at(codeObject, 2), codeQual: at(codeObject, 3),
		codeTable: at(codeObject, 4), codeFirstLine: at(codeObject, 5), codeStart: at(codeObject, 9),
		bytesSize: at(bytesObject, 1), bytesData: at(bytesObject, 2),
		strState: at(unicodeObject, 1), strLength: at(unicodeObject, 2), strASCII: at(unicodeObject, 3),
	}
	l.strCompact = l.strASCII + 16
	if version.Minor >= 14 && word(2) != 0 {
		l.codeTLBC = at(codeObject, 10)
	}
	w := &l.walk
	w.FrameBytes = (max(w.FramePrevious+8, w.FrameCode+8, w.FrameInstr+8, w.FrameOwner+1) + 7) &^ 7
	if runtime.GOARCH != "amd64" {
		w.Flags |= flagNativeID
		w.ThreadId = small(at(threadState, 6))
	}
	return l, version, l.check()
}

// fromTable returns the layout of a version that does not tell.
func fromTable(v Version) (layout, error) {
	l, known := layouts[v.Minor]
	if !known || v.Major != 3 {
		return layout{}, fmt.Errorf("CPython %v is not known; 3.10 to 3.14 are", v)
	}
	if runtime.GOARCH != "amd64" {
		if nativeID[v.Minor] == 0 {
			return layout{}, fmt.Errorf("CPython %v does not keep the numbers of threads, which is what tells them apart on %s", v, runtime.GOARCH)
		}
		l.walk.Flags |= flagNativeID
		l.walk.ThreadId = nativeID[v.Minor]
	}
	return l, l.check()
}
