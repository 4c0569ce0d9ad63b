package surface

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"ingero/internal/mcp"
)

// What is fetched from npm: clients and checks that nobody here wrote.
var packages = []string{"@modelcontextprotocol/inspector@2.12.0", "@modelcontextprotocol/conformance@0.1.16"}

const inspectorSetup = "node_modules/@modelcontextprotocol/inspector/scripts/install-clients.mjs"

// fetchNode installs them once, with a Node of their own, and returns the folder.
func fetchNode(t *testing.T) string {
	t.Helper()
	if os.Getenv("INGERO_TEST_MCP") == "" {
		t.Skip("needs npm and its registry: make test-mcp")
	}
	dir := filepath.Join(filepath.Dir(program), "node")
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	arch := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	args := append([]string{"install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", dir, "node-linux-" + arch + "@24"}, packages...)
	if out, err := exec.Command("npm", args...).CombinedOutput(); err != nil {
		t.Fatalf("npm: %v\n%s", err, out)
	}
	if out, err := node(dir, inspectorSetup).CombinedOutput(); err != nil {
		t.Fatalf("set up the inspector: %v\n%s", err, out)
	}
	return dir
}

// node prepares a command of the Node that was fetched.
func node(dir string, args ...string) *exec.Cmd {
	bin, _ := filepath.Glob(filepath.Join(dir, "node_modules/node-linux-*/bin/node"))
	cmd := exec.Command(bin[0], args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "NODE_TLS_REJECT_UNAUTHORIZED=0", "NODE_NO_WARNINGS=1", "PATH="+filepath.Dir(bin[0])+":"+os.Getenv("PATH"))
	return cmd
}

// The inspector of the protocol lists and calls every tool, over stdio and over
// HTTPS. A mistake exits with another status.
func TestInspector(t *testing.T) {
	dir, db := fetchNode(t), record(t)
	at := serve(t, nil, "mcp", "--http", "127.0.0.1:0", "-d", db)
	for way, target := range map[string][]string{"stdio": {program, "mcp", "-d", db}, "https": {at + mcp.Path, "--transport", "http"}} {
		inspect := func(args ...string) ([]byte, error) {
			return node(dir, slices.Concat([]string{"node_modules/.bin/mcp-inspector", "--cli"}, target, args)...).Output()
		}
		out, err := inspect("--method", "tools/list")
		var list struct{ Tools []struct{ Name string } }
		if err != nil || json.Unmarshal(out, &list) != nil || len(list.Tools) < 20 {
			t.Fatalf("%s: %v %.500s", way, err, out)
		}
		for _, tool := range list.Tools {
			args := []string{"--method", "tools/call", "--tool-name", tool.Name}
			switch tool.Name {
			case "run_sql":
				args = append(args, "--tool-arg", "sql=SELECT count(*) FROM events")
			case "query_fleet":
				args = append(args, "--tool-arg", "action=chains", "--tool-arg", `nodes=["127.0.0.1:1"]`)
			case "run_demo":
				if os.Geteuid() != 0 {
					continue
				}
				args = append(args, "--tool-arg", "seconds=3")
			}
			out, err := inspect(args...)
			var r struct{ StructuredContent map[string]any }
			if err != nil || json.Unmarshal(out, &r) != nil || r.StructuredContent == nil {
				t.Errorf("%s: %s: %v %.500s", way, tool.Name, err, out)
			}
			t.Logf("%s: %s: %d bytes", way, tool.Name, len(out))
		}
		if out, err := inspect("--method", "tools/call", "--tool-name", "get_events", "--tool-arg", "since=soon"); err == nil || !strings.Contains(string(out), "cannot read the duration") {
			t.Errorf("%s: %v %s", way, err, out)
		}
		for _, method := range []string{"prompts/list", "resources/list", "resources/templates/list"} {
			if out, err := inspect("--method", method); err != nil {
				t.Errorf("%s: %s: %v %s", way, method, err, out)
			}
		}
	}
}

// applies are the scenarios of the published conformance suite that do not ask
// for the tools, prompts and resources of the suite's own server. docs/mcp.md
// says of each of the others why it does not apply.
var applies = []string{"server-initialize", "logging-set-level", "ping", "completion-complete", "tools-list", "resources-list", "prompts-list",
	"server-sse-multiple-streams", "dns-rebinding-protection"}

var scenario = regexp.MustCompile(`(?m)^([✓✗]) ([a-z0-9-]+): (\d+) passed, (\d+) failed`)

func TestConformance(t *testing.T) {
	dir := fetchNode(t)
	at := serve(t, nil, "mcp", "--http", "127.0.0.1:0", "-d", record(t))
	out, _ := node(dir, "node_modules/.bin/conformance", "server", "--url", at+mcp.Path).CombinedOutput() // fails for those that do not apply
	passed := map[string]bool{}
	for _, m := range scenario.FindAllStringSubmatch(string(out), -1) {
		passed[m[2]] = m[1] == "✓"
	}
	page, err := os.ReadFile("../../docs/mcp.md")
	if err != nil {
		t.Fatal(err)
	}
	if len(passed) < len(applies) {
		t.Fatalf("%s", out)
	}
	for name, ok := range passed {
		if want := slices.Contains(applies, name); ok != want {
			t.Errorf("%s: passed %v, want %v", name, ok, want)
		}
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/mcp.md says nothing of %s", name)
		}
	}
}
