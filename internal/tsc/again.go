package tsc

import (
	"fmt"
	"regexp"
	"strings"
)

// long is how many bytes a text must have to be told as "that one again".
const long = 40

var numbers = regexp.MustCompile(`[0-9]+(\.[0-9]+)?`)

// texts remembers long texts, each without its numbers.
type texts struct {
	at  map[string]int
	all [][]string // the numbers of each
}

// text writes a text. A long one that was told before is ~3; one that differs
// from it in numbers only is ~3(12>15 7>9): with 15 in place of 12, 9 of 7.
// The first of each kind is marked ~3: before it, but only where there is
// another, which count has found out.
func (w *writer) text(s, separators string) string {
	if len(s) < long {
		return bare(s, separators)
	}
	kind := numbers.ReplaceAllString(s, "#")
	if w.count[kind] < 2 {
		return bare(s, separators)
	}
	mine := numbers.FindAllString(s, -1)
	k := w.texts.at[kind]
	if k == 0 {
		w.texts.all = append(w.texts.all, mine)
		k = len(w.texts.all)
		w.texts.at[kind] = k
		return fmt.Sprintf("~%d:%s", k, bare(s, separators))
	}
	changes, told := []string{}, map[string]bool{}
	for i, first := range w.texts.all[k-1] {
		if c := first + ">" + mine[i]; first != mine[i] && !told[c] {
			changes, told[c] = append(changes, c), true
		}
	}
	if ambiguous(w.texts.all[k-1], mine) {
		return bare(s, separators)
	}
	if len(changes) == 0 {
		return fmt.Sprintf("~%d", k)
	}
	return fmt.Sprintf("~%d(%s)", k, strings.Join(changes, " "))
}

// ambiguous reports whether a number would have to become two others.
func ambiguous(from, to []string) bool {
	seen := map[string]string{}
	for i, f := range from {
		if t, is := seen[f]; is && t != to[i] {
			return true
		}
		seen[f] = to[i]
	}
	return false
}

// count finds out which long texts come again.
func count(n *node, all map[string]int) {
	if n.kind == str && len(n.text) >= long {
		all[numbers.ReplaceAllString(n.text, "#")]++
	}
	if isStack(n) {
		return
	}
	for _, v := range n.vals {
		count(v, all)
	}
}
