// Package web answers every question over HTTP, as JSON under /api/v1, and
// serves the dashboard that asks them.
package web

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/klauspost/compress/gzhttp"

	"ingero/internal/query"
	"ingero/internal/serve"
)

//go:embed static
var static embed.FS

// API is the prefix of all questions.
const API = "/api/v1/"

// Open reports whether a path is answered without a token: the program of the
// dashboard, which holds no data.
func Open(path string) bool { return !strings.HasPrefix(path, API) }

// server answers requests.
type server struct {
	asked   func() *query.Asked // what questions are asked of, now
	slots   chan struct{}       // questions that are answered at the same time
	flights *flights
}

// How long an answer may be given again to who asks the same: to anybody, and
// after that to those who ask while a new one is made.
const (
	fresh = time.Second
	stale = 2 * time.Second
)

// A statement may be long and is not for the logs of addresses, so it is sent.
const sqlQuestion = "sql"

var sqlPaths = []string{"query", sqlQuestion}

// New returns the handler of all paths.
func New(asked func() *query.Asked) http.Handler {
	s := &server{asked: asked, slots: make(chan struct{}, 2*runtime.NumCPU()), flights: newFlights(fresh, stale, time.Now)}
	api := http.NewServeMux()
	for i := range query.Questions {
		q := &query.Questions[i]
		if q.Name == sqlQuestion {
			for _, path := range sqlPaths {
				api.HandleFunc("POST "+API+path, func(w http.ResponseWriter, r *http.Request) { s.post(w, r, q) })
			}
			continue
		}
		api.HandleFunc("GET "+API+q.Name, func(w http.ResponseWriter, r *http.Request) { s.get(w, r, q) })
	}
	api.HandleFunc("GET "+API+"openapi.json", describe)
	api.HandleFunc(API, func(w http.ResponseWriter, r *http.Request) {
		serve.Fail(w, http.StatusNotFound, fmt.Errorf("there is no %s %s; %sopenapi.json lists the questions", r.Method, r.URL.Path, API))
	})
	files, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // embedded
	}
	mux := http.NewServeMux()
	mux.Handle(API, gzhttp.GzipHandler(api))
	mux.HandleFunc("GET "+API+liveName, s.live) // not packed: each event must leave at once
	mux.Handle("/", gzhttp.GzipHandler(pages(tagged(files))))
	return mux
}

// pages lets a page load and ask nothing but this server.
func pages(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		w.Header().Set("Cache-Control", "no-cache")
		h.ServeHTTP(w, r)
	})
}

func (s *server) get(w http.ResponseWriter, r *http.Request, q *query.Question) {
	params := q.New()
	for name, values := range r.URL.Query() {
		if len(values) != 1 {
			serve.Fail(w, http.StatusBadRequest, fmt.Errorf("%s is given %d times", name, len(values)))
			return
		}
		if err := q.Set(params, name, values[0]); err != nil {
			serve.Fail(w, http.StatusBadRequest, err)
			return
		}
	}
	s.answer(w, r, q, params)
}

func (s *server) post(w http.ResponseWriter, r *http.Request, q *query.Question) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		serve.Fail(w, http.StatusRequestEntityTooLarge, fmt.Errorf("read the request: %w", err))
		return
	}
	params := q.New()
	if err := q.Decode(params, body); err != nil {
		serve.Fail(w, http.StatusBadRequest, err)
		return
	}
	s.answer(w, r, q, params)
}

// answerTime is how long a question may take, its wait for others included.
const answerTime = 60 * time.Second

func (s *server) answer(w http.ResponseWriter, r *http.Request, q *query.Question, params any) {
	if q.Name == "time" { // of now, and not of just before
		send(w)(s.ask(r.Context(), q, params))
		return
	}
	key, err := json.Marshal(params)
	if err != nil {
		serve.Fail(w, http.StatusInternalServerError, err)
		return
	}
	send(w)(s.flights.do(r.Context(), q.Name+string(key), func(ctx context.Context) ([]byte, error) { return s.ask(ctx, q, params) }))
}

// send returns a function that sends an answer or why there is none.
func send(w http.ResponseWriter) func([]byte, error) {
	return func(answer []byte, err error) {
		if err != nil {
			serve.Fail(w, statusOf(err), err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.Write(answer) // an error is the client's, who is gone
	}
}

// ask answers when it is our turn.
func (s *server) ask(ctx context.Context, q *query.Question, params any) ([]byte, error) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return nil, errBusy
	}
	got, err := q.Ask(ctx, s.asked(), params)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(got); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

var errBusy = errors.New("too many questions at the same time; ask again")

func statusOf(err error) int {
	var wrong query.ParamError
	switch {
	case errors.As(err, &wrong):
		return http.StatusBadRequest
	case errors.Is(err, errBusy), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
