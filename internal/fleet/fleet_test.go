package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// node is a dashboard whose clock is off.
type node struct {
	off    time.Duration
	token  string
	answer string // to what is not the time
	hang   chan bool

	asked []string
	seen  []string // tokens
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.seen = append(n.seen, r.Header.Get("Authorization"))
	if n.token != "" && r.Header.Get("Authorization") != "Bearer "+n.token {
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"error":"a token is needed"}`)
		return
	}
	if r.URL.Path == "/api/v1/time" {
		fmt.Fprintf(w, `{"time":"2026-01-01T00:00:00Z","unix_ns":%d}`, time.Now().Add(n.off).UnixNano())
		return
	}
	if n.hang != nil {
		<-n.hang
		return
	}
	body, _ := io.ReadAll(r.Body)
	n.asked = append(n.asked, r.Method+" "+r.URL.RequestURI()+" "+string(body))
	io.WriteString(w, n.answer)
}

// start serves a node over plain HTTP, and returns host:port.
func start(t *testing.T, n *node) string {
	t.Helper()
	s := httptest.NewServer(n)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func ask(t *testing.T, o Options, nodes []string, p Params) *Answer {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.Do(t.Context(), nodes, p)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

const table = `{"columns":["node","n"],"rows":[["gpu",9007199254740993],["gpu",null]]}`

// Rows of all nodes come together, each with its node; who does not answer is
// a warning.
func TestSQL(t *testing.T) {
	a, b, other := &node{answer: table}, &node{answer: table}, &node{answer: `{"columns":["m"],"rows":[[1]]}`}
	hang := &node{hang: make(chan bool)}
	nodes := []string{start(t, a), "http://" + start(t, b), start(t, other), "127.0.0.1:1", start(t, hang), start(t, &node{answer: "<html>"})}
	t.Cleanup(func() { close(hang.hang) })
	begin := time.Now()
	got := ask(t, Options{Timeout: time.Second, Skew: time.Minute}, nodes, Params{Action: "sql", SQL: "SELECT 1"})
	if took := time.Since(begin); took > 10*time.Second {
		t.Error("it took ", took)
	}
	text, err := json.Marshal(got.Table)
	want := fmt.Sprintf(`{"columns":["node","node","n"],"rows":[[%q,"gpu",9007199254740993],[%[1]q,"gpu",null],[%q,"gpu",9007199254740993],[%[2]q,"gpu",null]]}`, nodes[0], nodes[1])
	if err != nil || string(text) != want {
		t.Errorf("%v\n%s\n%s", err, text, want)
	}
	for i, ok := range []bool{true, true, true, false, false, false} {
		if got.Nodes[i].OK != ok {
			t.Errorf("%+v", got.Nodes[i])
		}
	}
	all := strings.Join(got.Warnings, "\n")
	for _, want := range []string{"127.0.0.1:1 did not answer: ", "connection refused", nodes[4] + " did not answer: it did not answer in time", "its answer cannot be read", nodes[2] + " has other columns"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in:\n%s", want, all)
		}
	}
	if len(a.asked) != 1 || a.asked[0] != `POST /api/v1/query {"sql":"SELECT 1","limit":100}` {
		t.Errorf("%q", a.asked)
	}
}

// The most harmful finding is first, whichever node told it.
func TestChains(t *testing.T) {
	chain := func(severity string, lost int) string {
		return fmt.Sprintf(`{"window":{},"chains":[{"id":"%s-%d","severity":"%[1]s","impact":{"lost_ns":%d}}],"more":1}`, severity, lost, lost)
	}
	a, b, c := &node{answer: chain("LOW", 9)}, &node{answer: chain("HIGH", 1)}, &node{answer: chain("HIGH", 2)}
	nodes := []string{start(t, a), start(t, b), start(t, c)}
	got := ask(t, Options{}, nodes, Params{Action: "chains", Since: "1h", PID: "7", Limit: 2})
	if len(got.Chains) != 2 || got.Chains[0].ID != "HIGH-2" || got.Chains[0].From != nodes[2] || got.Chains[1].ID != "HIGH-1" || got.More != 4 || len(got.Windows) != 3 {
		t.Errorf("%+v", got)
	}
	if len(a.asked) != 1 || a.asked[0] != "GET /api/v1/chains?distinct=true&pid=7&since=1h " {
		t.Errorf("%q", a.asked)
	}
}

func TestClocks(t *testing.T) {
	for _, x := range []struct {
		off   []time.Duration
		limit time.Duration
		want  string
	}{
		{[]time.Duration{0, 0}, 5 * time.Second, ""},
		{[]time.Duration{time.Hour, time.Hour}, 5 * time.Second, ""}, // of each other
		{[]time.Duration{0, time.Minute, 0}, 5 * time.Second, "are "},
		{[]time.Duration{-time.Hour}, 5 * time.Second, "and of this machine are "},
		{[]time.Duration{0, 500 * time.Millisecond}, 0, "10ms allowed"},
	} {
		var nodes []string
		for _, off := range x.off {
			nodes = append(nodes, start(t, &node{off: off, answer: `{}`}))
		}
		got := ask(t, Options{Skew: x.limit}, nodes, Params{Action: "overview"})
		if all := strings.Join(got.Warnings, "\n"); x.want == "" && all != "" || !strings.Contains(all, x.want) {
			t.Errorf("%v: %q", x.off, all)
		}
		if len(got.Overviews) != len(nodes) {
			t.Errorf("%+v", got.Overviews)
		}
	}
}

// The token goes to nodes that are trusted, by their name, and not in the clear
// where nobody has said so.
func TestToken(t *testing.T) {
	const token = "0123456789abcdef"
	n := &node{token: token, answer: `{"window":{},"ops":[]}`}
	at := start(t, n)
	for _, x := range []struct {
		node    string
		trusted []string
		want    string // error; empty: answered
	}{
		{"http://" + at, []string{"http://" + at}, ""},
		{"http://" + at, nil, "sent only to the nodes"},
		{"http://" + at, []string{at}, "sent only to the nodes"},
		{at, []string{at}, "anybody on the way can read the token"},
	} {
		n.seen = nil
		got := ask(t, Options{Token: token, Trusted: x.trusted}, []string{x.node}, Params{Action: "ops"})
		if e := got.Nodes[0].Error; (e == "") != (x.want == "") || !strings.Contains(e, x.want) {
			t.Errorf("%+v: %q", x, e)
		}
		if sent := strings.Contains(strings.Join(n.seen, ""), token); sent != (x.want == "") {
			t.Errorf("%+v: the token was sent: %v", x, sent)
		}
	}
}

// A certificate of the node's own is taken if its fingerprint is named, and
// only then. Nobody is followed to another address.
func TestTLS(t *testing.T) {
	s := httptest.NewTLSServer(&node{answer: `{"window":{},"ops":[]}`})
	t.Cleanup(s.Close)
	at := strings.TrimPrefix(s.URL, "https://")
	sum := sha256.Sum256(s.Certificate().Raw)
	finger := hex.EncodeToString(sum[:])
	elsewhere := httptest.NewServer(http.RedirectHandler("http://evil.example/", http.StatusFound))
	t.Cleanup(elsewhere.Close)
	for name, want := range map[string]string{
		at + "#" + finger:                        "",
		"https://" + at + "#sha256:" + finger:    "",
		at:                                       "its certificate is not known",
		at + "#" + strings.Repeat("00", 32):      "another fingerprint",
		elsewhere.URL:                            "sends us to another address",
		strings.TrimPrefix(at, "127.0.0.1") + "": "", // refused before it is asked
	} {
		c, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Do(t.Context(), []string{name}, Params{Action: "ops"})
		if strings.HasPrefix(name, ":") {
			if err == nil {
				t.Errorf("%s: no error", name)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if e := got.Nodes[0].Error; (e == "") != (want == "") || !strings.Contains(e, want) {
			t.Errorf("%s: %q", name, e)
		}
	}
}

func TestMistakes(t *testing.T) {
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		nodes []string
		p     Params
	}{
		{nil, Params{Action: "ops"}},
		{[]string{"a:1"}, Params{Action: "nothing"}},
		{[]string{"a:1"}, Params{Action: "sql"}},
		{[]string{"a:1"}, Params{Action: "ops", SQL: "SELECT 1"}},
		{[]string{"a:1"}, Params{Action: "sql", SQL: "SELECT 1", Since: "5m"}},
		{[]string{"a"}, Params{Action: "ops"}},
		{[]string{"ftp://a:1"}, Params{Action: "ops"}},
		{[]string{"a:1/path"}, Params{Action: "ops"}},
		{[]string{"user@a:1"}, Params{Action: "ops"}},
		{[]string{"a:1#12"}, Params{Action: "ops"}},
	} {
		if a, err := c.Do(t.Context(), x.nodes, x.p); err == nil {
			t.Errorf("%+v: %+v", x, a)
		}
	}
	if _, err := New(Options{CA: "/nothing"}); err == nil {
		t.Error("no error for a file that is not there")
	}
}
