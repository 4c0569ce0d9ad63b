package query

import (
	"cmp"
	"context"
	"slices"

	"ingero/internal/event"
	"ingero/internal/store"
)

// Ops returns exact totals and percentiles of every operation. From and To
// of the filter must both be set.
func Ops(ctx context.Context, s Source, p OpsParams) (*OpsAnswer, error) {
	totals, err := s.Totals(ctx, p.Filter, p.PerProcess)
	if err != nil {
		return nil, err
	}
	cover, err := s.Coverage(ctx, p.Filter)
	if err != nil {
		return nil, err
	}
	a := &OpsAnswer{
		Window:   newWindow(p.From, p.To),
		Coverage: Coverage{Overhead: cover.Overhead, Gaps: append([]string{}, cover.Gaps...)},
		Ops:      []Op{},
	}
	lost := cover.Lost
	for i := range totals.Rows {
		row := &totals.Rows[i]
		op := newOp(row, p.PerProcess, totals.Sampled)
		a.Ops = append(a.Ops, op)
		if row.Op.IsCall() {
			a.Coverage.Calls += op.Count
			a.Coverage.Recorded += op.Recorded
		}
		lost += row.Lost
	}
	if !totals.Sampled {
		a.Coverage.Lost = &lost
	}
	slices.SortStableFunc(a.Ops, func(x, y Op) int {
		if p.PerProcess {
			return 0 // by process already
		}
		return cmp.Or(cmp.Compare(ofHost(x), ofHost(y)), cmp.Compare(y.Count, x.Count))
	})
	return a, nil
}

// ofHost is 1 for operations of the kernel, which follow the calls.
func ofHost(o Op) int {
	switch o.Source {
	case event.CUDA.String(), event.Driver.String(), event.Graph.String(), event.NCCL.String():
		return 0
	}
	return 1
}

func newOp(row *store.Total, perProcess, sampled bool) Op {
	h := row.Hist
	// The lowest bucket holds 0 and 1: what has no duration shows as 0.
	quantile := func(q float64) uint64 { return min(h.Quantile(q), h.Max()) }
	op := Op{
		Source: row.Op.Source().String(), Op: row.Op.String(), Function: functionOf(row.Op), Class: row.Op.Class().String(),
		Count: h.Count(), Nested: row.Nested, Errors: row.Errors, Bytes: row.Bytes, Total: h.Sum(),
		P50: quantile(0.5), P95: quantile(0.95), P99: quantile(0.99), Max: h.Max(), Recorded: row.Recorded,
	}
	if perProcess {
		op.PID, op.Comm, op.Node = &row.PID, &row.Comm, &row.Node
	}
	if !sampled {
		op.Lost = &row.Lost
	}
	return op
}

var functions = func() map[event.Op]string {
	m := map[event.Op]string{}
	for _, c := range event.Calls {
		m[c.ID] = c.Exports()[0]
	}
	return m
}()

// functionOf returns the symbol a library exports for the operation, or the
// operation's name if it is not a call.
func functionOf(op event.Op) string {
	if f, ok := functions[op]; ok {
		return f
	}
	return op.String()
}

// Events returns the newest events of the window, the newest last.
func Events(ctx context.Context, s Source, p EventsParams) ([]EventJSON, error) {
	stored, err := s.Events(ctx, p.Filter, p.Limit)
	if err != nil {
		return nil, err
	}
	return encodeEvents(ctx, s, stored)
}

// framer knows the frames of stacks.
type framer interface {
	Stacks(ctx context.Context, hashes []uint64) (map[uint64][]event.Frame, error)
}

// encodeEvents adds their stacks.
func encodeEvents(ctx context.Context, s framer, stored []store.Stored) ([]EventJSON, error) {
	var hashes []uint64
	for i := range stored {
		if h := stored[i].Stack; h != 0 {
			hashes = append(hashes, h)
		}
	}
	stacks, err := s.Stacks(ctx, hashes)
	if err != nil {
		return nil, err
	}
	out, seen := make([]EventJSON, len(stored)), map[string]string{}
	for i := range stored {
		out[i] = EncodeEvent(stored[i].Event, stored[i].Node, stacks[stored[i].Stack])
		shorten(out[i].Stack, seen)
	}
	return out, nil
}

// Overview answers Ops and Events together. From and To must both be set.
func Overview(ctx context.Context, s Source, ops OpsParams, limit int) (*Answer, error) {
	o, err := Ops(ctx, s, ops)
	if err != nil {
		return nil, err
	}
	e, err := Events(ctx, s, EventsParams{ops.Filter, limit})
	if err != nil {
		return nil, err
	}
	return &Answer{SchemaQuery, *o, e}, nil
}
