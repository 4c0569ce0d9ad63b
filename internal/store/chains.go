package store

import (
	"context"
	"encoding/json"
	"fmt"

	"ingero/internal/event"
)

// Chain is an incident: what was slow, why, and who did it. Stored again
// under the same ID it replaces what was known of the incident.
type Chain struct {
	ID       string // '{node}:{descriptor}', stable over the life of the incident
	Node     string // empty: this node
	Kind     string // cause.kind of 'explain --json'; empty in older recordings
	Severity string // HIGH, MEDIUM, LOW
	PID      uint32 // who suffered; 0: not known
	Detected int64  // unix ns
	// Started and Ended are unix ns; Ended is 0 while it goes on. Where only
	// the detection is known, all three are the same.
	Started, Ended int64

	Summary, RootCause, Explanation string
	Recommendations                 []string
	Op                              string  // display name of the call that suffered
	P50, P99                        uint64  // µs of that call
	TailRatio                       float64 // P99 / P50
	Timeline                        string  // JSON array

	LostNS     uint64
	Share      float64 // of the feeders' time, 0 to 1
	CulpritPID uint32
	Culprit    string
	Detail     json.RawMessage // the whole chain as in 'explain --json'; nil: none
}

// mostChains is how many incidents are kept; the oldest go first.
const mostChains = 100_000

// Chain records an incident, or what is newly known of it.
func (w *Writer) Chain(c Chain) {
	if c.Node == "" {
		c.Node = w.opts.Node
	}
	if c.Detected == 0 {
		c.Detected = c.Started
	}
	if c.Recommendations == nil {
		c.Recommendations = []string{}
	}
	w.chains[c.ID] = c
}

// writeChains stores the pending incidents and returns how many there may be
// now.
func (w *Writer) writeChains(ctx context.Context) (int, error) {
	for _, c := range w.chains {
		advice, err := json.Marshal(c.Recommendations)
		if err != nil {
			return 0, err
		}
		if _, err := w.exec(ctx, `INSERT OR REPLACE INTO causal_chains (id, detected_at, severity, summary, root_cause, explanation,
			recommendations, cuda_op, cuda_p99_us, cuda_p50_us, tail_ratio, timeline, node,
			kind, pid, started_at, ended_at, lost_ns, share, culprit_pid, culprit, detail)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			c.ID, c.Detected, c.Severity, c.Summary, c.RootCause, c.Explanation,
			string(advice), c.Op, int64(min(c.P99, mostNS)), int64(min(c.P50, mostNS)), finite(c.TailRatio), orEmpty([]byte(c.Timeline)), c.Node,
			c.Kind, c.PID, c.Started, c.Ended, int64(min(c.LostNS, mostNS)), finite(c.Share), c.CulpritPID, c.Culprit, orEmpty(c.Detail)); err != nil {
			return 0, err
		}
	}
	count := w.chainCount + len(w.chains)
	if count <= w.maxChains || len(w.chains) == 0 {
		return count, nil
	}
	if _, err := w.exec(ctx, `DELETE FROM causal_chains WHERE id IN
		(SELECT id FROM causal_chains ORDER BY detected_at DESC LIMIT -1 OFFSET ?)`, w.maxChains); err != nil {
		return 0, err
	}
	s, err := w.prepare(ctx, "SELECT count(*) FROM causal_chains")
	if err != nil {
		return 0, err
	}
	err = s.QueryRowContext(ctx).Scan(&count)
	return count, err
}

// orEmpty returns JSON as text, nothing if it is not JSON.
func orEmpty(b []byte) string {
	if !json.Valid(b) {
		return ""
	}
	return string(b)
}

// Chains returns the incidents that touch the window, the newest first. PIDs
// of the filter choose who suffered, Ops which call did.
func (r *Reader) Chains(ctx context.Context, f Filter) ([]Chain, error) {
	return read(ctx, r, "incidents", func(ctx context.Context, c *readConn) ([]Chain, error) { return chains(ctx, c, f) })
}

// chainsQuery reads the incidents of any version: columns that came later
// have the values that mean "not known".
func chainsQuery(has columnSet) string {
	started := "detected_at"
	ended := "detected_at"
	if has["started_at"] {
		started = "CASE started_at WHEN 0 THEN detected_at ELSE started_at END"
		ended = "CASE started_at WHEN 0 THEN detected_at ELSE ended_at END"
	}
	return fmt.Sprintf(`SELECT * FROM (SELECT id, %s AS node, %s AS kind, severity, %s AS pid, detected_at, %s AS started, %s AS ended,
		summary, root_cause, explanation, coalesce(%s, '') AS recommendations, coalesce(%s, '') AS cuda_op,
		coalesce(%s, 0) AS cuda_p50_us, coalesce(%s, 0) AS cuda_p99_us, coalesce(%s, 0) AS tail_ratio, coalesce(%s, '') AS timeline,
		%s AS lost_ns, %s AS share, %s AS culprit_pid, %s AS culprit, %s AS detail FROM causal_chains)
		WHERE started < ? AND (ended = 0 OR ended >= ?) ORDER BY started DESC, detected_at DESC, id`,
		has.or("node", "''"), has.or("kind", "''"), has.or("pid", "0"), started, ended,
		has.or("recommendations", "''"), has.or("cuda_op", "''"), has.or("cuda_p50_us", "0"), has.or("cuda_p99_us", "0"),
		has.or("tail_ratio", "0"), has.or("timeline", "''"),
		has.or("lost_ns", "0"), has.or("share", "0"), has.or("culprit_pid", "0"), has.or("culprit", "''"), has.or("detail", "''"))
}

func chains(ctx context.Context, c *readConn, f Filter) ([]Chain, error) {
	has, err := tableColumns(ctx, c, "causal_chains")
	if err != nil || !has["detected_at"] {
		return nil, err
	}
	rows, err := c.QueryContext(ctx, chainsQuery(has), f.end(), f.From)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Chain
	for rows.Next() {
		var x Chain
		var advice, detail string
		var pid, culprit, p50, p99, lost int64
		if err := rows.Scan(&x.ID, &x.Node, &x.Kind, &x.Severity, &pid, &x.Detected, &x.Started, &x.Ended,
			&x.Summary, &x.RootCause, &x.Explanation, &advice, &x.Op, &p50, &p99, &x.TailRatio, &x.Timeline,
			&lost, &x.Share, &culprit, &x.Culprit, &detail); err != nil {
			return nil, err
		}
		x.PID, x.CulpritPID = uint32(pid), uint32(culprit)
		x.P50, x.P99, x.LostNS = notNegative(p50), notNegative(p99), notNegative(lost)
		x.Timeline = orEmpty([]byte(x.Timeline))
		if json.Unmarshal([]byte(advice), &x.Recommendations) != nil && advice != "" {
			x.Recommendations = []string{advice} // not JSON, but still advice
		}
		if detail = orEmpty([]byte(detail)); detail != "" {
			x.Detail = json.RawMessage(detail)
		}
		if f.hasPID(x.PID) && f.hasName(x.Op) {
			all = append(all, x)
		}
	}
	return all, rows.Err()
}

// hasName is hasOp for the display name of an operation.
func (f *Filter) hasName(name string) bool {
	if f.Ops == nil {
		return true
	}
	for _, op := range event.FindOps(name) {
		if f.hasOp(op) {
			return true
		}
	}
	return false
}

// notNegative reads an unsigned number that a damaged file may hold as a
// negative one.
func notNegative(v int64) uint64 { return uint64(max(v, 0)) }
