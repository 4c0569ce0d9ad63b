package mcp

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"ingero/internal/serve"
)

// Path is where the protocol is spoken over HTTP.
const Path = "/mcp"

// Handler speaks the protocol over HTTP, without sessions: each request is
// answered by itself, as JSON.
func Handler(o Options) http.Handler {
	s := newServer(o)
	// Who may ask is the listener's business, names of this machine included.
	h := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s.sdk }, &sdk.StreamableHTTPOptions{
		Stateless: true, JSONResponse: true, DisableLocalhostProtection: true, PropagateRequestCancellation: true,
	})
	mux := http.NewServeMux()
	mux.Handle(Path, s.requests.wrap(h))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		serve.Fail(w, http.StatusNotFound, errors.New("there is only "+Path+" here"))
	})
	return mux
}

// requests leads from a call to the HTTP request that brought it, so that a
// client that is gone ends its question. Zero is ready to use.
type requests struct {
	mu   sync.Mutex
	last uint64
	all  map[string]context.Context
}

// header names a request; it does not leave the program.
const header = "Ingero-Request"

func (q *requests) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q.mu.Lock()
		q.last++
		id := strconv.FormatUint(q.last, 10)
		if q.all == nil {
			q.all = map[string]context.Context{}
		}
		q.all[id] = r.Context()
		q.mu.Unlock()
		defer func() {
			q.mu.Lock()
			delete(q.all, id)
			q.mu.Unlock()
		}()
		r.Header.Set(header, id) // in place of one that the client made up
		h.ServeHTTP(w, r)
	})
}

// bind calls cancel when the request ends before release is called.
func (q *requests) bind(extra *sdk.RequestExtra, cancel func()) (release func()) {
	if extra == nil {
		return func() {}
	}
	q.mu.Lock()
	request := q.all[extra.Header.Get(header)]
	q.mu.Unlock()
	if request == nil {
		return func() {}
	}
	stop := context.AfterFunc(request, cancel)
	return func() { stop() }
}
