package tsc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// node is a JSON value that remembers the order of its fields.
type node struct {
	kind byte     // one of the constants below
	text string   // of a string, number or boolean
	keys []string // of an object, beside vals
	vals []*node  // of an object or array
}

const (
	object = '{'
	array  = '['
	str    = '"'
	number = '0'
	truth  = 't'
	null   = 'n'
)

// parse reads one JSON value.
func parse(b []byte) (*node, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	n, err := parseNext(d)
	if err != nil {
		return nil, fmt.Errorf("read the answer as JSON: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("read the answer as JSON: something follows the value")
	}
	return n, nil
}

func parseNext(d *json.Decoder) (*node, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch x := t.(type) {
	case string:
		return &node{kind: str, text: x}, nil
	case json.Number:
		return &node{kind: number, text: x.String()}, nil
	case bool:
		return &node{kind: truth, text: fmt.Sprint(x)}, nil
	case nil:
		return &node{kind: null}, nil
	}
	n := &node{kind: byte(t.(json.Delim))}
	for d.More() {
		if n.kind == object {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			n.keys = append(n.keys, key.(string))
		}
		v, err := parseNext(d)
		if err != nil {
			return nil, err
		}
		n.vals = append(n.vals, v)
	}
	_, err = d.Token() // the end of it
	return n, err
}

// json writes the value as JSON again.
func (n *node) json(b *bytes.Buffer) {
	switch n.kind {
	case null:
		b.WriteString("null")
	case str:
		quoteJSON(b, n.text)
	case object, array:
		b.WriteByte(n.kind)
		for i, v := range n.vals {
			if i > 0 {
				b.WriteByte(',')
			}
			if n.kind == object {
				quoteJSON(b, n.keys[i])
				b.WriteByte(':')
			}
			v.json(b)
		}
		b.WriteByte(n.kind + 2) // the closing bracket
	default:
		b.WriteString(n.text)
	}
}

func quoteJSON(b *bytes.Buffer, s string) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err) // a string always can be
	}
	b.Truncate(b.Len() - 1) // the newline
}

// field returns a field of an object, or nil.
func (n *node) field(key string) *node {
	if n.kind != object {
		return nil
	}
	for i, k := range n.keys {
		if k == key {
			return n.vals[i]
		}
	}
	return nil
}

// scalar reports whether the value holds no others.
func (n *node) scalar() bool { return n.kind != object && n.kind != array }

// says reports whether the value tells anything: null, false, "" and what has
// nothing in it do not.
func (n *node) says() bool {
	switch n.kind {
	case null:
		return false
	case truth:
		return n.text == "true"
	case object, array:
		return len(n.vals) > 0
	}
	return n.text != ""
}

// prune leaves out of objects what says nothing, and a text that repeats a
// number: "duration" beside "duration_ns".
func (n *node) prune() {
	for _, v := range n.vals {
		v.prune()
	}
	if n.kind != object {
		return
	}
	var keys []string
	var vals []*node
	for i, k := range n.keys {
		if n.vals[i].says() && n.field(k+"_ns") == nil {
			keys, vals = append(keys, k), append(vals, n.vals[i])
		}
	}
	n.keys, n.vals = keys, vals
}

// flat is an object without objects in it: their fields take their place, as
// "cause.kind". What they hold of lists stays.
func (n *node) flat() *node { return n.flatten(1 << 30) }

// fold is flat, but larger objects stay.
func (n *node) fold() *node { return n.flatten(3) }

// flatten puts the fields of objects that have at most so many in their place.
func (n *node) flatten(most int) *node {
	out := &node{kind: object}
	for i, k := range n.keys {
		v := n.vals[i]
		if v.kind != object || isSpan(v) || len(v.keys) > most || isMatrix(v) {
			out.keys, out.vals = append(out.keys, k), append(out.vals, v)
			continue
		}
		inner, unit := v.flatten(most), ""
		if name, is := cutUnit(k); is { // of all that is in it
			k, unit = name, "_ns"
		}
		for j, name := range inner.keys {
			out.keys, out.vals = append(out.keys, k+"."+name+unit), append(out.vals, inner.vals[j])
		}
	}
	return out
}
