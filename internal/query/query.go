// Package query is every question that can be asked: one typed function
// each, over one small Source, so that all surfaces give the same answer.
package query

import (
	"context"
	"time"

	"ingero/internal/event"
	"ingero/internal/store"
)

// Source is where answers come from: a database, or the live window.
type Source interface {
	// Totals sums up the window exactly, for all processes or for each.
	Totals(ctx context.Context, f store.Filter, perProcess bool) (*store.Totals, error)
	// Events returns the newest events, at most limit, the newest last.
	Events(ctx context.Context, f store.Filter, limit int) ([]store.Stored, error)
	// Stacks returns the frames of stacks, innermost first.
	Stacks(ctx context.Context, hashes []uint64) (map[uint64][]event.Frame, error)
	// Coverage says how well the window was watched.
	Coverage(ctx context.Context, f store.Filter) (*store.Coverage, error)
}

// Asker is a Source that understands SQL.
type Asker interface {
	SQL(ctx context.Context, text string, limits store.Limits) (*store.Table, error)
}

// Window is the time an answer is about.
type Window struct {
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Seconds float64   `json:"seconds"`
}

func newWindow(from, to int64) Window {
	return Window{time.Unix(0, from).UTC(), time.Unix(0, to).UTC(), float64(to-from) / 1e9}
}

// Coverage is how much of what happened the answer rests on.
type Coverage struct {
	Calls    uint64   `json:"calls"`          // of libraries, counted exactly; the host's operations are not among them
	Recorded uint64   `json:"recorded"`       // of them, kept as events
	Lost     *uint64  `json:"lost"`           // that should have been kept; null: not known
	Overhead *float64 `json:"overhead_share"` // of the processes' time; null: not measured
	Gaps     []string `json:"gaps"`           // what was not seen
}

// Op is what happened to one operation in the window. Durations are ns.
type Op struct {
	PID      *uint32 `json:"pid,omitempty"` // with one row per process
	Comm     *string `json:"comm,omitempty"`
	Node     *string `json:"node,omitempty"`
	Source   string  `json:"source"`
	Op       string  `json:"op"`
	Function string  `json:"function"` // the exported symbol
	Class    string  `json:"class"`
	Count    uint64  `json:"count"`
	Nested   uint64  `json:"nested"` // of the count: made from within another traced call
	Errors   uint64  `json:"errors"`
	Bytes    uint64  `json:"bytes"`
	Total    uint64  `json:"total_ns"`
	P50      uint64  `json:"p50_ns"`
	P95      uint64  `json:"p95_ns"`
	P99      uint64  `json:"p99_ns"`
	Max      uint64  `json:"max_ns"`
	Recorded uint64  `json:"recorded"`
	Lost     *uint64 `json:"lost"` // null: not known
}

// OpsParams narrows Ops.
type OpsParams struct {
	store.Filter
	PerProcess bool
}

// OpsAnswer is what Ops returns.
type OpsAnswer struct {
	Window   Window   `json:"window"`
	Coverage Coverage `json:"coverage"`
	Ops      []Op     `json:"ops" rows:""` // most calls first
}

// EventsParams narrows Events.
type EventsParams struct {
	store.Filter
	Limit int // at most so many; 0: none
}

// Answer is operations and events of one window: the answer of the query
// command, and what its --json prints.
type Answer struct {
	Schema string `json:"schema"`
	OpsAnswer
	Events []EventJSON `json:"events"` // newest last
}

// SchemaQuery names the form of Answer.
const SchemaQuery = "query/1"
