package fleet

import (
	"bytes"
	"encoding/json"

	"ingero/internal/query"
)

// exactTable keeps each digit of whole numbers: as float64 those beyond 2^53
// would change.
type exactTable struct{ query.Table }

// UnmarshalJSON reads a query.Table.
func (t *exactTable) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(&t.Table)
}
