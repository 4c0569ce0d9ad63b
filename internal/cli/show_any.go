package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	"ingero/internal/query"
)

// showAny prints any answer for people: single values a line each, rows as a
// grid, rows that hold rows one after another. Names are those of the JSON.
func showAny(w io.Writer, answer any) error {
	if t, ok := answer.(*query.Table); ok {
		return showTable(w, t)
	}
	var b strings.Builder
	showStruct(&b, reflect.Indirect(reflect.ValueOf(answer)), "")
	_, err := io.WriteString(w, b.String())
	return err
}

// field is one value with the name that it has in JSON.
type field struct {
	name  string
	value reflect.Value
}

func fieldsOf(v reflect.Value) []field {
	var all []field
	for _, f := range reflect.VisibleFields(v.Type()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch name {
		case "", "-", "schema":
			continue // an embedded struct is shown as what it holds
		case "duration":
			continue // duration_ns as text
		}
		all = append(all, field{name, v.FieldByIndex(f.Index)})
	}
	return all
}

func showStruct(b *strings.Builder, v reflect.Value, indent string) {
	var rows []field
	for _, f := range fieldsOf(v) {
		value := f.value
		for value.Kind() == reflect.Pointer && !value.IsNil() {
			value = value.Elem()
		}
		switch {
		case isStack(value):
			for _, l := range query.StackText(value.Interface().([]query.Frame)) {
				fmt.Fprintf(b, "%s  %s\n", indent, printable(l))
			}
		case isRows(value):
			rows = append(rows, field{f.name, value})
		case isStruct(value):
			fmt.Fprintf(b, "%s%s:\n", indent, words(f.name))
			showStruct(b, value, indent+"  ")
		default:
			if text := valueText(f.name, value); text != "" {
				fmt.Fprintf(b, "%s%s: %s\n", indent, words(f.name), text)
			}
		}
	}
	for _, f := range rows {
		fmt.Fprintf(b, "\n%s%s: %d\n", indent, words(f.name), f.value.Len())
		showRows(b, f.value, indent+"  ")
	}
}

// isStack reports whether v is frames, which are told a line each.
func isStack(v reflect.Value) bool { return v.Type() == reflect.TypeFor[[]query.Frame]() }

// isStruct reports whether v holds values that have names.
func isStruct(v reflect.Value) bool {
	return v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]() && v.Type() != reflect.TypeFor[query.Window]()
}

// isRows reports whether v is a slice of structs.
func isRows(v reflect.Value) bool {
	return v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct
}

func showRows(b *strings.Builder, v reflect.Value, indent string) {
	if v.Len() == 0 {
		return
	}
	nested := false
	for _, f := range fieldsOf(v.Index(0)) {
		nested = nested || isRows(f.value) && !hiddenInGrid(f, v) || isStruct(f.value)
	}
	if nested {
		for i := range v.Len() {
			if i > 0 {
				b.WriteString("\n")
			}
			showStruct(b, v.Index(i), indent)
		}
		return
	}
	var g grid
	for i := range v.Len() {
		var row []string
		for _, f := range fieldsOf(v.Index(i)) {
			if isStack(f.value) {
				continue
			}
			if i == 0 {
				g.heads = append(g.heads, words(f.name))
				g.right = append(g.right, isNumber(f.value))
			}
			row = append(row, valueText(f.name, f.value))
		}
		g.rows = append(g.rows, row)
	}
	g.dropEmpty()
	for line := range strings.Lines(g.String()) {
		b.WriteString(indent + line)
	}
}

// hiddenInGrid reports whether rows are better read without the field: events
// without their stacks.
func hiddenInGrid(f field, rows reflect.Value) bool {
	return isStack(f.value) && rows.Type() == reflect.TypeFor[[]query.EventJSON]()
}

// dropEmpty leaves out columns without a single value.
func (g *grid) dropEmpty() {
	for c := len(g.heads) - 1; c >= 0; c-- {
		empty := true
		for _, row := range g.rows {
			empty = empty && row[c] == ""
		}
		if !empty {
			continue
		}
		g.heads, g.right = append(g.heads[:c:c], g.heads[c+1:]...), append(g.right[:c:c], g.right[c+1:]...)
		for i, row := range g.rows {
			g.rows[i] = append(row[:c:c], row[c+1:]...)
		}
	}
}

func isNumber(v reflect.Value) bool {
	for v.Kind() == reflect.Pointer {
		v = reflect.New(v.Type().Elem()).Elem()
	}
	return v.CanInt() || v.CanUint() || v.CanFloat()
}

// words writes "p99_ns" as "p99": the value has its unit.
func words(name string) string {
	if name == "ns" {
		return "time"
	}
	name = strings.TrimSuffix(name, "_ns")
	return strings.ReplaceAll(name, "_", " ")
}

// valueText writes a value with its unit, which its name tells.
func valueText(name string, v reflect.Value) string {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return ""
		}
		v = v.Elem()
	}
	switch x := v.Interface().(type) {
	case time.Time:
		return x.Local().Format("2006-01-02 15:04:05.000000")
	case query.Window:
		return localTime(x.From) + " to " + localTime(x.To)
	}
	switch {
	case name == "unix_ns":
		return strconv.FormatInt(v.Int(), 10)
	case name == "ns" && v.CanUint():
		return shortTime(v.Uint())
	case strings.HasSuffix(name, "_ns") && v.CanUint():
		return shortTime(v.Uint())
	case strings.HasSuffix(name, "_ns") && v.CanInt() && v.Int() >= 0:
		return shortTime(uint64(v.Int()))
	case name == "bytes" && v.CanUint():
		return shortBytes(v.Uint())
	case strings.HasSuffix(name, "share") && v.CanFloat():
		return fmt.Sprintf("%.1f%%", 100*v.Float())
	case v.CanFloat():
		return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(v.Float(), 'f', 2, 64), "0"), ".")
	case v.CanUint() && (name == "pid" || name == "tid" || strings.HasSuffix(name, "_pid") || strings.HasSuffix(name, "_tid")):
		return strconv.FormatUint(v.Uint(), 10)
	case v.CanUint():
		return thousands(v.Uint())
	case v.Kind() == reflect.String:
		return printable(v.String())
	}
	text, err := json.Marshal(v.Interface())
	if err != nil || string(text) == "null" || string(text) == "[]" {
		return ""
	}
	return printable(string(text))
}
