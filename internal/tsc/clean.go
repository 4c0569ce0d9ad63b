package tsc

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxString is how many bytes of a text are kept.
const MaxString = 4096

// Clean makes a text from a stranger fit to be shown: control characters,
// invisible ones and those that change the direction of writing become
// escapes such as \x1b and \u202e, except line ends and tabs, and what is
// longer than most bytes is cut, with the number of bytes left out. What
// remains may still say anything.
func Clean(s string, most int) string {
	cut := 0
	if len(s) > most {
		end := most
		for end > 0 && !utf8.RuneStart(s[end]) {
			end--
		}
		s, cut = s[:end], len(s)-end
	}
	if strings.ContainsFunc(s, odd) {
		var b strings.Builder
		for i, r := range s {
			switch {
			case !odd(r):
				b.WriteRune(r)
			case r == utf8.RuneError: // not UTF-8, or the character for that
				fmt.Fprintf(&b, `\x%02x`, s[i])
			case r < 0x100:
				fmt.Fprintf(&b, `\x%02x`, r)
			case r < 0x10000:
				fmt.Fprintf(&b, `\u%04x`, r)
			default:
				fmt.Fprintf(&b, `\U%08x`, r)
			}
		}
		s = b.String()
	}
	if cut > 0 {
		s += fmt.Sprintf("…(+%d bytes)", cut)
	}
	return s
}

// odd reports whether a character is not what a reader sees of it.
func odd(r rune) bool {
	switch {
	case r == '\n' || r == '\t':
		return false
	case r == utf8.RuneError, unicode.Is(unicode.Variation_Selector, r), unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r):
		return true
	}
	return !unicode.IsPrint(r)
}

// CleanJSON cleans every text of a JSON value, names of fields included. The
// rest stays as it is, byte for byte, but for white space.
func CleanJSON(answer []byte) ([]byte, error) {
	n, err := parse(answer)
	if err != nil {
		return nil, err
	}
	n.clean()
	var b bytes.Buffer
	n.json(&b)
	return b.Bytes(), nil
}

func (n *node) clean() {
	if n.kind == str {
		n.text = Clean(n.text, MaxString)
	}
	for i, k := range n.keys {
		n.keys[i] = Clean(k, MaxString)
	}
	for _, v := range n.vals {
		v.clean()
	}
}
