// Package web answers every question over HTTP, as JSON under /api/v1, and
// serves the dashboard that asks them.
package web

import (
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
	asked func() *query.Asked // what questions are asked of, now
	slots chan struct{}       // questions that are answered at the same time
}

// New returns the handler of all paths.
func New(asked func() *query.Asked) http.Handler {
	s := &server{asked: asked, slots: make(chan struct{}, 2*runtime.NumCPU())}
	mux := http.NewServeMux()
	for i := range query.Questions {
		q := &query.Questions[i]
		if q.Name == "sql" { // a statement may be long, and is not for a log of addresses
			continue
		}
		mux.HandleFunc("GET "+API+q.Name, func(w http.ResponseWriter, r *http.Request) { s.get(w, r, q) })
	}
	sql, _ := query.Find("sql")
	for _, path := range []string{"query", sql.Name} {
		mux.HandleFunc("POST "+API+path, func(w http.ResponseWriter, r *http.Request) { s.post(w, r, sql) })
	}
	mux.HandleFunc(API, func(w http.ResponseWriter, r *http.Request) {
		serve.Fail(w, http.StatusNotFound, fmt.Errorf("there is no %s %s; %sopenapi.json lists the questions", r.Method, r.URL.Path, API))
	})
	files, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // embedded
	}
	mux.Handle("/", pages(http.FileServerFS(files)))
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
	ctx, cancel := context.WithTimeout(r.Context(), answerTime)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		serve.Fail(w, http.StatusServiceUnavailable, errors.New("too many questions at the same time; ask again"))
		return
	}
	got, err := q.Ask(ctx, s.asked(), params)
	if err != nil {
		serve.Fail(w, statusOf(err), err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.Encode(got) // an error is the client's, who is gone
}

func statusOf(err error) int {
	var wrong query.ParamError
	switch {
	case errors.As(err, &wrong):
		return http.StatusBadRequest
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
