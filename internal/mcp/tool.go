package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"ingero/internal/query"
)

// Tool is something that an assistant can call.
type Tool struct {
	Name, Doc string
	Acts      bool // it does something; else it reads only
	Outside   bool // it reaches other machines
	In, Out   *jsonschema.Schema

	ask   func(ctx context.Context, object []byte) (any, error)
	paged bool
}

// NewTool makes a tool of a function. Mistakes in the parameters that it finds
// should be WrongArgument.
func NewTool[P, A any](name, doc string, ask func(context.Context, P) (A, error)) Tool {
	return Tool{Name: name, Doc: doc, In: query.SchemaOf(reflect.TypeFor[P]()), Out: query.SchemaOf(reflect.TypeFor[A]()),
		ask: func(ctx context.Context, object []byte) (any, error) {
			var p P
			d := json.NewDecoder(bytes.NewReader(object))
			d.DisallowUnknownFields()
			if err := d.Decode(&p); err != nil {
				return nil, WrongArgument{query.JSONMistake(err)}
			}
			return ask(ctx, p)
		}}
}

// WrongArgument is a mistake that the assistant can correct.
type WrongArgument struct{ Err error }

func (e WrongArgument) Error() string { return e.Err.Error() }
func (e WrongArgument) Unwrap() error { return e.Err }

// usual are parameters that assistants need smaller than people at a screen:
// what does not fit into their attention costs them the rest of it.
var usual = map[string]map[string]any{
	"chains":        {"limit": 10, "distinct": true},
	"history":       {"points": 12},
	"ledger":        {"points": 12},
	"snapshots":     {"points": 20},
	"graph-metrics": {"points": 20},
	"thieves":       {"limit": 20},
	"stacks":        {"limit": 20},
	"sql":           {"limit": 100},
}

// said is the usual value at the end of a description.
var said = regexp.MustCompile(` \([0-9]+\)$`)

// questionTool is the tool of a row of the table.
func (s *server) questionTool(q *query.Question) Tool {
	t := Tool{Name: q.Tool, Doc: q.Doc, In: q.ParamsSchema(), Out: q.AnswerSchema()}
	for name, value := range usual[q.Name] {
		p := t.In.Properties[name]
		p.Default = mustJSON(value)
		p.Description = said.ReplaceAllString(p.Description, fmt.Sprintf(" (%v)", value))
	}
	rest, offset := reflect.TypeFor[interface{ Left() int }](), t.In.Properties["offset"]
	t.paged = offset != nil && q.AnswerType().Implements(rest)
	t.ask = func(ctx context.Context, object []byte) (any, error) {
		a, err := s.opts.Asked()
		if err != nil && !q.Bare() {
			return nil, err
		}
		params := q.New()
		if err := q.Decode(params, object); err != nil {
			return nil, err
		}
		return q.Ask(ctx, a, params)
	}
	return t
}

func (s *server) add(t Tool) {
	t.In.Properties = orEmpty(t.In.Properties)
	t.In.Properties["tsc"] = &jsonschema.Schema{Type: "boolean", Description: "false: the answer as JSON instead of telegraphic text", Default: mustJSON(true)}
	if t.paged {
		t.In.Properties["cursor"] = &jsonschema.Schema{Type: "string", Description: "from an answer that was cut: what follows it"}
	}
	no := false
	s.sdk.AddTool(&sdk.Tool{
		Name: t.Name, Title: strings.ReplaceAll(t.Name, "_", " "), Description: t.Doc, InputSchema: t.In, OutputSchema: t.Out,
		Annotations: &sdk.ToolAnnotations{ReadOnlyHint: !t.Acts, DestructiveHint: &no, IdempotentHint: !t.Acts, OpenWorldHint: &t.Outside},
	}, func(ctx context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return s.call(ctx, &t, req), nil
	})
}

func orEmpty(m map[string]*jsonschema.Schema) map[string]*jsonschema.Schema {
	if m == nil {
		return map[string]*jsonschema.Schema{}
	}
	return m
}

func mustJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // numbers and booleans always can be
	}
	return b
}

// call answers. What goes wrong is told to the assistant, who may do better;
// only what it cannot help is an error of the protocol.
func (s *server) call(ctx context.Context, t *Tool, req *sdk.CallToolRequest) *sdk.CallToolResult {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	defer s.requests.bind(req.Extra, cancel)()
	defer context.AfterFunc(s.life, cancel)()
	a, err := t.arguments(req.Params.Arguments)
	if err != nil {
		return failed(t, err)
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return failed(t, errors.New("too many questions at the same time; ask again"))
	}
	got, err := t.ask(ctx, a.object)
	if err != nil {
		return failed(t, err)
	}
	r, err := s.result(t, a, got, s.structured(req.ClientInfo(), req.Extra))
	if err != nil {
		return failed(t, err)
	}
	return r
}

// arguments are those of a call, apart from those that are about its form.
type arguments struct {
	object []byte
	offset int
	tsc    bool
}

func (t *Tool) arguments(raw json.RawMessage) (arguments, error) {
	a := arguments{tsc: true}
	all := map[string]json.RawMessage{}
	if len(raw) > 0 && string(raw) != "null" {
		if err := json.Unmarshal(raw, &all); err != nil {
			return a, WrongArgument{errors.New("arguments must be a JSON object")}
		}
	}
	if v, given := all["tsc"]; given {
		if err := json.Unmarshal(v, &a.tsc); err != nil {
			return a, WrongArgument{errors.New("tsc must be true or false")}
		}
		delete(all, "tsc")
	}
	for name, p := range t.In.Properties {
		if _, given := all[name]; !given && p.Default != nil && name != "tsc" {
			all[name] = p.Default
		}
	}
	if v, given := all["cursor"]; given && t.paged {
		if err := goOn(all, v); err != nil {
			return a, WrongArgument{err}
		}
	}
	if v, given := all["offset"]; given {
		if err := json.Unmarshal(v, &a.offset); err != nil {
			return a, WrongArgument{errors.New("offset must be a number")}
		}
	}
	var err error
	a.object, err = json.Marshal(all)
	return a, err
}

// failed tells what is wrong and what to do.
func failed(t *Tool, err error) *sdk.CallToolResult {
	var param query.ParamError
	var wrong WrongArgument
	text := err.Error()
	switch {
	case errors.As(err, &param), errors.As(err, &wrong):
		text += "\narguments of " + t.Name + ": " + t.usage()
	case errors.Is(err, context.DeadlineExceeded):
		text = fmt.Sprintf("it took longer than %v: ask for a shorter window (since, or from and to), one pid, or less in SQL", answerTime)
	}
	r := &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: clean(text)}}, IsError: true}
	return r
}

// usage tells the arguments in one line.
func (t *Tool) usage() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(t.In.Properties)) {
		text := name
		if d := t.In.Properties[name].Description; d != "" {
			text += " (" + d + ")"
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}
