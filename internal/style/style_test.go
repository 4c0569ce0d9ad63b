// Package style checks the rules of the tree that no compiler checks: who
// may import whom, and how long files and functions may be.
package style

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// mayImport lists, for each of our packages, which others of ours it may use.
// Data flows one way: probe, event, pipeline, store, query, surfaces.
var mayImport = map[string][]string{
	"internal/event":    {},
	"internal/stats":    {"internal/event"},
	"internal/proc":     {"internal/event"},
	"internal/symbol":   {"internal/event", "internal/proc"},
	"internal/python":   {"internal/event", "internal/proc"},
	"internal/sysinfo":  {"internal/event", "internal/stats"},
	"internal/check":    {"internal/event", "internal/proc", "internal/sysinfo"},
	"internal/pipeline": {"internal/event", "internal/stats"},
	"internal/store":    {"internal/event", "internal/stats"},
	"internal/metric":   {"internal/event", "internal/stats", "internal/pipeline"},
	"internal/otlp":     {"internal/metric", "internal/stats"},
	"internal/prom":     {"internal/metric", "internal/serve", "internal/stats"},
	"internal/probe":    {"internal/event", "internal/stats", "internal/proc", "internal/python", "internal/unwind"},
	"internal/unwind":   {"internal/proc"},
	"internal/query":    {"internal/event", "internal/stats", "internal/store", "internal/rule", "internal/check"},
	"internal/rule":     {"internal/event", "internal/stats"},
	"internal/rows":     {"internal/query"},
	"internal/scenario": {"internal/event", "internal/stats"},
	"internal/demo":     {"internal/scenario"},
	"internal/serve":    {},
	"internal/tsc":      {},
	"internal/accuracy": {},
	"internal/fleet":    {"internal/event", "internal/query"},
	"internal/mcp":      {"internal/event", "internal/query", "internal/serve", "internal/tsc"},
	"internal/export":   {"internal/event", "internal/query"},
	"internal/web":      {"internal/event", "internal/query", "internal/serve"},
	"internal/cli":      nil, // wires everything
	"internal/bpftest":  {},
	"internal/hostile":  {},
	"internal/style":    {},
	"cmd/ingero":        {"internal/cli"},
	"test/workload":     {},
	"test/bench":        nil,
	"test/faults":       nil,
	"test/script":       nil,
	"test/surface":      nil,
	"test/nvidia":       nil,
	"test/trace":        nil,
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		name, _ := strings.CutPrefix(p.ImportPath, "ingero/")
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("%s is not in mayImport: say whom it may import", name)
		}
		for _, i := range p.Imports {
			if i == "database/sql" && name != "internal/store" && name != "internal/query" && !strings.HasPrefix(name, "test/") {
				t.Errorf("%s imports database/sql; only store and query do", name)
			}
			ours, is := strings.CutPrefix(i, "ingero/")
			if is && allowed != nil && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s; it may import %v", name, ours, allowed)
			}
		}
	}
}

// Budgets: a file or function over the budget is listed, over twice the
// budget it fails unless excused with a reason.
const (
	fileLines = 400
	funcLines = 60
	bpfLines  = 200
)

var excused = map[string]string{}

func sources(t *testing.T, ext ...string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (name == ".git" || name == "testdata" || name == "node_modules" || name == "prebuilt") {
			return filepath.SkipDir
		}
		if slices.Contains(ext, filepath.Ext(name)) && !strings.Contains(name, "_bpfel") && !strings.HasSuffix(name, "_test.go") {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func over(t *testing.T, what string, lines, budget int) {
	t.Helper()
	switch reason := excused[what]; {
	case lines <= budget:
	case reason != "":
		t.Logf("%s: %d lines, budget %d: %s", what, lines, budget, reason)
	case lines > 2*budget:
		t.Errorf("%s: %d lines, more than twice the budget of %d", what, lines, budget)
	default:
		t.Logf("%s: %d lines, budget %d", what, lines, budget)
	}
}

func TestBudgets(t *testing.T) {
	for _, path := range sources(t, ".go", ".c", ".h", ".ts", ".tsx") {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for s := bufio.NewScanner(f); s.Scan(); {
			n++
		}
		f.Close()
		name, _ := filepath.Rel(root, path)
		budget := fileLines
		if strings.HasPrefix(name, "bpf/") {
			budget = bpfLines
		}
		over(t, name, n, budget)
		if filepath.Ext(path) == ".go" {
			functions(t, path, name)
		}
	}
}

func functions(t *testing.T, path, name string) {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok {
			lines := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line + 1
			over(t, name+" "+fn.Name.Name, lines, funcLines)
		}
	}
}
