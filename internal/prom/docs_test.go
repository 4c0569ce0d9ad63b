package prom

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"ingero/internal/metric"
)

// The table in the documentation is made of the table of metrics.
func TestDocs(t *testing.T) {
	const file, begin, end = "../../docs/metrics.md", "<!-- made by go test ./internal/prom -update -->\n", "<!-- end -->\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s: no place for the table", file)
	}
	want := before + begin + markdown() + end + after
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(text) != want {
		t.Errorf("%s is not up to date: go test ./internal/prom -update", file)
	}
}

var kinds = map[metric.Kind]string{metric.Sum: "sum", metric.UpDown: "up and down", metric.Gauge: "gauge", metric.Histogram: "histogram"}

func markdown() string {
	var b strings.Builder
	b.WriteString("| OpenTelemetry | Prometheus | unit | kind | what |\n|---|---|---|---|---|\n")
	for _, m := range metric.Table() {
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s |\n", m.Name, Name(m), m.Unit, kinds[m.Kind], m.Help)
	}
	return b.String()
}

// Every metric that the dashboard asks for exists.
func TestDashboard(t *testing.T) {
	exist := map[string]bool{"target_info": true}
	for _, m := range metric.Table() {
		name := Name(m)
		exist[name] = true
		if m.Kind == metric.Histogram {
			exist[name+"_bucket"] = true
		}
	}
	text, err := os.ReadFile("../../docs/grafana/ingero.json")
	if err != nil {
		t.Fatal(err)
	}
	var all any
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	asked := map[string]bool{}
	walk(all, func(key, text string) {
		if key != "expr" && key != "query" && key != "definition" || !strings.Contains(text, "{") {
			return
		}
		names := selector.FindAllStringSubmatch(text, -1)
		if len(names) == 0 {
			t.Errorf("%q asks for nothing", text)
		}
		for _, n := range names {
			asked[n[1]] = true
			if !exist[n[1]] {
				t.Errorf("%q asks for %s, which there is not", text, n[1])
			}
		}
	})
	if len(asked) < 25 {
		t.Errorf("the dashboard asks for %d metrics only: %v", len(asked), asked)
	}
}

// selector finds names of metrics: the dashboard writes braces after each.
var selector = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\{`)

// walk calls f for each string of an object.
func walk(x any, f func(key, text string)) {
	switch x := x.(type) {
	case map[string]any:
		for k, v := range x {
			if s, is := v.(string); is {
				f(k, s)
			}
			walk(v, f)
		}
	case []any:
		for _, v := range x {
			walk(v, f)
		}
	}
}
