package mcp

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/jsonschema-go/jsonschema"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"ingero/internal/hostile"
	"ingero/internal/query"
)

// clients connects an official client in both ways.
func clients(t *testing.T, o Options, name string) map[string]*sdk.ClientSession {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	go Stdio(t.Context(), o, inR, outW)
	server := httptest.NewServer(Handler(o))
	t.Cleanup(server.Close)
	all := map[string]*sdk.ClientSession{}
	for way, transport := range map[string]sdk.Transport{
		"stdio": &sdk.IOTransport{Reader: outR, Writer: inW},
		"http":  &sdk.StreamableClientTransport{Endpoint: server.URL + Path, DisableStandaloneSSE: true},
	} {
		c, err := sdk.NewClient(&sdk.Implementation{Name: name, Version: "1"}, nil).Connect(t.Context(), transport, nil)
		if err != nil {
			t.Fatal(way, ": ", err)
		}
		t.Cleanup(func() { c.Close() })
		all[way] = c
	}
	return all
}

func call(t *testing.T, c *sdk.ClientSession, tool string, args any) (*sdk.CallToolResult, string) {
	t.Helper()
	r, err := c.CallTool(t.Context(), &sdk.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatalf("%s %v: %v", tool, args, err)
	}
	text := ""
	for _, x := range r.Content {
		text += x.(*sdk.TextContent).Text
	}
	return r, text
}

// Every row of the table is a tool whose answers have the form that it says,
// with the hints and the text that an assistant needs, and nothing in them that
// a reader does not see.
func TestTools(t *testing.T) {
	for way, c := range clients(t, open(t), "test") {
		list, err := c.ListTools(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		tools := map[string]*sdk.Tool{}
		for _, x := range list.Tools {
			tools[x.Name] = x
		}
		for i := range query.Questions {
			q := &query.Questions[i]
			tool := tools[q.Tool]
			if tool == nil || tool.Description != q.Doc || !tool.Annotations.ReadOnlyHint || *tool.Annotations.DestructiveHint || *tool.Annotations.OpenWorldHint || !tool.Annotations.IdempotentHint {
				t.Fatalf("%s: %s: %+v", way, q.Tool, tool)
			}
			args := map[string]any{}
			if q.Name == "sql" {
				args["sql"] = "SELECT name, comm, pid FROM processes, sources"
			}
			r, text := call(t, c, q.Tool, args)
			if r.IsError || !strings.HasPrefix(text, untrusted) {
				t.Errorf("%s: %s: %s", way, q.Tool, text)
			}
			matches(t, tool, r)
			plain, err := json.Marshal(r.StructuredContent)
			if err != nil || unseen(text) || unseen(string(plain)) || unseenIn(r.StructuredContent) {
				t.Errorf("%s: %s: something in it cannot be seen: %q", way, q.Tool, text)
			}
			args["tsc"] = false
			r, text = call(t, c, q.Tool, args)
			first := r.Content[0].(*sdk.TextContent).Text
			if !json.Valid([]byte(first)) || unseen(text) {
				t.Errorf("%s: %s: %s", way, q.Tool, text)
			}
		}
	}
}

func matches(t *testing.T, tool *sdk.Tool, r *sdk.CallToolResult) {
	t.Helper()
	b, err := json.Marshal(tool.OutputSchema)
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	resolved, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(tool.Name, ": ", err)
	}
	if err := resolved.Validate(r.StructuredContent); err != nil {
		t.Errorf("%s: %v", tool.Name, err)
	}
}

func unseen(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) })
}

func unseenIn(v any) bool {
	switch x := v.(type) {
	case string:
		return unseen(x)
	case []any:
		return slices.ContainsFunc(x, unseenIn)
	case map[string]any:
		for k, v := range x {
			if unseen(k) || unseenIn(v) {
				return true
			}
		}
	}
	return false
}

// What strangers called things is harmless in resources as well.
func TestResources(t *testing.T) {
	for way, c := range clients(t, open(t), "test") {
		list, err := c.ListResources(t.Context(), nil)
		if err != nil || len(list.Resources) != 4 {
			t.Fatalf("%s: %v, %+v", way, err, list)
		}
		for _, r := range list.Resources {
			if unseen(r.Name+r.Description+r.URI) || strings.Contains(r.Description, "\n") {
				t.Errorf("%s: %+v", way, r)
			}
			got, err := c.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: r.URI})
			if err != nil || len(got.Contents) != 1 || !json.Valid([]byte(got.Contents[0].Text)) {
				t.Fatalf("%s: %s: %v, %+v", way, r.URI, err, got)
			}
			var v any
			if json.Unmarshal([]byte(got.Contents[0].Text), &v) != nil || unseenIn(v) {
				t.Errorf("%s: %s: %s", way, r.URI, got.Contents[0].Text)
			}
		}
	}
}

// A client that drops the text for structured content gets none, and no schema
// that would promise it; the server's own word goes before.
func TestStructured(t *testing.T) {
	for _, x := range []struct {
		how    Structured
		client string
		want   bool
	}{{Auto, "test", true}, {Auto, "claude-code", false}, {Always, "claude-code", true}, {Never, "test", false}} {
		o := open(t)
		o.Structured = x.how
		c := clients(t, o, x.client)["stdio"]
		list, err := c.ListTools(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		r, _ := call(t, c, "get_trace_stats", nil)
		if (r.StructuredContent != nil) != x.want || (list.Tools[0].OutputSchema != nil) != x.want {
			t.Errorf("%+v: %v, %v", x, r.StructuredContent, list.Tools[0].OutputSchema)
		}
	}
	// Without sessions the name is not said with every call.
	server := httptest.NewServer(Handler(open(t)))
	defer server.Close()
	for header, want := range map[string]bool{"": true, takesStructuredHeader: false} {
		r, err := http.NewRequestWithContext(t.Context(), "POST", server.URL+Path, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_time"}}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
		if header != "" {
			r.Header.Set(header, "x")
		}
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(got.Body)
		got.Body.Close()
		if err != nil || strings.Contains(string(b), "structuredContent") != want {
			t.Errorf("%q: %v %s", header, err, b)
		}
	}
}

// What harms is refused in words, over both transports, and the server goes on.
func TestAttacks(t *testing.T) {
	statements := maps.Clone(hostile.SQL)
	statements["ask for less"] = []string{ // too much for an assistant
		"SELECT hex(zeroblob(400000)) UNION ALL SELECT hex(zeroblob(400000))",
		"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT printf('%.*c', 900000, 'x') || x FROM c",
		"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT printf('%.*c', 20000, x) FROM c",
	}
	hasty := clients(t, openFor(t, 300*time.Millisecond), "test")
	for way, patient := range clients(t, open(t), "test") {
		for want, all := range statements {
			c := patient
			if want == hostile.Endless {
				c = hasty[way]
			}
			for _, sql := range all {
				r, text := call(t, c, "run_sql", map[string]any{"sql": sql, "limit": 100_000})
				if !r.IsError && len(text) > 100_000 || r.IsError && !strings.Contains(text, want) || !r.IsError && want != "ask for less" {
					t.Errorf("%s: %s: %v %.300s", way, sql, r.IsError, text)
				}
				alive(t, c)
			}
		}
		// Many rows: what comes is cut, and says so.
		r, text := call(t, patient, "run_sql", map[string]any{"sql": "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x FROM c", "limit": 1 << 30})
		if r.IsError || len(text) > 70_000 || !strings.Contains(text, "truncated=") {
			t.Errorf("%s: %d bytes %.300s", way, len(text), text)
		}
		alive(t, patient)
	}
}

func alive(t *testing.T, c *sdk.ClientSession) {
	t.Helper()
	if r, text := call(t, c, "get_overview", map[string]any{"since": "20s"}); r.IsError || !strings.Contains(text, "event_count=20") {
		t.Fatal(text)
	}
}

// A client that gives up ends its question.
func TestCancel(t *testing.T) {
	begun, ended := make(chan bool), make(chan error, 1)
	o := open(t)
	o.Tools = []Tool{NewTool("wait", "Wait.", func(ctx context.Context, _ struct{}) (*struct{}, error) {
		begun <- true
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	})}
	for way, c := range clients(t, o, "test") {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan bool)
		go func() {
			c.CallTool(ctx, &sdk.CallToolParams{Name: "wait"})
			close(done)
		}()
		<-begun
		cancel()
		<-done
		if err := <-ended; err != context.Canceled {
			t.Errorf("%s: %v", way, err)
		}
		alive(t, c)
	}
}
