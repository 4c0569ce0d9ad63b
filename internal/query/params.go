package query

import (
	"cmp"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"ingero/internal/event"
)

// PIDs are processes: in text 4821,5032; in JSON such a text, a number or
// numbers.
type PIDs []uint32

// UnmarshalText reads numbers separated by commas.
func (p *PIDs) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePIDs(string(text))
	return err
}

// UnmarshalJSON reads a number, numbers, or a text.
func (p *PIDs) UnmarshalJSON(b []byte) error {
	return p.UnmarshalText([]byte(strings.NewReplacer(`"`, "", "[", "", "]", "", " ", "").Replace(string(b))))
}

// OpNames are operations, by their names separated by commas.
type OpNames []event.Op

// UnmarshalText reads names as they are shown or exported.
func (o *OpNames) UnmarshalText(text []byte) error {
	*o = nil
	for name := range strings.SplitSeq(string(text), ",") {
		found := event.FindOps(strings.TrimSpace(name))
		if len(found) == 0 {
			return fmt.Errorf("%q: no such operation; SELECT name FROM ops lists them", name)
		}
		*o = append(*o, found...)
	}
	return nil
}

// Param is one parameter of a question.
type Param struct {
	Name string // as in JSON: per_process
	Doc  string
	Bool bool // a flag that needs no value

	index []int
}

// Params are the parameters of a question, in order.
func (q *Question) Params() []Param { return paramsOf(q.params) }

func paramsOf(t reflect.Type) []Param {
	var all []Param
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			continue // the struct that others are embedded with
		}
		all = append(all, Param{name, f.Tag.Get("jsonschema"), f.Type.Kind() == reflect.Bool, f.Index})
	}
	return all
}

// Set sets one parameter from text, as flags and URLs have it.
func (q *Question) Set(params any, name, text string) error {
	for _, p := range q.Params() {
		if p.Name != name {
			continue
		}
		if err := setText(reflect.ValueOf(params).Elem().FieldByIndex(p.index), text); err != nil {
			return paramf("%s: %w", name, err)
		}
		return nil
	}
	return paramf("%s takes no %q", q.Name, name)
}

func setText(v reflect.Value, text string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is not true or false", text)
		}
		v.SetBool(b)
	case reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return fmt.Errorf("%q is not a number from 0 on", text)
		}
		v.SetInt(int64(n))
	default:
		panic("query: no text for " + v.Type().String())
	}
	return nil
}

// Decode sets parameters from a JSON object.
func (q *Question) Decode(params any, object []byte) error {
	d := json.NewDecoder(strings.NewReader(string(object)))
	d.DisallowUnknownFields()
	if err := d.Decode(params); err != nil {
		return paramf("%s: %w", q.Name, JSONMistake(err))
	}
	for _, p := range q.Params() {
		if v := reflect.ValueOf(params).Elem().FieldByIndex(p.index); v.Kind() == reflect.Int && v.Int() < 0 {
			return paramf("%s: %d is not a number from 0 on", p.Name, v.Int())
		}
	}
	return nil
}

// JSONMistake tells an error of the decoder in the words of who asks.
func JSONMistake(err error) error {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) && kind.Field != "" {
		want := map[reflect.Kind]string{reflect.Int: "a number", reflect.Bool: "true or false", reflect.String: "a text"}[kind.Type.Kind()]
		return fmt.Errorf("%s: give %s, not a %s", kind.Field[strings.LastIndexByte(kind.Field, '.')+1:], cmp.Or(want, "something else"), kind.Value)
	}
	if name, is := strings.CutPrefix(err.Error(), "json: unknown field "); is {
		return fmt.Errorf("it takes no %s", name)
	}
	return err
}

// Rest says what an answer leaves out.
type Rest struct {
	More int `json:"more,omitempty"` // rows that follow; of events, at least so many
}

// Left is how many rows follow.
func (r Rest) Left() int { return r.More }

// page returns the rows from offset on, at most n, and what follows them.
func page[T any](all []T, offset, n int) ([]T, Rest) {
	all = all[min(offset, len(all)):]
	if len(all) <= n {
		return all, Rest{}
	}
	return all[:n], Rest{len(all) - n}
}

// limit is how many rows to give: at most most, of which usual if none are
// asked for.
func limit(asked, usual, most int) int {
	switch {
	case asked <= 0:
		return usual
	case asked > most:
		return most
	}
	return asked
}
