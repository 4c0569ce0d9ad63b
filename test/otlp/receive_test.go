package otlp

import (
	"context"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"ingero/internal/metric"
	"ingero/internal/otlp"
	"ingero/internal/stats"
)

// still is a source that says the same at any time.
type still struct {
	snapshot metric.Snapshot
	logs     []metric.Log
}

func (s still) Snapshot() metric.Snapshot { return s.snapshot }

func (s still) Logs(cursor uint64) ([]metric.Log, uint64, uint64) {
	return s.logs[cursor:], uint64(len(s.logs)), 0
}

// all has one of everything, and values at the ends of their ranges.
func all() still {
	h := &stats.Histogram{}
	for v := uint64(1); v < 1<<50; v += v/3 + 1 {
		h.Add(v)
	}
	start := time.Unix(1_700_000_000, 123_456_789).UTC()
	attrs := []metric.Attr{{Key: "a", Value: "\"ä\\\x01"}, {Key: "b", Value: ""}}
	return still{
		metric.Snapshot{
			Resource: []metric.Attr{{Key: "host.name", Value: "h"}, {Key: "service.name", Value: "ingero"}},
			Start:    start, Time: start.Add(time.Hour),
			Metrics: []metric.Metric{
				{Name: "count", Unit: "{call}", Help: "Calls", Int: true, Points: []metric.Point{{Attrs: attrs, Value: 1 << 53}, {Value: 0}}},
				{Name: "time", Unit: "s", Points: []metric.Point{{Value: 0.1}, {Value: math.MaxFloat64}}},
				{Name: "processes", Kind: metric.UpDown, Int: true, Points: []metric.Point{{Value: -3}}},
				{Name: "load", Unit: "1", Kind: metric.Gauge, Points: []metric.Point{{Value: 0.25}, {Value: math.Inf(-1)}, {Attrs: attrs}}},
				{Name: "duration", Unit: "s", Kind: metric.Histogram, Points: []metric.Point{{Attrs: attrs, Hist: h}, {Hist: &stats.Histogram{}}}},
			},
		},
		[]metric.Log{
			{Time: start, Observed: start.Add(1), Severity: metric.Error, Text: "HIGH", Body: "b\nody", Event: "ingero.finding", Attrs: attrs},
			{Observed: start, Severity: metric.Info, Text: "LOW"},
		},
	}
}

// push runs an exporter once.
func push(t *testing.T, o otlp.Options, source metric.Source) {
	t.Helper()
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	c, err := otlp.Parse(o)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		t.Errorf("it said: "+format, args...)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	otlp.New(c, "1.2.3", source, say, func(string, ...any) {}).Run(ctx)
}

// What arrives at a collector is what was said, by every protocol.
func TestReceived(t *testing.T) {
	source := all()
	for _, protocol := range []string{"http/json", "http/protobuf", "grpc"} {
		for _, compression := range []string{"gzip", "none"} {
			t.Run(protocol+" "+compression, func(t *testing.T) {
				c := collect(t, nil)
				push(t, otlp.Options{Endpoint: c.address(protocol), Protocol: protocol, Getenv: func(name string) string {
					return map[string]string{"OTEL_EXPORTER_OTLP_COMPRESSION": compression}[name]
				}}, source)
				if got := c.metrics.AllMetrics(); len(got) != 1 {
					t.Fatalf("%d requests of metrics", len(got))
				} else if diff := cmp.Diff(source.snapshot.Metrics, understood(t, got[0], source.snapshot), cmp.Comparer(same)); diff != "" {
					t.Error(diff)
				}
				if got := c.logs.AllLogs(); len(got) != 1 {
					t.Fatalf("%d requests of logs", len(got))
				} else if diff := cmp.Diff(source.logs, findings(t, got[0])); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// same: bucket counts are compared as seconds, which is what was sent.
func same(a, b *stats.Histogram) bool {
	if a == nil || b == nil {
		return a == b
	}
	return cmp.Equal(a.Seconds(), b.Seconds()) && a.Sum() == b.Sum() && a.Max() == b.Max()
}

// understood turns what the collector took back into our terms.
func understood(t *testing.T, m pmetric.Metrics, from metric.Snapshot) []metric.Metric {
	t.Helper()
	r := m.ResourceMetrics().At(0)
	s := r.ScopeMetrics().At(0)
	if diff := cmp.Diff(from.Resource, attrs(r.Resource().Attributes())); diff != "" || s.Scope().Name() != "ingero" || s.Scope().Version() != "1.2.3" {
		t.Error(diff, s.Scope().Name(), s.Scope().Version())
	}
	var all []metric.Metric
	for _, m := range s.Metrics().All() {
		got := metric.Metric{Name: m.Name(), Unit: m.Unit(), Help: m.Description()}
		switch m.Type() {
		case pmetric.MetricTypeGauge:
			got.Kind = metric.Gauge
			numbers(t, &got, m.Gauge().DataPoints(), time.Time{}, from.Time)
		case pmetric.MetricTypeSum:
			if !m.Sum().IsMonotonic() {
				got.Kind = metric.UpDown
			}
			if m.Sum().AggregationTemporality() != pmetric.AggregationTemporalityCumulative {
				t.Errorf("%s is %v", m.Name(), m.Sum().AggregationTemporality())
			}
			numbers(t, &got, m.Sum().DataPoints(), from.Start, from.Time)
		case pmetric.MetricTypeExponentialHistogram:
			got.Kind = metric.Histogram
			if m.ExponentialHistogram().AggregationTemporality() != pmetric.AggregationTemporalityCumulative {
				t.Errorf("%s is %v", m.Name(), m.ExponentialHistogram().AggregationTemporality())
			}
			for _, p := range m.ExponentialHistogram().DataPoints().All() {
				times(t, p, from.Start, from.Time)
				got.Points = append(got.Points, metric.Point{Attrs: attrs(p.Attributes()), Hist: histogram(t, p)})
			}
		}
		all = append(all, got)
	}
	return all
}

func numbers(t *testing.T, m *metric.Metric, points pmetric.NumberDataPointSlice, start, now time.Time) {
	t.Helper()
	for _, p := range points.All() {
		times(t, p, start, now)
		got := metric.Point{Attrs: attrs(p.Attributes()), Value: p.DoubleValue()}
		if p.ValueType() == pmetric.NumberDataPointValueTypeInt {
			m.Int, got.Value = true, float64(p.IntValue())
		}
		m.Points = append(m.Points, got)
	}
}

func times(t *testing.T, p interface {
	Timestamp() pcommon.Timestamp
	StartTimestamp() pcommon.Timestamp
}, start, now time.Time) {
	t.Helper()
	if !p.Timestamp().AsTime().Equal(now) || start.IsZero() != (p.StartTimestamp() == 0) || !start.IsZero() && !p.StartTimestamp().AsTime().Equal(start) {
		t.Errorf("from %v to %v", p.StartTimestamp().AsTime(), p.Timestamp().AsTime())
	}
}

// histogram is the inverse of stats.Seconds.
func histogram(t *testing.T, p pmetric.ExponentialHistogramDataPoint) *stats.Histogram {
	t.Helper()
	h := &stats.Histogram{}
	h.AddBucket(0, p.ZeroCount())
	for i, n := range p.Positive().BucketCounts().All() {
		h.AddBucket(int(p.Positive().Offset())+i+1+957, n)
	}
	h.AddSum(uint64(math.Round(p.Sum()*1e9)), uint64(math.Round(p.Max()*1e9)))
	if p.Scale() != 5 || p.ZeroThreshold() != 1e-9 || p.Count() != h.Count() || p.HasMin() || p.HasMax() != (p.Count() > 0) {
		t.Errorf("scale %d, zero is %g, %d in buckets of %d", p.Scale(), p.ZeroThreshold(), h.Count(), p.Count())
	}
	return h
}

func attrs(m pcommon.Map) []metric.Attr {
	var all []metric.Attr
	for k, v := range m.All() {
		all = append(all, metric.Attr{Key: k, Value: v.AsString()})
	}
	return all
}

func findings(t *testing.T, l plog.Logs) []metric.Log {
	t.Helper()
	var all []metric.Log
	for _, r := range l.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().All() {
		got := metric.Log{
			Observed: r.ObservedTimestamp().AsTime(), Severity: metric.Severity(r.SeverityNumber()), Text: r.SeverityText(),
			Body: r.Body().AsString(), Event: r.EventName(), Attrs: attrs(r.Attributes()),
		}
		if r.Timestamp() != 0 {
			got.Time = r.Timestamp().AsTime()
		}
		all = append(all, got)
	}
	return all
}

// Many points take several requests, which the collector takes all.
func TestManyPoints(t *testing.T) {
	h := &stats.Histogram{}
	for v := uint64(1000); v < 1e8; v += v / 50 {
		h.Add(v)
	}
	m := metric.Metric{Name: "duration", Unit: "s", Kind: metric.Histogram}
	for i := range 6000 {
		m.Points = append(m.Points, metric.Point{Attrs: []metric.Attr{{Key: "operation", Value: fmt.Sprint(i)}}, Hist: h})
	}
	for _, protocol := range []string{"http/json", "http/protobuf", "grpc"} {
		c := collect(t, nil)
		push(t, otlp.Options{Endpoint: c.address(protocol), Protocol: protocol}, still{snapshot: metric.Snapshot{Time: time.Now(), Metrics: []metric.Metric{m}}})
		seen := map[string]bool{}
		c.last("duration", func(m pmetric.Metric) {
			for _, p := range m.ExponentialHistogram().DataPoints().All() {
				op, _ := p.Attributes().Get("operation")
				seen[op.AsString()] = true
			}
		})
		if len(seen) != 6000 || len(c.metrics.AllMetrics()) < 2 {
			t.Errorf("%s: %d points in %d requests", protocol, len(seen), len(c.metrics.AllMetrics()))
		}
	}
}
