package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"

	"ingero/internal/check"
	"ingero/internal/event"
	"ingero/internal/hostile"
	"ingero/internal/query"
	"ingero/internal/stats"
	"ingero/internal/store"
)

var base = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// open serves a small database, which the writer goes on with.
func open(t *testing.T) (*httptest.Server, *store.Writer, *query.Asked) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "w.db")
	w, err := store.Create(path, store.Options{Node: "n", Now: func() time.Time { return base.Add(10 * time.Second) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	w.Process(store.ProcessRow{Process: event.Process{PID: 7, Start: base.UnixNano(), Comm: hostile.Name, Rank: event.NoRank}})
	for s := range int64(10) {
		second(w, s)
	}
	w.Chain(store.Chain{ID: "n:x", Kind: "cpu_contention", Severity: "HIGH", PID: 7, Started: base.UnixNano(), Summary: hostile.Name, RootCause: hostile.Name})
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	r, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	a := &query.Asked{Data: r, Now: base.Add(10 * time.Second), SQLTime: time.Second,
		Check: func(context.Context) check.Report { return check.Report{Schema: check.Schema, Checks: []check.Row{}} }}
	s := httptest.NewServer(New(func() *query.Asked { return a }))
	t.Cleanup(s.Close)
	return s, w, a
}

func second(w *store.Writer, s int64) {
	at := base.UnixNano() + s*1e9
	launch, graph := event.MakeOp(event.CUDA, 3), event.MakeOp(event.Graph, 4)
	for _, op := range []event.Op{launch, graph} {
		w.Append([]event.Event{{Start: at, Dur: 5e6, PID: 7, TID: 7, Op: op, Handle: 0xa, Comm: hostile.Name, Rank: event.NoRank, Runnable: 1e6, Blocked: 1e6}})
		h := new(stats.Histogram)
		h.Add(5e6)
		w.Stats(at/1e9, []stats.Calls{{PID: 7, Start: base.UnixNano(), Op: op, Hist: h, Recorded: 1}})
	}
	l := stats.Ledger{PID: 7, TID: 7, Start: base.UnixNano(), Comm: hostile.Name, Place: launch}
	l.NS[event.Running], l.NS[event.Runnable] = 400e6, 600e6
	w.Books(at/1e9, []stats.Ledger{l}, []stats.Pair{{PID: 7, State: event.Runnable, OtherPID: 9, OtherComm: hostile.Name, NS: 600e6, Count: 1}})
	w.Drained(at/1e9, 1e9)
	w.Snapshot(event.Snapshot{Time: at, CPU: 50, PSICPU: -1, PSIMem: -1, PSIIO: -1, Cores: []float64{50}})
	w.GPU(event.GPUSample{Time: at, Util: 50, MemUsed: -1})
}

func get(t *testing.T, r *http.Request) (int, []byte) {
	t.Helper()
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	b, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(r.URL.Path, API) && got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s: %s", r.URL, got.Header.Get("Content-Type"))
	}
	return got.StatusCode, b
}

func request(t *testing.T, method, url, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type description struct {
	Paths map[string]map[string]struct {
		Parameters []struct{ Name string }
		Responses  map[string]struct {
			Content map[string]struct{ Schema *jsonschema.Schema }
		}
	}
}

// Every question has the answer that query gives, of the form that the served
// description says.
func TestAnswers(t *testing.T) {
	s, _, a := open(t)
	var d description
	_, b := get(t, request(t, "GET", s.URL+API+"openapi.json", ""))
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	for i := range query.Questions {
		q := &query.Questions[i]
		method, url, body, params := "GET", API+q.Name, "", q.New()
		if q.Name == "sql" {
			method, url, body = "POST", API+"query", `{"sql": "SELECT name, 9007199254740993, NULL, 1.5 FROM sources"}`
			if err := q.Decode(params, []byte(body)); err != nil {
				t.Fatal(err)
			}
		} else if len(q.Params()) > 0 {
			url += "?since=20s"
			if err := q.Set(params, "since", "20s"); err != nil {
				t.Fatal(err)
			}
		}
		status, got := get(t, request(t, method, s.URL+url, body))
		answer, err := q.Ask(t.Context(), a, params)
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		if status != 200 || !cmp.Equal(decode(t, got), decode(t, want)) {
			t.Errorf("%s: %d\n%s", q.Name, status, cmp.Diff(decode(t, want), decode(t, got)))
		}
		path, _, _ := strings.Cut(url, "?")
		said := d.Paths[path][strings.ToLower(method)]
		if method == "GET" && len(said.Parameters) != len(q.Params()) {
			t.Errorf("%s: parameters %v are described", q.Name, said.Parameters)
		}
		schema, err := said.Responses["200"].Content["application/json"].Schema.Resolve(nil)
		if err != nil {
			t.Fatal(q.Name, ": ", err)
		}
		if err := schema.Validate(decode(t, got)); err != nil {
			t.Errorf("%s: %v", q.Name, err)
		}
	}
	if len(d.Paths) != len(query.Questions)+2 { // SQL has two, and live
		t.Errorf("%d paths are described", len(d.Paths))
	}
}

func decode(t *testing.T, b []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return v
}

// What is wrong is refused in words, and the service goes on.
func TestAttacks(t *testing.T) {
	s, _, _ := open(t)
	for want, all := range hostile.SQL {
		for _, text := range all {
			body, err := json.Marshal(map[string]string{"sql": text})
			if err != nil {
				t.Fatal(err)
			}
			status, got := get(t, request(t, "POST", s.URL+API+"query", string(body)))
			if status != 400 || !strings.Contains(string(got), want) {
				t.Errorf("%s: %d %s", text, status, got)
			}
			alive(t, s)
		}
	}
	for _, text := range hostile.Huge {
		body, _ := json.Marshal(map[string]any{"sql": text, "limit": 1 << 30})
		status, got := get(t, request(t, "POST", s.URL+API+"query", string(body)))
		if status != 200 || len(got) > 10<<20 || !strings.Contains(string(got), `"truncated"`) {
			t.Errorf("%s: %d, %d bytes", text, status, len(got))
		}
	}
	for url, want := range map[string]int{
		API + "ops?since=soon":                      400,
		API + "ops?since=1h&since=2h":               400,
		API + "ops?pid=1%00":                        400,
		API + "ops?nothing=1":                       400,
		API + "events?limit=99999999999999":         200, // means: all that may be
		API + "events?limit=9999999999999999999999": 400,
		API + "../../../../etc/passwd":              404,
		"/../../../../etc/passwd":                   404,
		"/..%2f..%2f..%2fetc%2fpasswd":              404,
		"/static/../web.go":                         404,
		API + "nothing":                             404,
	} {
		r := request(t, "GET", s.URL+"/", "")
		r.URL.Opaque = "//" + r.URL.Host + url // as it is
		if status, got := get(t, r); status != want && !(want == 404 && status >= 300 && status < 500) || strings.Contains(string(got), "root:") {
			t.Errorf("%s: %d %.100s", url, status, got)
		}
	}
	for _, r := range []*http.Request{
		request(t, "GET", s.URL+API+"query", ""), request(t, "POST", s.URL+API+"ops", ""), request(t, "DELETE", s.URL+API+"chains", ""),
	} {
		if status, got := get(t, r); status != 404 && status != 405 {
			t.Errorf("%s %s: %d %s", r.Method, r.URL, status, got)
		}
	}
	for _, body := range []string{"", "{", "[]", `{"sql": 1}`, `{"sql": "SELECT 1", "more": 1}`, `{"sql": ""}`} {
		if status, got := get(t, request(t, "POST", s.URL+API+"query", body)); status != 400 {
			t.Errorf("%q: %d %s", body, status, got)
		}
	}
	alive(t, s)
}

func alive(t *testing.T, s *httptest.Server) {
	t.Helper()
	if status, got := get(t, request(t, "GET", s.URL+API+"overview?since=20s", "")); status != 200 || !strings.Contains(string(got), `"event_count":20`) {
		t.Fatalf("%d %s", status, got)
	}
}

// Names from strangers are text in JSON, never markup or control characters.
func TestHostileNames(t *testing.T) {
	s, _, _ := open(t)
	for _, q := range []string{"overview", "explain", "chains", "ledger", "thieves", "events", "ops?per_process=true"} {
		status, got := get(t, request(t, "GET", s.URL+API+q, ""))
		if status != 200 || !strings.Contains(string(got), `</script>\u001b[2J`) || strings.Contains(string(got), "\x1b") {
			t.Errorf("%s: %d %s", q, status, got)
		}
	}
}

// A stream tells of what is new, and ends when its client goes.
func TestLive(t *testing.T) {
	s, w, _ := open(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", s.URL+API+"live", nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if got.Header.Get("Content-Type") != "text/event-stream" {
		t.Error(got.Header)
	}
	lines := bufio.NewScanner(got.Body)
	next := func() (newest int64) {
		for lines.Scan() {
			if _, err := fmt.Sscanf(lines.Text(), `data: {"newest_ns":%d}`, &newest); err == nil {
				return newest
			}
		}
		t.Fatal("the stream ended: ", lines.Err())
		return 0
	}
	first := next()
	second(w, 30)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if later := next(); later <= first {
		t.Errorf("first %d, then %d", first, later)
	}
}

// Who asks the same shares the answer; when all have gone, the question ends.
func TestFlights(t *testing.T) {
	s := newFlights(time.Hour, 2*time.Hour, time.Now)
	var asked atomic.Int32
	goOn := make(chan bool)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			b, err := s.do(t.Context(), "q", func(context.Context) ([]byte, error) {
				asked.Add(1)
				<-goOn
				return []byte("a"), nil
			})
			if string(b) != "a" || err != nil {
				t.Errorf("%s, %v", b, err)
			}
		})
	}
	close(goOn)
	all.Wait()
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan bool)
	go s.do(ctx, "long", func(ctx context.Context) ([]byte, error) {
		cancel()
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	})
	<-ended
	b, err := s.do(t.Context(), "long", func(context.Context) ([]byte, error) { return []byte("new"), nil })
	if string(b) != "new" || err != nil {
		t.Errorf("%s, %v", b, err)
	}
}

// The first who asks after an answer has aged waits for a new one; others do
// not, until the old one is stale. What nobody asks for is forgotten.
func TestFlightsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFlights(time.Second, 2*time.Second, time.Now)
		n := 0
		count := func(takes time.Duration) func(context.Context) ([]byte, error) {
			return func(context.Context) ([]byte, error) {
				n++
				text := fmt.Sprint(n)
				time.Sleep(takes)
				return []byte(text), nil
			}
		}
		want := func(takes time.Duration, want string) {
			t.Helper()
			if b, err := s.do(t.Context(), "q", count(takes)); string(b) != want || err != nil {
				t.Errorf("%s, %v; want %s", b, err, want)
			}
		}
		want(0, "1")
		time.Sleep(900 * time.Millisecond)
		want(0, "1")
		time.Sleep(200 * time.Millisecond)
		go want(5*time.Second, "2") // takes its time
		synctest.Wait()
		want(0, "1")
		time.Sleep(2 * time.Second)
		want(0, "2") // waits with the first: the old one is stale
		time.Sleep(9 * time.Second)
		want(0, "2") // what took long is good for longer
		time.Sleep(2 * time.Second)
		want(0, "3")
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if len(s.all) != 0 {
			t.Errorf("%d are remembered", len(s.all))
		}
	})
}
