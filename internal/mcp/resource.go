package mcp

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"ingero/internal/query"
	"ingero/internal/tsc"
)

const (
	sessionURI = "ingero://session/"
	chainURI   = "ingero://chain/"
	jsonType   = "application/json"
)

// listed is how many resources are listed at once.
const listed = 100

func (s *server) addResources() {
	s.sdk.AddResourceTemplate(&sdk.ResourceTemplate{
		URITemplate: sessionURI + "{id}", Name: "session", Title: "A run of the agent", MIMEType: jsonType,
		Description: "One run of the agent, by its number: what it could not see, and an overview of what it recorded.",
	}, s.readSession)
	s.sdk.AddResourceTemplate(&sdk.ResourceTemplate{
		URITemplate: chainURI + "{+id}", Name: "chain", Title: "A finding", MIMEType: jsonType,
		Description: "One finding, by its id: cause, culprits, lost time, timeline, fixes and evidence.",
	}, s.readChain)
}

// ask asks a question of the table.
func (s *server) ask(ctx context.Context, name string, params map[string]any) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	a, err := s.opts.Asked()
	if err != nil {
		return nil, err
	}
	q, _ := query.Find(name)
	p := q.New()
	if err := q.Decode(p, mustJSON(params)); err != nil {
		return nil, err
	}
	return q.Ask(ctx, a, p)
}

func (s *server) sessions(ctx context.Context) ([]query.Session, error) {
	got, err := s.ask(ctx, "sessions", map[string]any{})
	if err != nil {
		return nil, err
	}
	return got.(*query.SessionsAnswer).Sessions, nil
}

// ever is a window of everything.
func ever() map[string]any { return map[string]any{"from": "1970-01-02", "limit": 10_000} }

func (s *server) chains(ctx context.Context) ([]query.Chain, error) {
	got, err := s.ask(ctx, "chains", ever())
	if err != nil {
		return nil, err
	}
	return got.(*query.Explanation).Chains, nil
}

// listResources lists sessions, the newest first, then findings, the most
// harmful first. Without a database there are none.
func (s *server) listResources(ctx context.Context, req *sdk.ListResourcesRequest) (*sdk.ListResourcesResult, error) {
	out := &sdk.ListResourcesResult{Resources: []*sdk.Resource{}, Cacheable: sdk.Cacheable{CacheScope: "private"}}
	begin := 0
	if req.Params != nil && req.Params.Cursor != "" {
		var err error
		if begin, err = strconv.Atoi(req.Params.Cursor); err != nil || begin < 0 {
			return nil, invalid("this cursor is not one of a list of resources")
		}
	}
	sessions, err := s.sessions(ctx)
	if err != nil {
		return out, nil
	}
	chains, err := s.chains(ctx)
	if err != nil {
		return nil, broken(err)
	}
	for i := range sessions {
		x := sessions[len(sessions)-1-i]
		out.Resources = append(out.Resources, &sdk.Resource{
			URI: sessionURI + strconv.FormatInt(x.ID, 10), Name: fmt.Sprintf("session %d", x.ID), MIMEType: jsonType,
			Description: line(fmt.Sprintf("recorded on %s from %s", x.Node, x.Started.Format(time.RFC3339))),
		})
	}
	for _, c := range chains {
		out.Resources = append(out.Resources, &sdk.Resource{
			URI: chainURI + (&url.URL{Path: c.ID}).EscapedPath(), Name: line(c.ID), MIMEType: jsonType,
			Description: line(fmt.Sprintf("%s %s: %s", c.Severity, c.Cause.Kind, c.Cause.Summary)),
		})
	}
	end := min(begin+listed, len(out.Resources))
	if end < len(out.Resources) {
		out.NextCursor = strconv.Itoa(end)
	}
	out.Resources = out.Resources[min(begin, end):end]
	return out, nil
}

// sessionAnswer is what a session's resource holds.
type sessionAnswer struct {
	Session  query.Session         `json:"session"`
	Overview *query.OverviewAnswer `json:"overview"`
}

func (s *server) readSession(ctx context.Context, req *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
	uri := req.Params.URI
	id, err := strconv.ParseInt(strings.TrimPrefix(uri, sessionURI), 10, 64)
	if err != nil {
		return nil, sdk.ResourceNotFoundError(uri)
	}
	sessions, err := s.sessions(ctx)
	if err != nil {
		return nil, broken(err)
	}
	for _, x := range sessions {
		if x.ID != id {
			continue
		}
		end := time.Now()
		if x.Stopped != nil {
			end = x.Stopped.Add(time.Nanosecond)
		}
		got, err := s.ask(ctx, "overview", map[string]any{"from": x.Started.Format(time.RFC3339Nano), "to": end.Format(time.RFC3339Nano)})
		if err != nil {
			return nil, broken(err)
		}
		return contents(uri, sessionAnswer{x, got.(*query.OverviewAnswer)})
	}
	return nil, sdk.ResourceNotFoundError(uri)
}

func (s *server) readChain(ctx context.Context, req *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
	uri := req.Params.URI
	id, err := url.PathUnescape(strings.TrimPrefix(uri, chainURI))
	if err != nil {
		return nil, sdk.ResourceNotFoundError(uri)
	}
	all, err := s.chains(ctx)
	if err != nil {
		return nil, broken(err)
	}
	for _, c := range all {
		if c.ID == id {
			return contents(uri, c)
		}
	}
	return nil, sdk.ResourceNotFoundError(uri)
}

func contents(uri string, v any) (*sdk.ReadResourceResult, error) {
	b, err := encode(v)
	if err != nil {
		return nil, err
	}
	if len(b) > maxAnswer {
		return nil, broken(errors.New("the resource is too large; ask with a tool"))
	}
	return &sdk.ReadResourceResult{Cacheable: sdk.Cacheable{CacheScope: "private"}, Contents: []*sdk.ResourceContents{{URI: uri, MIMEType: jsonType, Text: string(b), Meta: sdk.Meta{"ingero/untrusted": true}}}}, nil
}

// invalid is an error of the protocol: a parameter that no assistant writes.
func invalid(text string) error {
	return &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: text}
}

// broken is an error of the protocol: this server cannot.
func broken(err error) error {
	return &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: clean(err.Error())}
}

// line is a text from strangers on one line, not long.
func line(s string) string {
	return strings.Join(strings.Fields(tsc.Clean(s, 300)), " ")
}
