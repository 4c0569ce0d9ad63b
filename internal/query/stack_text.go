package query

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// FrameText is a frame for people: "[Python] train.py:8 in train_step()",
// "cublasSgemm_v2+0xa6 (libcublas.so.12)", "(libtorch_cuda.so)".
func FrameText(f Frame) string {
	name := strings.TrimSuffix(ShortName(f.Symbol), "+0x0")
	switch {
	case f.isPython():
		file, _ := shortPath(f.PyFile)
		return fmt.Sprintf("[Python] %s:%d in %s()", file, f.PyLine, strings.ReplaceAll(f.PyFunc, ".<locals>", ""))
	case name != "" && f.File != "":
		return fmt.Sprintf("%s (%s)", name, f.File)
	case name != "":
		return name
	case f.File != "":
		return fmt.Sprintf("(%s)", f.File)
	}
	return f.IP
}

func (f Frame) isPython() bool { return f.PyFunc != "" || f.PyFile != "" }

// libraries is where Python keeps code that is not the user's.
var libraries = regexp.MustCompile(`^.*/(?:site|dist)-packages/|^.*/lib(?:64)?/(python3[^/]*/)`)

// shortPath is a source file of Python without the folder that its library is
// in; the path of a file of the user's stays.
func shortPath(file string) (short string, library bool) {
	short = libraries.ReplaceAllString(file, "$1")
	return short, short != file || strings.HasPrefix(file, "<frozen ")
}

// interpreter reports whether the frame is of what runs Python code and calls C
// from it. Its Python frames say what it does.
func (f Frame) interpreter() bool {
	return slices.ContainsFunc([]string{"python", "libpython", "_ctypes", "libffi"}, func(p string) bool { return strings.HasPrefix(f.File, p) })
}

// A stack is told in stackLines; above Python, nativeLines are the called
// function and who called it.
const (
	stackLines  = 12
	nativeLines = 4
)

// level is what one line can tell: a frame, or a run of them that have no name.
type level struct {
	frames int
	kind   string // of its frames
	text   string
	hidden bool
}

const (
	native  = "native frames"
	library = "frames in libraries"
	own     = "frames"
)

// StackText tells a stack in a few lines, innermost first: the call, some
// native frames below it, and the lines of Python. Where these are too many,
// those in libraries are left out from the middle, the user's own last. Without
// Python, the middle is left out. --json has all.
func StackText(stack []Frame) []string {
	python := slices.IndexFunc(stack, Frame.isPython)
	levels := levelsOf(stack, python)
	if python >= 0 {
		natives := slices.IndexFunc(levels, func(l level) bool { return l.kind != native })
		for i := nativeLines; i < natives && natives > nativeLines+1; i++ {
			levels[i].hidden = true
		}
	}
	lines := linesOf(levels)
	for _, kind := range []string{library, own, native} {
		for len(lines) > stackLines && hideMiddle(levels, kind) {
			lines = linesOf(levels)
		}
	}
	return lines
}

// levelsOf puts frames without names together. With Python from some frame on,
// native frames below it, and the interpreter's, are left out.
func levelsOf(stack []Frame, python int) []level {
	var all []level
	for i, f := range stack {
		l := level{frames: 1, kind: native, text: FrameText(f)}
		if f.isPython() {
			l.kind = own
			if _, in := shortPath(f.PyFile); in {
				l.kind = library
			}
		} else if i > 0 && python >= 0 && (i > python || f.interpreter()) {
			continue
		} else if n := len(all); n > 0 && f.Symbol == "" && f.File != "" && stack[i-1].Symbol == "" && stack[i-1].File == f.File {
			all[n-1].frames++
			all[n-1].text = fmt.Sprintf("… %d frames in %s", all[n-1].frames, f.File)
			continue
		}
		all = append(all, l)
	}
	return all
}

// hideMiddle hides the middle one of the levels of a kind that are shown.
func hideMiddle(levels []level, kind string) bool {
	var shown []int
	for i, l := range levels {
		if l.kind == kind && !l.hidden {
			shown = append(shown, i)
		}
	}
	if len(shown) == 0 {
		return false
	}
	levels[shown[len(shown)/2]].hidden = true
	return true
}

func linesOf(levels []level) []string {
	var lines []string
	for i := 0; i < len(levels); {
		l := levels[i]
		i++
		if l.hidden {
			for ; i < len(levels) && levels[i].hidden && levels[i].kind == l.kind; i++ {
				l.frames += levels[i].frames
			}
			l.text = fmt.Sprintf("… %d %s", l.frames, l.kind)
		}
		lines = append(lines, l.text)
	}
	return lines
}
