package otlp

import (
	"iter"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	collogs "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	metrics "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	resource "go.opentelemetry.io/proto/slim/otlp/resource/v1"

	"ingero/internal/metric"
	"ingero/internal/stats"
)

// maxRequest is the estimated size at which a request is closed, in bytes
// before compression. Collectors take 4 MiB over gRPC.
const maxRequest = 3 << 20

// maxLogs is the most findings in a request.
const maxLogs = 256

// metricRequests are the messages that tell a snapshot, and how many points
// are in each: one, if it is not large.
func metricRequests(s metric.Snapshot, over []metric.Attr, scope metric.Attr) iter.Seq2[proto.Message, int] {
	return func(yield func(proto.Message, int) bool) {
		var batch []*metrics.Metric
		size, count := 0, 0
		send := func() bool {
			n := count
			m := &colmetrics.ExportMetricsServiceRequest{ResourceMetrics: []*metrics.ResourceMetrics{{
				Resource:     resourceOf(s.Resource, over),
				ScopeMetrics: []*metrics.ScopeMetrics{{Scope: scopeOf(scope), Metrics: batch}},
			}}}
			batch, size, count = nil, 0, 0
			return yield(m, n)
		}
		for _, m := range s.Metrics {
			for points := m.Points; len(points) > 0; {
				n := fits(points, maxRequest-size)
				if n == 0 && size > 0 {
					if !send() {
						return
					}
					continue
				}
				n = max(n, 1)
				count += n
				for _, p := range points[:n] {
					size += pointSize(p)
				}
				batch = append(batch, metricOf(m, points[:n], s.Start, s.Time))
				points = points[n:]
			}
		}
		if len(batch) > 0 {
			send()
		}
	}
}

// fits returns how many of the points have room in so many bytes.
func fits(points []metric.Point, room int) int {
	for i, p := range points {
		if room -= pointSize(p); room < 0 {
			return i
		}
	}
	return len(points)
}

// pointSize is about what a point takes in JSON, which is never less than in
// protobuf: the names of fields, texts with room for some escapes, and the
// counts of buckets, most of which are zero.
func pointSize(p metric.Point) int {
	n := 120
	for _, a := range p.Attrs {
		n += 44 + len(a.Key) + len(a.Value)
	}
	if p.Hist != nil {
		used, first, last := 0, 0, 0
		p.Hist.Each(func(i int, _ uint64) {
			if used++; used == 1 {
				first = i
			}
			last = i
		})
		n += 240 + 4*(last-first+1) + 10*used
	}
	return n
}

func metricOf(m metric.Metric, points []metric.Point, start, now time.Time) *metrics.Metric {
	out := &metrics.Metric{Name: m.Name, Description: m.Help, Unit: m.Unit}
	const total = metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE
	switch m.Kind {
	case metric.Histogram:
		h := &metrics.ExponentialHistogram{AggregationTemporality: total}
		for _, p := range points {
			h.DataPoints = append(h.DataPoints, histogramPoint(p, start, now))
		}
		out.Data = &metrics.Metric_ExponentialHistogram{ExponentialHistogram: h}
	case metric.Gauge:
		out.Data = &metrics.Metric_Gauge{Gauge: &metrics.Gauge{DataPoints: numbers(m, points, time.Time{}, now)}}
	default:
		out.Data = &metrics.Metric_Sum{Sum: &metrics.Sum{
			AggregationTemporality: total, IsMonotonic: m.Kind == metric.Sum, DataPoints: numbers(m, points, start, now),
		}}
	}
	return out
}

func numbers(m metric.Metric, points []metric.Point, start, now time.Time) []*metrics.NumberDataPoint {
	all := make([]*metrics.NumberDataPoint, len(points))
	for i, p := range points {
		all[i] = &metrics.NumberDataPoint{Attributes: attributes(p.Attrs), StartTimeUnixNano: nanos(start), TimeUnixNano: nanos(now)}
		if m.Int {
			all[i].Value = &metrics.NumberDataPoint_AsInt{AsInt: int64(p.Value)}
		} else {
			all[i].Value = &metrics.NumberDataPoint_AsDouble{AsDouble: p.Value}
		}
	}
	return all
}

// histogramPoint tells a distribution of ns in seconds. Its count and sum are
// exact, and so is its maximum.
func histogramPoint(p metric.Point, start, now time.Time) *metrics.ExponentialHistogramDataPoint {
	h := p.Hist
	if h == nil {
		h = &stats.Histogram{}
	}
	s := h.Seconds()
	count := h.Count()
	out := &metrics.ExponentialHistogramDataPoint{
		Attributes: attributes(p.Attrs), StartTimeUnixNano: nanos(start), TimeUnixNano: nanos(now),
		Count: count, Sum: proto.Float64(float64(h.Sum()) / 1e9), Scale: stats.Scale,
		ZeroCount: s.Zero, ZeroThreshold: stats.ZeroSeconds,
		Positive: &metrics.ExponentialHistogramDataPoint_Buckets{Offset: int32(s.First), BucketCounts: s.Counts},
	}
	if count > 0 {
		out.Max = proto.Float64(float64(h.Max()) / 1e9)
	}
	return out
}

// logRequest tells the first n of some findings.
func logRequest(all []metric.Log, found, over []metric.Attr, scope metric.Attr) (m proto.Message, n int) {
	n = min(len(all), maxLogs)
	records := make([]*logs.LogRecord, n)
	for i, l := range all[:n] {
		records[i] = &logs.LogRecord{
			TimeUnixNano: nanos(l.Time), ObservedTimeUnixNano: nanos(l.Observed),
			SeverityNumber: logs.SeverityNumber(l.Severity), SeverityText: l.Text,
			Body: text(l.Body), EventName: l.Event, Attributes: attributes(l.Attrs),
		}
	}
	return &collogs.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{{
		Resource:  resourceOf(found, over),
		ScopeLogs: []*logs.ScopeLogs{{Scope: scopeOf(scope), LogRecords: records}},
	}}}, n
}

func resourceOf(found, over []metric.Attr) *resource.Resource {
	return &resource.Resource{Attributes: attributes(merge(found, over))}
}

func scopeOf(a metric.Attr) *common.InstrumentationScope {
	return &common.InstrumentationScope{Name: a.Key, Version: a.Value}
}

func attributes(all []metric.Attr) []*common.KeyValue {
	out := make([]*common.KeyValue, len(all))
	for i, a := range all {
		out[i] = &common.KeyValue{Key: a.Key, Value: text(a.Value)}
	}
	return out
}

// text mends names of processes and the like, which may be any bytes: a
// message must be valid UTF-8.
func text(s string) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: strings.ToValidUTF8(s, "\uFFFD")}}
}

// nanos is 0, which means unknown, for no time.
func nanos(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixNano())
}
