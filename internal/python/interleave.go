package python

import (
	"slices"
	"strings"

	"ingero/internal/event"
)

// Interleave puts Python frames among the native ones, innermost first: in
// place of each run of the interpreter's main loop come the frames that it
// ran. raw are the same frames as python, as the kernel saw them. Frames for
// which no run is left, where native frames are missing, come last. If no run
// is known by its name all come where the interpreter is first seen.
func Interleave(native []event.Frame, raw []RawFrame, python []event.Frame) []event.Frame {
	all := make([]event.Frame, 0, len(native)+len(python))
	if !slices.ContainsFunc(native, func(f event.Frame) bool { return runs(f.Symbol) }) {
		at := slices.IndexFunc(native, inInterpreter)
		if at < 0 {
			at = len(native)
		}
		return append(append(append(all, native[:at]...), python...), native[at:]...)
	}
	next, part := 0, false
	for _, f := range native {
		if part && !isPart(f.Symbol) {
			part = false
			if runs(f.Symbol) {
				continue // the loop around the part that has its frames already
			}
		}
		if next == len(python) || !runs(f.Symbol) {
			all = append(all, f)
			continue
		}
		part = isPart(f.Symbol)
		for ended := false; !ended && next < len(python); next++ {
			all = append(all, python[next])
			ended = raw[next].Code&entered != 0
		}
	}
	return append(all, python[next:]...)
}

// runs reports whether a function is the interpreter's main loop, or part of
// it: 3.14 can be built with a function for each instruction.
func runs(symbol string) bool {
	return strings.HasPrefix(symbol, "_PyEval_EvalFrameDefault") || isPart(symbol)
}

func isPart(symbol string) bool { return strings.HasPrefix(symbol, "_TAIL_CALL_") }

// inInterpreter goes by the name of the file, behind which may be an offset.
func inInterpreter(f event.Frame) bool {
	name, _, _ := strings.Cut(f.File, "+")
	return interpreter.MatchString(name)
}
