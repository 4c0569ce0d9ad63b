package query

import (
	"fmt"
	"reflect"

	"github.com/google/jsonschema-go/jsonschema"
)

// ParamsSchema describes the parameters as JSON.
func (q *Question) ParamsSchema() *jsonschema.Schema { return schemaOf(q.params) }

// SchemaOf describes a type that is made of the types of this package.
func SchemaOf(t reflect.Type) *jsonschema.Schema {
	s := schemaOf(t)
	allowMore(s)
	return s
}

// AnswerSchema describes the answer as JSON. Fields may be added to an answer
// later, so a schema does not forbid others than it knows.
func (q *Question) AnswerSchema() *jsonschema.Schema { return SchemaOf(q.answer) }

// schemaOf panics where a type of the table has no schema: a test sees to it.
func schemaOf(t reflect.Type) *jsonschema.Schema {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	s, err := jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[PIDs](): {AnyOf: []*jsonschema.Schema{
			{Type: "integer"}, {Type: "array", Items: &jsonschema.Schema{Type: "integer"}}, {Type: "string"},
		}},
		reflect.TypeFor[OpNames](): {Type: "string"},
	}})
	if err != nil {
		panic(fmt.Sprintf("query: schema of %v: %v", t, err))
	}
	return s
}

func allowMore(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if len(s.Properties) > 0 {
		s.AdditionalProperties = nil
	}
	for _, p := range s.Properties {
		allowMore(p)
	}
	allowMore(s.Items)
}
