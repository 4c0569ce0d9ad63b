package query

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"ingero/internal/event"
	"ingero/internal/rule"
	"ingero/internal/store"
)

// Chain is one finding, from cause to fix.
type Chain struct {
	ID         string     `json:"id"` // the same for the same data
	Severity   string     `json:"severity"`
	Node       string     `json:"node"`
	PID        uint32     `json:"pid"` // of the job that lost time
	Comm       string     `json:"comm"`
	Started    time.Time  `json:"started_at"`
	Ended      *time.Time `json:"ended_at"` // null while it goes on
	Ongoing    bool       `json:"ongoing"`
	Cause      Cause      `json:"cause"`
	Symptom    Symptom    `json:"symptom"`
	Impact     Impact     `json:"impact"`
	Explained  float64    `json:"explained_share"` // of what the job lacks, all causes together
	Confidence float64    `json:"confidence"`      // 0 to 1
	Limit      string     `json:"severity_limited_because,omitempty"`
	Same       int        `json:"same,omitempty"` // less harmful findings like it that are left out
	Timeline   []Moment   `json:"timeline"`
	Stack      []Frame    `json:"stack"`
	Fixes      []Fix      `json:"fixes"`
	Evidence   []Evidence `json:"evidence"`
}

// Cause is what took the time, and who.
type Cause struct {
	Kind     string    `json:"kind"`
	Summary  string    `json:"summary"`
	Culprits []Culprit `json:"culprits"` // most harmful first
}

// Culprit is a party that took time.
type Culprit struct {
	PID       uint32  `json:"pid"`
	TID       uint32  `json:"tid,omitempty"`
	Comm      string  `json:"comm"`
	Cgroup    string  `json:"cgroup"`
	Container string  `json:"container"`
	NS        uint64  `json:"ns"`
	Share     float64 `json:"share"`
	Processes int     `json:"processes,omitempty"` // it stands for so many of that name
}

// Symptom is what the job felt.
type Symptom struct {
	Op          string  `json:"op"` // "between calls" if the gaps grew
	Class       string  `json:"class"`
	PID         uint32  `json:"pid"`
	TID         uint32  `json:"tid"`
	Comm        string  `json:"comm"`
	Count       uint64  `json:"count"`
	P50         uint64  `json:"p50_ns"`
	P99         uint64  `json:"p99_ns"`
	BaselineP50 *uint64 `json:"baseline_p50_ns"` // null: no good second is known
	BaselineP99 *uint64 `json:"baseline_p99_ns"`
}

// Impact is what was lost, on the job's clock.
type Impact struct {
	Lost         uint64   `json:"lost_ns"`
	Share        float64  `json:"share"` // of the time from its start to its end
	PerSecond    float64  `json:"work_per_s"`
	BaselineRate *float64 `json:"baseline_work_per_s"`
}

// Moment is one line of a timeline.
type Moment struct {
	At       time.Time `json:"at"`
	Layer    string    `json:"layer"` // SYSTEM, HOST, CUDA, DRIVER, GRAPH, IO, NET, GPU
	PID      uint32    `json:"pid"`
	Comm     string    `json:"comm"`
	Text     string    `json:"text"`
	Duration int64     `json:"duration_ns"`
}

// Fix is something to do.
type Fix struct {
	Text    string `json:"text"`
	Command string `json:"command"`
}

// Evidence is a statement and the question to the database that shows it.
type Evidence struct {
	Text string `json:"text"`
	SQL  string `json:"sql"`
}

// ChainID is the id of a finding: what happened to which process, since when.
func ChainID(node, kind string, pid uint32, started time.Time) string {
	return fmt.Sprintf("%s:%s:%d:%d", node, kind, pid, started.Unix())
}

// newChain tells a finding as a chain, with the moments that show it.
func newChain(ctx context.Context, s Moments, f rule.Finding) (Chain, error) {
	c := Chain{
		ID: ChainID(f.Node, f.Kind, f.Process.PID, f.Start), Severity: string(f.Severity), Node: f.Node,
		PID: f.Process.PID, Comm: f.Process.Comm, Started: f.Start.UTC(), Ongoing: f.Ongoing,
		Cause:   Cause{f.Kind, f.Summary, []Culprit{}},
		Impact:  Impact{f.LostNS, f.Share, f.Rate, f.Before},
		Symptom: newSymptom(f), Explained: f.Explained, Confidence: f.Confidence, Limit: f.Limit,
		Timeline: []Moment{}, Stack: []Frame{}, Fixes: []Fix{}, Evidence: []Evidence{},
	}
	if !f.Ongoing {
		end := f.End.UTC()
		c.Ended = &end
	}
	for _, x := range f.Culprits {
		c.Cause.Culprits = append(c.Cause.Culprits, Culprit{
			PID: x.PID, TID: x.TID, Comm: x.Comm, Cgroup: x.Cgroup, Container: x.Container, NS: x.NS, Share: x.Share, Processes: x.Many,
		})
	}
	for _, x := range f.Fixes {
		c.Fixes = append(c.Fixes, Fix(x))
	}
	c.Evidence = evidence(f)
	var err error
	if c.Timeline, err = timeline(ctx, s, f); err != nil {
		return c, err
	}
	c.Stack, err = worstStack(ctx, s, f)
	return c, err
}

func newSymptom(f rule.Finding) Symptom {
	y := f.Symptom
	s := Symptom{Op: betweenCalls, Class: "gap", PID: f.Process.PID, TID: y.TID, Comm: y.Comm}
	if y.Op != 0 {
		s.Op, s.Class = y.Op.String(), y.Op.Class().String()
	}
	if s.Comm == "" {
		s.Comm = f.Process.Comm
	}
	if h := y.During; h != nil && h.Count() > 0 {
		s.Count, s.P50, s.P99 = h.Count(), h.Quantile(0.5), h.Quantile(0.99)
	}
	if h := y.Usual; h != nil && h.Count() > 0 {
		p50, p99 := h.Quantile(0.5), h.Quantile(0.99)
		s.BaselineP50, s.BaselineP99 = &p50, &p99
	}
	return s
}

// momentsShown is how many slow calls a timeline has at most.
const momentsShown = 3

// smallShare: culprits that took less are not worth a line.
const smallShare = 0.02

// timeline gathers what shows a finding: the machine when it began, the
// culprits, the slowest calls, the end.
func timeline(ctx context.Context, s Moments, f rule.Finding) ([]Moment, error) {
	out := []Moment{}
	from, to := f.Start.UnixNano(), f.End.UnixNano()
	snaps, err := s.Snapshots(ctx, store.Filter{From: from, To: to})
	if err != nil {
		return nil, err
	}
	if len(snaps) > 0 {
		worst := slices.MaxFunc(snaps, func(a, b event.Snapshot) int { return cmp.Compare(a.CPU, b.CPU) })
		out = append(out, Moment{
			At: time.Unix(0, worst.Time).UTC(), Layer: "SYSTEM",
			Text: fmt.Sprintf("CPU %.0f%%, memory %.0f%%, load %.1f, swap %d MB", worst.CPU, worst.Mem, worst.Load, worst.Swap),
		})
	}
	for i, c := range f.Culprits {
		if i == momentsShown || c.Share < smallShare {
			break
		}
		out = append(out, Moment{
			At: f.Start.UTC(), Layer: layerOf(f.Kind), PID: c.PID, Comm: c.Comm, Duration: int64(c.NS),
			Text: fmt.Sprintf("%s (PID %d) took %s of PID %d's time", c.Comm, c.PID, ShortDuration(int64(c.NS)), f.Process.PID),
		})
	}
	slow, err := slowest(ctx, s, f, from, to)
	if err != nil {
		return nil, err
	}
	out = append(out, slow...)
	if !f.Ongoing && f.Kind != "cold_start" && f.Kind != "oom_kill" {
		out = append(out, Moment{At: f.End.UTC(), Layer: layerOf(f.Kind), PID: f.Process.PID, Comm: f.Process.Comm, Text: "over"})
	}
	slices.SortStableFunc(out, func(a, b Moment) int { return a.At.Compare(b.At) })
	return out, nil
}

func slowest(ctx context.Context, s Moments, f rule.Finding, from, to int64) ([]Moment, error) {
	filter := store.Filter{From: from, To: to, PIDs: []uint32{f.Process.PID}}
	op := f.Symptom.Op
	if op == 0 {
		op = opGap
	}
	filter.Ops = []event.Op{op}
	events, err := s.Slowest(ctx, filter, momentsShown)
	if err != nil {
		return nil, err
	}
	var out []Moment
	for _, e := range events {
		name := e.Op.String()
		if e.Op == opGap {
			name = betweenCalls
		}
		text := fmt.Sprintf("%s %s", name, ShortDuration(e.Dur))
		if f.Symptom.Usual != nil && f.Symptom.Usual.Count() > 0 {
			text += fmt.Sprintf(" (normally %s)", ShortDuration(int64(f.Symptom.Usual.Quantile(0.5))))
		}
		if e.Runnable > 0 || e.Blocked > 0 {
			text += fmt.Sprintf(": %s waiting for a CPU, %s blocked", ShortDuration(max(e.Runnable, 0)), ShortDuration(max(e.Blocked, 0)))
		}
		out = append(out, Moment{
			At: time.Unix(0, e.Start).UTC(), Layer: layerOfOp(e.Op), PID: e.PID, Comm: e.Comm, Text: text, Duration: e.Dur,
		})
	}
	return out, nil
}

var opGap = event.MakeOp(event.Host, 14)

// layerOf is where a kind of cause is at home.
func layerOf(kind string) string {
	switch kind {
	case "block_io":
		return "IO"
	case "network_wait", "tcp_retransmit":
		return "NET"
	case "gpu_bound", "gpu_contention", "gpu_throttled", "memcpy_bound":
		return "GPU"
	case "alloc_churn", "cold_start":
		return "CUDA"
	case "graph_recapture", "graph_pool":
		return "GRAPH"
	}
	return "HOST"
}

func layerOfOp(op event.Op) string {
	switch op.Source() {
	case event.CUDA:
		return "CUDA"
	case event.Driver:
		return "DRIVER"
	case event.Graph:
		return "GRAPH"
	case event.IO:
		return "IO"
	case event.TCP, event.Net:
		return "NET"
	}
	return "HOST"
}

// evidence names the tables that a finding was made from.
func evidence(f rule.Finding) []Evidence {
	where := fmt.Sprintf("second >= %d AND second < %d AND process IN (SELECT id FROM processes WHERE pid = %d)",
		f.Start.Unix(), f.End.Unix(), f.Process.PID)
	out := []Evidence{{
		Text: "where the threads of the process spent this time",
		SQL: "SELECT l.tid, coalesce(o.name, 'between calls') AS place, s.name AS state, sum(l.ns) / 1e6 AS ms FROM ledger l " +
			"JOIN states s ON s.id = l.state LEFT JOIN ops o ON o.source_id = l.source AND o.op_id = l.op WHERE " + where +
			" GROUP BY 1, 2, 3 ORDER BY ms DESC LIMIT 20",
	}}
	switch f.Kind {
	case "cpu_contention", "noisy_neighbor", "lock_wait", "block_io", "network_wait", "cpu_throttled":
		out = append(out, Evidence{
			Text: "who had its CPUs, ended its waits or used its disk meanwhile",
			SQL: "SELECT s.name AS waited_for, other_pid, other_comm, sum(ns) / 1e6 AS ms, sum(count) AS times FROM waits w JOIN states s ON s.id = w.state WHERE " +
				where + " GROUP BY 1, 2, 3 ORDER BY ms DESC LIMIT 20",
		})
	default:
		out = append(out, Evidence{
			Text: "its operations, second by second",
			SQL: "SELECT second, o.name, count, sum_ns / 1e6 AS ms, max_ns / 1e6 AS max_ms, bytes FROM call_stats c JOIN ops o ON o.source_id = c.source AND o.op_id = c.op WHERE " +
				where + " ORDER BY second, ms DESC",
		})
	}
	return out
}

// What an explanation may rest on.
const (
	basisLedger = "ledger"
	basisCalls  = "calls"
)

func basis(w *rule.Window) string {
	for i := range w.Processes {
		for k := range w.Processes[i].Seconds {
			if len(w.Processes[i].Seconds[k].Ledger) > 0 {
				return basisLedger
			}
		}
	}
	return basisCalls
}
