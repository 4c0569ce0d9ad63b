// Package otlp tells an OpenTelemetry collector what was measured and found,
// by OTLP over HTTP (JSON or protobuf) or gRPC. It knows nothing of what it
// tells, and whoever measures never waits for it.
package otlp

import (
	"context"
	"sync"
	"time"

	"ingero/internal/metric"
)

const (
	lastPush = 3 * time.Second // for the last push, at the end
	lastTry  = time.Second     // when the one before failed
	logEvery = time.Second     // how long a finding may wait
)

// Exporter pushes metrics and findings until it is told to end.
type Exporter struct {
	source  metric.Source
	scope   metric.Attr // name and version
	config  *Config
	metrics *stream // nil if they are not wanted
	logs    *stream

	cursor  uint64 // of the findings taken from source
	pending []metric.Log
}

// New prepares an exporter. Lines for the user go to say: when the collector
// stops taking what it is sent, and when it takes it again. Each request goes
// to debugf. The version is that of the program.
func New(c *Config, version string, source metric.Source, say, debugf func(format string, args ...any)) *Exporter {
	e := &Exporter{source: source, scope: metric.Attr{Key: "ingero", Value: version}, config: c}
	links := map[string]*link{}
	open := func(t *Target) *stream {
		if t == nil {
			return nil
		}
		host := t.url.Scheme + "://" + t.url.Host
		if links[host] == nil {
			links[host] = &link{name: host}
		}
		return newStream(newClient(t, version), links[host], say, debugf)
	}
	e.metrics, e.logs = open(c.Metrics), open(c.Logs)
	return e
}

// Run pushes until ctx ends, and then once more what is new, for which it
// takes some seconds at most.
func (e *Exporter) Run(ctx context.Context) {
	var both sync.WaitGroup
	if e.metrics != nil {
		both.Go(func() { e.metrics.run(ctx, e.config.Interval, e.pushMetrics) })
	}
	if e.logs != nil {
		both.Go(func() { e.logs.run(ctx, logEvery, e.pushLogs) })
	}
	both.Wait()
}

// pushMetrics sends a snapshot. What fails is not kept: all values are totals
// or present ones, so the next snapshot says the same and more.
func (e *Exporter) pushMetrics(ctx context.Context) outcome {
	snapshot := e.source.Snapshot()
	result := idle
	for request, n := range metricRequests(snapshot, e.config.Resource, e.scope) {
		switch e.metrics.send(ctx, request, n) {
		case later:
			return later
		case refused:
			result = refused // this request; another may be fine
		case taken:
			result = max(result, taken)
		}
	}
	return result
}

// pushLogs sends the findings since the last ones that were taken. They wait
// in the source, which keeps so many, and those that were fetched, here.
func (e *Exporter) pushLogs(ctx context.Context) outcome {
	result := idle
	for {
		if len(e.pending) == 0 {
			var forgotten uint64
			if e.pending, e.cursor, forgotten = e.source.Logs(e.cursor); forgotten > 0 {
				e.logs.drop(forgotten)
			}
		}
		if len(e.pending) == 0 {
			return result
		}
		request, n := logRequest(e.pending, e.source.Snapshot().Resource, e.config.Resource, e.scope)
		now := e.logs.send(ctx, request, n)
		if now == later {
			return later
		}
		result = max(result, now)
		e.pending = e.pending[n:]
	}
}
