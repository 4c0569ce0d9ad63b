package tsc

import (
	"cmp"
	"fmt"
	"path"
	"strings"

	"github.com/ianlancetaylor/demangle"
)

// maxSymbol is how many bytes of a name in a stack are kept: C++ has names of
// thousands.
const maxSymbol = 120

// frame is one level of a stack as it is told: where, and the name there.
type frame struct{ file, name string }

// isStack reports whether a value is frames.
func isStack(n *node) bool {
	if n.kind != array || len(n.vals) == 0 {
		return false
	}
	for _, v := range n.vals {
		if v.field("ip") == nil {
			return false
		}
	}
	return true
}

func newFrame(n *node) frame {
	text := func(key string) string {
		if v := n.field(key); v != nil {
			return v.text
		}
		return ""
	}
	if name := text("py_func"); name != "" || text("py_file") != "" {
		return frame{text("py_file"), name + "()" + colon(text("py_line"))}
	}
	name, _, _ := strings.Cut(cmp.Or(text("short"), text("symbol")), "+0x") // where in the function helps nobody
	name = demangle.Filter(name, demangle.NoParams, demangle.NoTemplateParams, demangle.NoEnclosingParams)
	file := path.Base(text("file"))
	if text("file") == "" {
		file = ""
	}
	if source := text("source"); source != "" {
		return frame{source, name + colon(text("line"))}
	}
	if name == "" && file == "" {
		name = text("ip")
	}
	return frame{file, name}
}

func colon(line string) string {
	if line == "" {
		return ""
	}
	return ":" + line
}

// frames numbers the frames of all stacks, each once.
type frames struct {
	number map[frame]int
	all    []frame
}

// stack writes frames as their numbers, innermost first; 3-7 is all from 3 to 7.
func (f *frames) stack(n *node) string {
	var runs [][2]int
	for _, v := range n.vals {
		x := newFrame(v)
		if f.number[x] == 0 {
			f.all = append(f.all, x)
			f.number[x] = len(f.all)
		}
		k := f.number[x]
		if last := len(runs) - 1; last >= 0 && runs[last][1] == k-1 {
			runs[last][1] = k
		} else {
			runs = append(runs, [2]int{k, k})
		}
	}
	parts := make([]string, len(runs))
	for i, r := range runs {
		if parts[i] = fmt.Sprint(r[0]); r[1] > r[0] {
			parts[i] = fmt.Sprintf("%d-%d", r[0], r[1])
		}
	}
	return strings.Join(parts, " ")
}

// write lists the frames by their numbers, those of one file on a line.
func (f *frames) write(w *writer) {
	if len(f.all) == 0 {
		return
	}
	w.line(0, "frames, of which stacks are, innermost first:")
	for i := 0; i < len(f.all); {
		end := i
		var names []string
		for end < len(f.all) && f.all[end].file == f.all[i].file {
			names = append(names, bare(Clean(cmp.Or(f.all[end].name, "?"), maxSymbol), ";"))
			end++
		}
		w.line(0, fmt.Sprintf("%d %s: %s", i+1, bare(cmp.Or(f.all[i].file, "?"), ":"), strings.Join(names, "; ")))
		i = end
	}
}
