package python

import (
	"strings"
	"testing"

	"ingero/internal/event"
)

func TestInterleave(t *testing.T) {
	long := strings.NewReplacer("loop", "_PyEval_EvalFrameDefault+0x5a", "part", "_TAIL_CALL_CALL+0x1")
	for _, test := range []struct{ native, python, want string }{
		// Frames that C entered are marked with a star.
		{"launch ffi loop vector qsort ffi loop main", "inner callback* outer <module>*", "launch ffi inner callback vector qsort ffi outer <module> main"},
		{"launch ffi part loop main", "f <module>*", "launch ffi f <module> main"},
		{"launch", "f <module>*", "launch f <module>"},
		{"launch loop main", "", "launch loop main"},
		{"launch ffi python3.11+0x50 python3.11+0x60", "f <module>*", "launch ffi f <module> python3.11 python3.11"},
		{"launch loop main", "f g", "launch f g main"},
		{"launch loop loop main", "f*", "launch f loop main"},
	} {
		var native, python []event.Frame
		var raw []RawFrame
		for n := range strings.FieldsSeq(test.native) {
			native = append(native, event.Frame{Symbol: long.Replace(n), File: n})
		}
		for p := range strings.FieldsSeq(test.python) {
			name, star := strings.CutSuffix(p, "*")
			code := uint64(0x1000)
			if star {
				code |= entered
			}
			raw = append(raw, RawFrame{Code: code})
			python = append(python, event.Frame{PyFunc: name})
		}
		got := ""
		for _, f := range Interleave(native, raw, python) {
			s, _, _ := strings.Cut(f.Symbol+f.PyFunc, "+")
			got += " " + strings.ReplaceAll(s, "_PyEval_EvalFrameDefault", "loop")
		}
		if got[1:] != test.want {
			t.Errorf("%s with %s: got%s, want %s", test.native, test.python, got, test.want)
		}
	}
}
