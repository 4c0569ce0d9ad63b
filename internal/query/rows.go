package query

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Column is one column of rows, with the name that its values have in JSON;
// values within another have both names, cause.kind is cause_kind.
type Column struct {
	Name string
	Kind reflect.Kind // Bool, Int64, Uint64, Float64 or String
	Time bool         // Int64: unix ns
}

// Rows is an answer as a table, for notebooks and spreadsheets. Values are nil,
// bool, int64, uint64, float64, string or time.Time, as their columns say.
type Rows struct {
	Columns []Column
	Values  [][]any
}

// RowsOf makes rows of an answer. What they are is the answer's field with the
// tag rows; where such a row has one in turn, each of these is a row, with what
// is above it repeated. Other lists within a row are text, as JSON. An answer
// without such a field is one row.
func RowsOf(answer any) (*Rows, error) {
	if t, ok := answer.(*Table); ok {
		return rowsOfTable(t), nil
	}
	v := reflect.ValueOf(answer)
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	out := &Rows{}
	list, found := rowsField(v)
	if !found {
		out.columns(v.Type(), "")
		return out, out.add(v, nil)
	}
	out.columns(list.Type().Elem(), "")
	for i := range list.Len() {
		if err := out.add(list.Index(i), nil); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// isRows reports whether a field is the rows; with rows:"-" it is left out.
func isRows(f reflect.StructField) bool {
	tag, ok := f.Tag.Lookup("rows")
	return ok && tag == ""
}

// rowsField finds the list that the rows are.
func rowsField(v reflect.Value) (reflect.Value, bool) {
	for _, f := range reflect.VisibleFields(v.Type()) {
		if isRows(f) {
			return v.FieldByIndex(f.Index), true
		}
	}
	return reflect.Value{}, false
}

var (
	timeType   = reflect.TypeFor[time.Time]()
	windowType = reflect.TypeFor[Window]()
)

// plainFields calls f for each field that is a column, or several: not for the
// window, which is the same in all rows, and not for rows.
func plainFields(t reflect.Type, f func(field reflect.StructField, name string)) {
	for _, x := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(x.Tag.Get("json"), ",")
		if _, rows := x.Tag.Lookup("rows"); rows || name == "" || name == "-" || x.Type == windowType {
			continue
		}
		f(x, name)
	}
}

func (r *Rows) columns(t reflect.Type, prefix string) {
	plainFields(t, func(x reflect.StructField, name string) {
		ft := x.Type
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		if ft.Kind() == reflect.Struct && ft != timeType {
			r.columns(ft, prefix+name+"_")
			return
		}
		r.Columns = append(r.Columns, Column{prefix + name, kindOf(ft), ft == timeType})
	})
	for _, x := range reflect.VisibleFields(t) {
		if isRows(x) {
			name, _, _ := strings.Cut(x.Tag.Get("json"), ",")
			r.columns(x.Type.Elem(), strings.TrimSuffix(name, "s")+"_")
		}
	}
}

func kindOf(t reflect.Type) reflect.Kind {
	switch v := reflect.Zero(t); {
	case t == timeType, v.CanInt():
		return reflect.Int64
	case v.CanUint():
		return reflect.Uint64
	case v.CanFloat():
		return reflect.Float64
	case t.Kind() == reflect.Bool:
		return reflect.Bool
	}
	return reflect.String // or JSON
}

// add appends the row of v, or the rows within it.
func (r *Rows) add(v reflect.Value, above []any) error {
	row := append([]any{}, above...)
	row, err := appendValues(row, v)
	if err != nil {
		return err
	}
	list, found := rowsField(v)
	if !found {
		r.Values = append(r.Values, row)
		return nil
	}
	for i := range list.Len() {
		if err := r.add(list.Index(i), row); err != nil {
			return err
		}
	}
	return nil
}

func appendValues(row []any, v reflect.Value) ([]any, error) {
	var failed error
	plainFields(v.Type(), func(x reflect.StructField, _ string) {
		f := v.FieldByIndex(x.Index)
		missing := false
		if f.Kind() == reflect.Pointer {
			if missing = f.IsNil(); missing {
				f = reflect.Zero(f.Type().Elem())
			} else {
				f = f.Elem()
			}
		}
		if f.Kind() == reflect.Struct && f.Type() != timeType {
			from := len(row)
			row, failed = appendValues(row, f)
			if missing {
				clear(row[from:])
			}
			return
		}
		if missing {
			row = append(row, nil)
			return
		}
		value, err := valueOf(f)
		if err != nil {
			failed = fmt.Errorf("%s: %w", x.Name, err)
		}
		row = append(row, value)
	})
	return row, failed
}

func valueOf(v reflect.Value) (any, error) {
	switch {
	case v.Type() == timeType:
		return v.Interface(), nil
	case v.CanInt():
		return v.Int(), nil
	case v.CanUint():
		return v.Uint(), nil
	case v.CanFloat():
		return v.Float(), nil
	case v.Kind() == reflect.Bool:
		return v.Bool(), nil
	case v.Kind() == reflect.String:
		return v.String(), nil
	}
	b, err := json.Marshal(v.Interface())
	return string(b), err
}

// rowsOfTable takes SQL's rows. A column has one kind if all its values do, or
// is text.
func rowsOfTable(t *Table) *Rows {
	out := &Rows{}
	for i, name := range t.Columns {
		kind := reflect.Invalid
		for _, row := range t.Rows {
			if row[i] == nil {
				continue
			}
			k := reflect.TypeOf(row[i]).Kind()
			if kind != reflect.Invalid && kind != k {
				k = reflect.String
			}
			kind = k
		}
		if kind == reflect.Invalid {
			kind = reflect.String
		}
		out.Columns = append(out.Columns, Column{Name: name, Kind: kind})
	}
	for _, row := range t.Rows {
		values := append([]any{}, row...)
		for i, v := range values {
			if v != nil && out.Columns[i].Kind == reflect.String {
				values[i] = fmt.Sprint(v)
			}
		}
		out.Values = append(out.Values, values)
	}
	return out
}
