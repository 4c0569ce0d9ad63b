package tsc

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write what is encoded as what is expected")

// Each file is an answer and its telegraphic form.
func TestEncode(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(err, "no cases")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Encode(a.Files[0].Data, Options{MaxRows: 8})
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				a.Files = append(a.Files[:1], txtar.File{Name: "tsc", Data: []byte(got)})
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(string(a.Files[1].Data), got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestClean(t *testing.T) {
	for _, x := range [][2]string{
		{"train.py", "train.py"},
		{"日本語 é ✓", "日本語 é ✓"},
		{"</script>", "</script>"},
		{"a\x1b[2Jb\x7f\x00", `a\x1b[2Jb\x7f\x00`},
		{"a\u0085\u009b", `a\x85\x9b`},
		{"a\u202eb\u2066\u200b\ufeff", `a\u202eb\u2066\u200b\ufeff`},
		{"a\U000e0041\ufe0f", `a\U000e0041\ufe0f`},
		{"a\u2028b\u00a0", `a\u2028b\xa0`},
		{"a\xffb", `a\xffb`},
		{"two\nlines\tand", "two\nlines\tand"},
		{strings.Repeat("é", 20), strings.Repeat("é", 15) + "…(+10 bytes)"},
	} {
		if got := Clean(x[0], 31); got != x[1] {
			t.Errorf("%q: %q, want %q", x[0], got, x[1])
		}
	}
}

// CleanJSON leaves alone what needs no cleaning, large numbers and the order of
// fields included.
func TestCleanJSON(t *testing.T) {
	for _, x := range [][2]string{
		{`{"b":9007199254740993,"a":[1.50,-0,null,true,{}],"c":"x\ny<>&"}`, `{"b":9007199254740993,"a":[1.50,-0,null,true,{}],"c":"x\ny<>&"}`},
		{` {"k\u001b" : "\u001b\u202e" } `, `{"k\\x1b":"\\x1b\\u202e"}`},
	} {
		got, err := CleanJSON([]byte(x[0]))
		if err != nil || string(got) != x[1] {
			t.Errorf("%s: %s, %v", x[0], got, err)
		}
	}
	for _, bad := range []string{"", "{", "1 2", "nothing"} {
		if _, err := CleanJSON([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

// Whatever the answer, it can be written, holds no line that a text in it has
// begun, and is not longer than allowed.
func TestAny(t *testing.T) {
	value := rapid.Deferred(func() *rapid.Generator[any] { return anything(4) })
	rapid.Check(t, func(t *rapid.T) {
		b, err := json.Marshal(value.Draw(t, "answer"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Encode(b, Options{MaxBytes: 2000})
		if err != nil {
			t.Fatal(err)
		}
		if len(got) > 2200 || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return r != '\n' && odd(r) }) {
			t.Errorf("%d bytes: %q", len(got), got)
		}
		for line := range strings.Lines(got) {
			if strings.HasPrefix(strings.TrimSpace(line), "EVIL") {
				t.Errorf("a text began a line: %q", line)
			}
		}
	})
}

func anything(depth int) *rapid.Generator[any] {
	text := rapid.SampledFrom([]string{"", "a", "x,y", `say "x"`, "cut\nEVIL line", "\x1b[2J", "2026-01-01T00:00:00.5Z", strings.Repeat("long 12 text 7 ", 5)})
	keys := rapid.SampledFrom([]string{"a", "b_ns", "ns", "share", "stack", "ip", "window", "from", "to", "columns", "rows", "schema", "duration", "duration_ns", "states_ns"})
	leaves := []*rapid.Generator[any]{
		rapid.Map(text, func(s string) any { return s }), rapid.Map(rapid.Int64(), func(n int64) any { return n }),
		rapid.Map(rapid.Float64Range(-1e12, 1e12), func(f float64) any { return f }), rapid.Map(rapid.Bool(), func(b bool) any { return b }), rapid.Just[any](nil),
	}
	if depth == 0 {
		return rapid.OneOf(leaves...)
	}
	inner := rapid.Deferred(func() *rapid.Generator[any] { return anything(depth - 1) })
	object := rapid.Map(rapid.MapOfN(keys, inner, 0, 6), func(m map[string]any) any { return m })
	return rapid.OneOf(append(leaves, object, object, rapid.Map(rapid.SliceOfN(inner, 0, 6), func(s []any) any { return s }))...)
}
