// Package rows writes the rows of an answer for notebooks and spreadsheets: as
// CSV and as Parquet.
package rows

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/parquet-go/parquet-go"

	"ingero/internal/query"
)

// CSV writes rows as RFC 4180 has them, under a line of names. What is not
// known is empty; times are RFC 3339.
func CSV(w io.Writer, r *query.Rows) error {
	c := csv.NewWriter(w)
	line := make([]string, len(r.Columns))
	for i, col := range r.Columns {
		line[i] = col.Name
	}
	if err := c.Write(line); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	for _, row := range r.Values {
		for i, v := range row {
			line[i] = text(v)
		}
		if err := c.Write(line); err != nil {
			return fmt.Errorf("write CSV: %w", err)
		}
	}
	c.Flush()
	if err := c.Error(); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}

func text(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case time.Time:
		return x.Format(time.RFC3339Nano)
	case float64:
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	return fmt.Sprint(v)
}

// Parquet writes rows as a Parquet file, compressed with zstd. Every column is
// optional; times are timestamps in ns. Columns are in the order of their names.
func Parquet(w io.Writer, r *query.Rows) error {
	group := parquet.Group{}
	for _, c := range r.Columns {
		group[c.Name] = parquet.Compressed(parquet.Optional(leaf(c)), &parquet.Zstd)
	}
	if len(group) != len(r.Columns) {
		return fmt.Errorf("write Parquet: two columns have the same name; give each its own with AS")
	}
	order := make([]int, len(r.Columns)) // as the schema has them
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(r.Columns[a].Name, r.Columns[b].Name) })
	p := parquet.NewGenericWriter[any](w, parquet.NewSchema("rows", group))
	for _, values := range r.Values {
		row := make(parquet.Row, len(order))
		for at, i := range order {
			row[at] = value(values[i]).Level(0, 1, at)
			if values[i] == nil {
				row[at] = parquet.NullValue().Level(0, 0, at)
			}
		}
		if _, err := p.WriteRows([]parquet.Row{row}); err != nil {
			return fmt.Errorf("write Parquet: %w", err)
		}
	}
	if err := p.Close(); err != nil {
		return fmt.Errorf("write Parquet: %w", err)
	}
	return nil
}

func leaf(c query.Column) parquet.Node {
	switch {
	case c.Time:
		return parquet.Timestamp(parquet.Nanosecond)
	case c.Kind == reflect.Bool:
		return parquet.Leaf(parquet.BooleanType)
	case c.Kind == reflect.Int64:
		return parquet.Int(64)
	case c.Kind == reflect.Uint64:
		return parquet.Uint(64)
	case c.Kind == reflect.Float64:
		return parquet.Leaf(parquet.DoubleType)
	}
	return parquet.String()
}

func value(v any) parquet.Value {
	switch x := v.(type) {
	case time.Time:
		return parquet.Int64Value(x.UnixNano())
	case bool:
		return parquet.BooleanValue(x)
	case int64:
		return parquet.Int64Value(x)
	case uint64:
		return parquet.Int64Value(int64(x)) // with the type's unsigned meaning
	case float64:
		return parquet.DoubleValue(x)
	case string:
		return parquet.ByteArrayValue([]byte(x))
	}
	return parquet.NullValue()
}
