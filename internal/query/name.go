package query

import (
	"strings"
	"unicode/utf8"
)

// Names of up to keptName characters stay as they are, others get at most maxName.
const (
	keptName = 60
	maxName  = 80
)

// ShortName is a symbol for people: a long name of C++ loses what it was made
// for and is called with, as in "at::native::gpu_kernel_impl<…>+0x7f5", and is
// cut in the middle if it is still long. The offset is kept. Short names of any
// language stay, but for "(anon)".
func ShortName(symbol string) string {
	name, offset := symbol, ""
	if i := strings.LastIndex(symbol, "+0x"); i >= 0 && len(symbol)-i <= len("+0x")+16 {
		name, offset = symbol[:i], symbol[i:]
	}
	name = strings.ReplaceAll(name, "(anonymous namespace)", "(anon)")
	name = strings.ReplaceAll(name, "(anon)::(anon)", "(anon)")
	if utf8.RuneCountInString(name) > keptName {
		name = strings.ReplaceAll(collapse(name), "{lambda}::operator()", "{lambda}")
	}
	if r := []rune(name); len(r) > maxName {
		const head = maxName / 3
		name = string(r[:head]) + "…" + string(r[len(r)-(maxName-head-1):])
	}
	return name + offset
}

// collapse leaves out what is in brackets after a name. Brackets that are not
// closed stay, with all that follows.
func collapse(s string) string {
	var out strings.Builder
	named := false // s[:i] ends with a name, which arguments can follow
	for i := 0; i < len(s); {
		rest, n := s[i:], 0
		switch c := rest[0]; {
		case operatorAt(s, i) > 0:
			n = operatorAt(s, i)
			out.WriteString(rest[:n])
			named = n > len("operator")
			if strings.HasPrefix(rest[n:], " <") { // "operator< <int>"
				n++
			}
		case strings.IndexByte("([{", c) >= 0 || c == '<' && named:
			if n = closing(rest) + 1; n == 0 {
				return out.String() + rest
			}
			out.WriteString(bracketed(rest[:n], named))
			if c == '(' && named && strings.HasPrefix(rest[n:], " const") {
				n += len(" const")
			}
			named = true
		default: // the "<" of Rust's "<T as Trait>::f" as well
			n = 1
			out.WriteByte(c)
			named = inName(c) || c == '>' || c == '\''
		}
		i += n
	}
	return out.String()
}

// bracketed is what is shown of a bracket with all that is in it.
func bracketed(s string, named bool) string {
	switch {
	case s[0] == '<':
		return "<…>"
	case s[0] == '(' && named, strings.HasPrefix(s, "[abi:"):
		return ""
	case s[0] == '{' && s[1] != '{': // "{lambda(int)#1}"
		if i := strings.IndexAny(s, "(#"); i > 0 {
			return s[:i] + "}"
		}
	}
	return s
}

// closing is where the bracket that s begins with is closed; -1: nowhere.
func closing(s string) int {
	var open []byte // what closes them
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case 'o':
			i += max(operatorAt(s, i), 1) - 1
		case '(':
			open = append(open, ')')
		case '<', '[', '{':
			open = append(open, c+2)
		case '>':
			if s[i-1] == '-' || open[len(open)-1] != c {
				continue // "->", and "greater than" in parentheses
			}
			open = open[:len(open)-1]
		case ')', ']', '}':
			for len(open) > 0 && open[len(open)-1] == '>' { // "less than"
				open = open[:len(open)-1]
			}
			if len(open) == 0 || open[len(open)-1] != c {
				return -1
			}
			open = open[:len(open)-1]
		}
		if len(open) == 0 {
			return i
		}
	}
	return -1
}

// operatorSigns are those with brackets in them, longer ones first.
var operatorSigns = []string{"()", "[]", "<=>", "<<=", ">>=", "->*", "<<", ">>", "<=", ">=", "->", "<", ">"}

// operatorAt is the length of the "operator<" or "operator" that s has at i;
// 0: it has none there.
func operatorAt(s string, i int) int {
	const word = "operator"
	if s[i] != word[0] || !strings.HasPrefix(s[i:], word) || i > 0 && inName(s[i-1]) {
		return 0
	}
	rest := s[i+len(word):]
	if rest != "" && inName(rest[0]) {
		return 0
	}
	for _, sign := range operatorSigns {
		if strings.HasPrefix(rest, sign) {
			return len(word) + len(sign)
		}
	}
	return len(word)
}

func inName(c byte) bool {
	return c == '_' || c == '$' || c >= utf8.RuneSelf || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}
