// Package surface runs the built program and holds its surfaces against each
// other: what the command line, HTTP and MCP say to the same question.
package surface

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"ingero/internal/mcp"
	"ingero/internal/query"
	"ingero/internal/web"
)

var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "ingero-surface-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // one test is another user
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	program = filepath.Join(dir, "ingero")
	build := exec.Command("go", "build", "-o", program, "ingero/cmd/ingero")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	code := 1
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
	} else {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// ingero prepares a command with nothing of the user's in its environment.
func ingero(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	// Not of t.Context: that ends before the command is told to end well.
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"HOME=" + t.TempDir(), "TZ=UTC", "PATH=" + os.Getenv("PATH")}
	return cmd
}

var listening = regexp.MustCompile(`listening on (https?://[^/\s]+)`)

// serve starts a command that listens and returns where. It ends with the test,
// and must end well.
func serve(t *testing.T, env []string, args ...string) string {
	t.Helper()
	cmd := ingero(t, args...)
	cmd.Env = append(cmd.Env, env...)
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	found, said := make(chan string, 1), make(chan string, 1)
	go func() {
		all := ""
		for s := bufio.NewScanner(errs); s.Scan(); all += s.Text() + "\n" {
			if m := listening.FindStringSubmatch(s.Text()); m != nil {
				found <- m[1]
			}
		}
		said <- all
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		all := <-said
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v\n%s", args, err, all)
		}
	})
	select {
	case at := <-found:
		return at
	case <-time.After(30 * time.Second):
		t.Fatal(args, ": it does not listen")
	}
	return ""
}

// client is an HTTP client that takes any certificate, of TLS 1.3 only.
var client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}}}

// connect connects an official client: at an address, or to a command.
func connect(t *testing.T, address string, args ...string) *sdk.ClientSession {
	t.Helper()
	var transport sdk.Transport = &sdk.StreamableClientTransport{Endpoint: address + mcp.Path, HTTPClient: client, DisableStandaloneSSE: true}
	if address == "" {
		transport = &sdk.CommandTransport{Command: ingero(t, args...)}
	}
	c, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil).Connect(context.Background(), transport, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// params are the arguments that a question is asked with.
func params(q *query.Question) map[string]any {
	all := map[string]any{}
	for _, p := range q.Params() {
		switch p.Name {
		case "from":
			all["from"] = "2026-01-01T00:00:00Z"
		case "to":
			all["to"] = "2026-01-01T00:00:40Z"
		case "limit":
			all["limit"] = 7
		case "points":
			all["points"] = 5
		case "per_process", "distinct":
			all[p.Name] = true
		case "offset":
			all["offset"] = 1
		case "sql":
			all["sql"] = "SELECT op, duration, 9007199254740993 AS exact, 1.5, NULL, x'00ff' FROM events LIMIT 9"
		}
	}
	return all
}

// What the machine says of itself from one moment to the next may differ.
var numbers = regexp.MustCompile(`[0-9]+(\.[0-9]+)?`)

func decoded(t *testing.T, name string, b []byte) (v any) {
	t.Helper()
	if name == "check" || name == "time" {
		b = numbers.ReplaceAll(b, []byte("0"))
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v: %.300s", name, err, b)
	}
	return v
}

// The same question has the same answer, whoever asks and however.
func TestSame(t *testing.T) {
	db := record(t)
	dashboard := serve(t, nil, "dashboard", "--addr", "127.0.0.1:0", "-d", db)
	ways := map[string]*sdk.ClientSession{
		"stdio": connect(t, "", "mcp", "-d", db),
		"https": connect(t, serve(t, nil, "mcp", "--http", "127.0.0.1:0", "-d", db)),
	}
	for i := range query.Questions {
		q := &query.Questions[i]
		t.Run(q.Name, func(t *testing.T) {
			p := params(q)
			args, values := []string{"query", q.Name, "--json", "-d", db}, url.Values{}
			for k, v := range p {
				args = append(args, fmt.Sprintf("--%s=%v", strings.ReplaceAll(k, "_", "-"), v))
				values.Set(k, fmt.Sprint(v))
			}
			out, err := ingero(t, args...).Output()
			if err != nil {
				t.Fatal(err)
			}
			want := decoded(t, q.Name, out)
			if d := cmp.Diff(want, decoded(t, q.Name, overHTTP(t, dashboard, q.Name, p, values))); d != "" {
				t.Error("HTTP: ", d)
			}
			for way, c := range ways {
				r, err := c.CallTool(t.Context(), &sdk.CallToolParams{Name: q.Tool, Arguments: p})
				if err != nil || r.IsError {
					t.Fatal(way, ": ", err, r)
				}
				plain := with(p, "tsc", false)
				verbose, err := c.CallTool(t.Context(), &sdk.CallToolParams{Name: q.Tool, Arguments: plain})
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(want, decoded(t, q.Name, []byte(verbose.Content[0].(*sdk.TextContent).Text))); d != "" {
					t.Error(way, ", text: ", d)
				}
				structured, err := json.Marshal(r.StructuredContent) // of float64: numbers beyond 2^53 are in the text
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(rounded(t, q.Name, out), rounded(t, q.Name, structured)); d != "" {
					t.Error(way, ", structured: ", d)
				}
			}
		})
	}
}

func with(p map[string]any, key string, value any) map[string]any {
	all := map[string]any{key: value}
	for k, v := range p {
		all[k] = v
	}
	return all
}

func rounded(t *testing.T, name string, b []byte) (v any) {
	t.Helper()
	if name == "check" || name == "time" {
		b = numbers.ReplaceAll(b, []byte("0"))
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func overHTTP(t *testing.T, at, name string, p map[string]any, values url.Values) []byte {
	t.Helper()
	method, address, body := "GET", at+web.API+name+"?"+values.Encode(), []byte(nil)
	if name == "sql" {
		method, address = "POST", at+web.API+"query"
		body, _ = json.Marshal(p)
	}
	return fetch(t, method, address, body, nil)
}

func fetch(t *testing.T, method, address string, body []byte, header map[string]string) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	got, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	b, err := io.ReadAll(got.Body)
	if err != nil || got.StatusCode != 200 {
		t.Fatalf("%s %s: %d %v %.300s", method, address, got.StatusCode, err, b)
	}
	return b
}

// The examples of the manual: a call needs no session, and the answer is JSON.
func TestCurl(t *testing.T) {
	at := serve(t, nil, "mcp", "--http", "127.0.0.1:0", "-d", record(t))
	for _, x := range []struct{ tool, args, want string }{
		{"get_check", "{}", "checks["}, {"get_causal_chains", "{}", "chains["}, {"get_trace_stats", `{"tsc":false}`, `"ops":[`},
	} {
		b := fetch(t, "POST", at+mcp.Path, []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+x.tool+`","arguments":`+x.args+`}}`),
			map[string]string{"Content-Type": "application/json", "Accept": "application/json, text/event-stream"})
		var m struct{ Result sdk.CallToolResult }
		if err := json.Unmarshal(b, &m); err != nil || len(m.Result.Content) == 0 || !strings.Contains(m.Result.Content[0].(*sdk.TextContent).Text, x.want) {
			t.Errorf("%s: %v %.300s", x.tool, err, b)
		}
	}
	old := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}}}
	if _, err := old.Get(at + mcp.Path); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.2: %v", err)
	}
	// A hundred megabytes are not read to the end, and the next one is answered.
	r, _ := http.NewRequestWithContext(t.Context(), "POST", at+mcp.Path, io.LimitReader(endless{}, 100<<20))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if got, err := client.Do(r); err == nil {
		if got.StatusCode < 400 {
			t.Error(got.Status)
		}
		got.Body.Close()
	}
	for path, want := range map[string]int{"/": 404, "/mcp/../../../etc/passwd": 404, "/mcp": 405, "/mcp/x": 404} {
		got, err := client.Get(at + path)
		if err != nil || got.StatusCode != want {
			t.Fatalf("%s: %v %v", path, got, err)
		}
		got.Body.Close()
	}
	for name, header := range map[string]map[string]string{"Host": {"Host": "evil.example"}, "Origin": {"Origin": "https://evil.example"}} {
		r, _ := http.NewRequestWithContext(context.Background(), "POST", at+mcp.Path, strings.NewReader("{}"))
		for k, v := range header {
			r.Header.Set(k, v)
			if k == "Host" {
				r.Host = v
			}
		}
		if got, err := client.Do(r); err != nil || got.StatusCode != 403 {
			t.Errorf("foreign %s: %v %v", name, got, err)
		} else {
			got.Body.Close()
		}
	}
}

// endless reads as white space.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

// Whoever has no token is not answered.
func TestToken(t *testing.T) {
	at := serve(t, []string{"INGERO_TOKEN=0123456789abcdef"}, "mcp", "--http", "127.0.0.1:0", "-d", record(t))
	for token, want := range map[string]int{"": 401, "Bearer wrong": 401, "Bearer 0123456789abcdef": 200} {
		r, _ := http.NewRequestWithContext(t.Context(), "POST", at+mcp.Path, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
		r.Header.Set("Authorization", token)
		got, err := client.Do(r)
		if err != nil || got.StatusCode != want {
			t.Fatalf("%q: %v %v", token, got, err)
		}
		got.Body.Close()
	}
}

// Questions that are piped in are answered, though the pipe ends with them.
func TestPiped(t *testing.T) {
	cmd := ingero(t, "mcp", "-d", record(t))
	cmd.Stdin = strings.NewReader(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}
{"jsonrpc":"2.0","method":"notifications/initialized"}
{"jsonrpc":"2.0","id":1,"method":"tools/list"}
{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"explain","arguments":{}}}`)
	out, err := cmd.Output()
	if err != nil || bytes.Count(out, []byte("\n")) != 3 || !bytes.Contains(out, []byte(`"id":2,`)) {
		t.Errorf("%v %.2000s", err, out)
	}
}

// Standard output has nothing but messages; the server ends with its client,
// and at once when it is told to, also in the middle of a question.
func TestStdio(t *testing.T) {
	const endless = `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"run_sql","arguments":{"sql":"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c"}}}`
	for _, x := range []struct {
		name, last string
		how        func(*exec.Cmd, io.Closer)
	}{
		{"EOF", "", func(_ *exec.Cmd, in io.Closer) { in.Close() }},
		{"SIGINT", "", func(c *exec.Cmd, _ io.Closer) { c.Process.Signal(os.Interrupt) }},
		{"EOF in a question", endless, func(_ *exec.Cmd, in io.Closer) { in.Close() }},
		{"SIGTERM in a question", endless, func(c *exec.Cmd, _ io.Closer) { c.Process.Signal(syscall.SIGTERM) }},
	} {
		t.Run(x.name, func(t *testing.T) {
			cmd := ingero(t, "mcp", "-d", record(t))
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			var errs bytes.Buffer
			cmd.Stderr = &errs
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			lines.Buffer(nil, 1<<20)
			for _, say := range []string{
				`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`,
				"not a message", strings.Repeat("x", 3<<20), `{"jsonrpc":"2.0","id":1,"method":"ping"}`,
			} {
				if _, err := io.WriteString(in, say+"\n"); err != nil {
					t.Fatal(err)
				}
				if !lines.Scan() || !json.Valid(lines.Bytes()) {
					t.Fatalf("%.40s: %q", say, lines.Text())
				}
			}
			if x.last != "" {
				io.WriteString(in, x.last+"\n")
			}
			begin := time.Now()
			x.how(cmd, in)
			io.Copy(io.Discard, out)
			if err := cmd.Wait(); err != nil || time.Since(begin) > 10*time.Second {
				t.Errorf("after %v: %v\n%s", time.Since(begin), err, errs.String())
			}
		})
	}
}
