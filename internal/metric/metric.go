// Package metric says what was measured in the terms of OpenTelemetry: totals
// since the start, present values and distributions, each with its unit and
// attributes. It is the one source of what Prometheus and OTLP are told.
package metric

import (
	"time"

	"ingero/internal/stats"
)

// Kind is the form of a metric.
type Kind uint8

const (
	Sum       Kind = iota // grows from Start on
	UpDown                // a sum that also shrinks
	Gauge                 // the present value
	Histogram             // a distribution of durations since Start
)

// Attr is one attribute of a point. Keys are those of the semantic conventions
// of OpenTelemetry where they have one.
type Attr struct{ Key, Value string }

// Point is one time series of a metric.
type Point struct {
	Attrs []Attr // ordered by key, each key once
	Value float64
	// Hist is the distribution, of ns; in the metric's unit, s, they are a
	// thousand millionth. Nil unless the metric is a Histogram. It does not
	// change any more.
	Hist *stats.Histogram
}

// Metric is one measured thing.
type Metric struct {
	Name   string // as OpenTelemetry writes it: gpu.cuda.operation.duration
	Unit   string // UCUM: s, By, 1, {call}
	Help   string
	Kind   Kind
	Int    bool // the values are whole numbers
	Points []Point
}

// Severity of a finding, by the numbers of OpenTelemetry's log data model.
type Severity int32

const (
	Info  Severity = 9  // LOW
	Warn  Severity = 13 // MEDIUM
	Error Severity = 17 // HIGH
)

// Log is a finding: told when it begins, when it changes its severity or
// culprit, and when it ends.
type Log struct {
	Time     time.Time // when what it tells of happened
	Observed time.Time // when we knew
	Severity Severity
	Text     string // LOW, MEDIUM, HIGH
	Body     string
	Event    string // event.name: ingero.finding
	Attrs    []Attr
}

// Snapshot is everything measured until Time.
type Snapshot struct {
	Resource []Attr // of this agent and host: service.name, host.name …
	Start    time.Time
	Time     time.Time
	Metrics  []Metric
}

// Source has something to tell. Both methods may be called at any time, from
// any goroutine.
type Source interface {
	// Snapshot returns what is known now. The caller may keep it, and must not
	// change it.
	Snapshot() Snapshot
	// Logs returns the findings since the cursor of the call before (0 at
	// first), the new cursor, and how many were forgotten in between.
	Logs(cursor uint64) (logs []Log, next, forgotten uint64)
}
