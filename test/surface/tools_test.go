package surface

import (
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"ingero/internal/bpftest"
	"ingero/internal/query"
)

// use calls a tool and checks what it answers against what it says it does.
func use(t *testing.T, c *sdk.ClientSession, tool string, args map[string]any) (*sdk.CallToolResult, string) {
	t.Helper()
	list, err := c.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.CallTool(t.Context(), &sdk.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range list.Tools {
		if x.Name != tool || r.IsError {
			continue
		}
		b, _ := json.Marshal(x.OutputSchema)
		var s jsonschema.Schema
		if err := json.Unmarshal(b, &s); err != nil {
			t.Fatal(err)
		}
		resolved, err := s.Resolve(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := resolved.Validate(r.StructuredContent); err != nil {
			t.Errorf("%s: %v", tool, err)
		}
	}
	return r, r.Content[0].(*sdk.TextContent).Text
}

// The tools of the manual are all there, and no others than those of the table
// and three more.
func TestToolNames(t *testing.T) {
	c := connect(t, "", "mcp", "-d", record(t))
	list, err := c.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, x := range list.Tools {
		have[x.Name] = true
	}
	for _, name := range []string{"get_check", "get_trace_stats", "get_causal_chains", "get_stacks", "graph_lifecycle", "graph_frequency", "run_demo",
		"get_test_report", "run_sql", "query_fleet", "get_ledger", "get_thieves"} {
		if !have[name] {
			t.Error(name, " is missing")
		}
	}
	if len(have) != len(query.Questions)+3 {
		t.Errorf("%d tools: %v", len(have), have)
	}
	if _, text := use(t, c, "get_test_report", nil); !strings.Contains(text, "no integration test on a GPU") || !strings.Contains(text, "machine=") || !strings.Contains(text, "date=") {
		t.Error(text)
	}
}

// Two dashboards are asked at once; a third that is not there is a warning.
func TestFleet(t *testing.T) {
	db := record(t)
	nodes := []string{}
	for range 2 {
		nodes = append(nodes, strings.TrimPrefix(serve(t, nil, "dashboard", "--no-tls", "--addr", "127.0.0.1:0", "-d", db), "http://"))
	}
	c := connect(t, "", "mcp", "-d", db, "--nodes", strings.Join(nodes, ","))
	for action, want := range map[string]string{"chains": "chains[4]", "ops": "ops[", "overview": "overviews[2]"} {
		r, text := use(t, c, "query_fleet", map[string]any{"action": action, "since": "3650d"})
		if r.IsError || !strings.Contains(text, want) || !strings.Contains(text, "from="+nodes[0]) && !strings.Contains(text, nodes[0]) {
			t.Errorf("%s: %s", action, text)
		}
	}
	r, text := use(t, c, "query_fleet", map[string]any{"action": "sql", "sql": "SELECT count(*) AS n FROM events", "nodes": append(nodes, "127.0.0.1:1")})
	if r.IsError || !strings.Contains(text, " "+nodes[0]+",200\n "+nodes[1]+",200\n") || !strings.Contains(text, "127.0.0.1:1 did not answer") {
		t.Error(text)
	}
	for _, args := range []map[string]any{{}, {"action": "nothing"}, {"action": "sql"}, {"action": "ops", "nodes": []string{"x"}}, {"action": "ops", "limit": -1}} {
		if r, text := use(t, c, "query_fleet", args); !r.IsError || !strings.Contains(text, "arguments of query_fleet") {
			t.Errorf("%v: %s", args, text)
		}
	}
}

// A scenario needs nothing. One with real probes says to who may not set them
// what to do.
func TestDemo(t *testing.T) {
	other := ingero(t, "mcp")
	if os.Geteuid() == 0 {
		other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	other.Env = append(other.Env, "HOME=/nowhere") // the last one counts
	c, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), &sdk.CommandTransport{Command: other}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if r, text := use(t, c, "run_demo", nil); r.IsError || !strings.Contains(text, "scenario=incident") || !strings.Contains(text, "logrotate") {
		t.Error(text)
	}
	if r, text := use(t, c, "run_demo", map[string]any{"scenario": "contention"}); r.IsError || !strings.Contains(text, "scenario=gpu-steal") || !strings.Contains(text, "embedding-svc") {
		t.Error(text)
	}
	if r, text := use(t, c, "run_demo", map[string]any{"live": true}); !r.IsError || !strings.Contains(text, "sudo ingero demo --live") {
		t.Error(text)
	}
	for _, args := range []map[string]any{{"scenario": "nothing"}, {"live": true, "seconds": 1000}} {
		if r, text := use(t, c, "run_demo", args); !r.IsError || !strings.Contains(text, "arguments of run_demo") {
			t.Errorf("%v: %s", args, text)
		}
	}
	if r, text := use(t, c, "get_overview", nil); !r.IsError || !strings.Contains(text, "does not exist") || !strings.Contains(text, "sudo ingero trace") {
		t.Error(text)
	}
	bpftest.NeedBPF(t)
	c = connect(t, "", "mcp")
	r, text := use(t, c, "run_demo", map[string]any{"live": true, "seconds": 3})
	if r.IsError || !strings.Contains(text, "the same as traced") || !strings.Contains(text, "cudaStreamSync") {
		t.Error(text)
	}
}
