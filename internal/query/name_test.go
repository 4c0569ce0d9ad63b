package query

import (
	"os"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestShortName(t *testing.T) {
	real, err := os.ReadFile("testdata/names.txt")
	if err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(string(real), "\n\n") {
		if name, want, isPair := strings.Cut(strings.TrimSpace(part), "\n"); isPair && ShortName(name) != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, ShortName(name), want)
		}
	}
	many := strings.Repeat("x", 60)
	for name, want := range map[string]string{
		"": "",
		// Operators and conversions.
		many + "::operator<(int)":                           many + "::operator<",
		many + "::operator< <int>(int)":                     many + "::operator<<…>",
		many + "::operator<< <int>":                         many + "::operator<<<…>",
		many + "::operator()(int) const":                    many + "::operator()",
		many + "::operator->() const+0x1":                   many + "::operator->+0x1",
		many + "::operator->*<a>":                           many + "::operator->*<…>",
		many + "::operator[](std::vector<int>)":             many + "::operator[]",
		"a::" + many[:50] + "::operator std::vector<int>()": "a::" + many[:50] + "::operator std::vector<…>",
		many + "::operator+":                                many + "::operator+",
		many + "::operator++0x1f":                           many + "::operator++0x1f",
		many + "::myoperator<int>":                          many + "::myoperator<…>",
		many + "<&a::operator<, &a::operator> >::f":         many + "<…>::f",
		many + "<((a)>(b)), (c < d), x->y>::f":              many + "<…>::f",
		many + "[abi:cxx11](int)::{unnamed type#2}":         many + "::{unnamed type}",
		// Not balanced: as it is, but not long.
		many + "<int":                           many + "<int",
		many + "(]>":                            many + "(]>",
		many + ">>)":                            many + ">>)",
		strings.Repeat("ab", 60):                strings.Repeat("ab", 13) + "…" + "b" + strings.Repeat("ab", 26),
		many + "<" + strings.Repeat("é", 100):   many[:26] + "…" + strings.Repeat("é", 53),
		many + "+0x" + strings.Repeat("1", 100): many[:26] + "…" + strings.Repeat("1", 53),
		many + strings.Repeat("<", 5000) + "\xff{{{(operator": many[:26] + "…" + strings.Repeat("<", 40) + "\ufffd{{{(operator",
	} {
		if got := ShortName(name); got != want {
			t.Errorf("%.200s:\ngot  %s\nwant %s", name, got, want)
		}
	}
}

func FuzzShortName(f *testing.F) {
	for _, s := range []string{"a<b(c{d[e", "operator<operator>>(operator()", "{", "<>()[]{}", "a{{b}c(#", "+0x", "(anonymous namespace)::(anonymous namespace)"} {
		f.Add(s)
		f.Add(strings.Repeat(s, 20) + "::f+0x1")
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := utf8.RuneCountInString(ShortName(s)); got > maxName+len("+0x")+16 {
			t.Errorf("%q has %d characters", s, got)
		}
	})
}

func BenchmarkShortName(b *testing.B) {
	name := "c10::impl::wrap<" + strings.Repeat("at::Tensor (c10::Scalar const&), ", 20) + ">::call+0x67"
	for b.Loop() {
		ShortName(name)
	}
}
