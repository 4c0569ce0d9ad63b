package query

import (
	"context"
	"encoding/hex"
	"math"
	"strconv"

	"ingero/internal/store"
)

// Table is the answer to a question in SQL; values are nil, int64, float64
// or string.
type Table struct {
	Columns   []string `json:"columns"`
	Rows      [][]any  `json:"rows"`
	Truncated string   `json:"truncated,omitempty"` // why rows are missing at the end
}

// SQL answers one statement that reads. Blobs become x'..' and numbers that
// JSON lacks become text.
func SQL(ctx context.Context, s Asker, text string, limits store.Limits) (*Table, error) {
	t, err := s.SQL(ctx, text, limits)
	if err != nil {
		return nil, err
	}
	for _, row := range t.Rows {
		for i, v := range row {
			switch x := v.(type) {
			case []byte:
				row[i] = "x'" + hex.EncodeToString(x) + "'"
			case float64:
				if math.IsInf(x, 0) || math.IsNaN(x) {
					row[i] = strconv.FormatFloat(x, 'g', -1, 64)
				}
			}
		}
	}
	return &Table{t.Columns, t.Rows, t.Truncated}, nil
}
