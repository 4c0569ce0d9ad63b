package web

import (
	"encoding/json"
	"net/http"
	"sync"

	"github.com/google/jsonschema-go/jsonschema"

	"ingero/internal/query"
)

// object is JSON that is put together by hand.
type object map[string]any

// openAPI describes all questions, in OpenAPI 3.1.
var openAPI = sync.OnceValue(func() []byte {
	paths := object{}
	for i := range query.Questions {
		q := &query.Questions[i]
		if q.Name == sqlQuestion {
			for _, name := range sqlPaths {
				paths[API+name] = object{"post": operation(q, name)}
			}
			continue
		}
		paths[API+q.Name] = object{"get": operation(q, q.Name)}
	}
	paths[API+liveName] = object{"get": object{
		"operationId": liveName,
		"summary":     "Server-sent events: 'changed' with {\"newest_ns\": …} when there is something new, at most once a second.",
		"responses":   object{"200": object{"description": "the events", "content": object{"text/event-stream": object{"schema": object{"type": "string"}}}}},
	}}
	b, err := json.Marshal(object{
		"openapi":    "3.1.0",
		"info":       object{"title": "ingero", "version": "1", "description": "Answers from what ingero recorded. Times are RFC 3339, durations ns, shares 0 to 1."},
		"paths":      paths,
		"security":   []object{{}, {"bearer": []string{}}},
		"components": object{"securitySchemes": object{"bearer": object{"type": "http", "scheme": "bearer"}}},
	})
	if err != nil {
		panic(err) // the table has a schema for each row: a test sees to it
	}
	return b
})

func operation(q *query.Question, name string) object {
	fail := func(what string) object {
		return object{"description": what, "content": object{"application/json": object{"schema": object{
			"type": "object", "required": []string{"error"}, "properties": object{"error": object{"type": "string"}},
		}}}}
	}
	op := object{
		"operationId": name, "summary": q.Doc,
		"responses": object{
			"200": object{"description": "the answer", "content": object{"application/json": object{"schema": q.AnswerSchema()}}},
			"400": fail("a parameter is wrong"),
			"401": fail("the token is missing or wrong"),
			"403": fail("the request is for another host, or from a page of another site"),
			"503": fail("it took too long, or too many ask at the same time"),
		},
	}
	params := q.ParamsSchema()
	if q.Name == sqlQuestion {
		op["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": params}}}
		return op
	}
	list := []object{}
	for _, p := range q.Params() {
		s := params.Properties[p.Name]
		if len(s.AnyOf) > 0 {
			s = &jsonschema.Schema{Type: "string"} // in an address, all is text
		}
		list = append(list, object{"name": p.Name, "in": "query", "description": p.Doc, "schema": &jsonschema.Schema{Type: s.Type}})
	}
	op["parameters"] = list
	return op
}

func describe(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Write(openAPI())
}
