package otlp

import (
	"encoding/json"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	colmetrics "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
)

// appendJSON appends the OTLP form of JSON, which is that of protobuf with
// numbers for enums and hexadecimal identifiers (we have none). Metrics are
// written here, since protojson takes eight times as long for them.
func appendJSON(b []byte, m proto.Message) ([]byte, error) {
	request, ok := m.(*colmetrics.ExportMetricsServiceRequest)
	if !ok {
		return protojson.MarshalOptions{UseEnumNumbers: true}.MarshalAppend(b, m)
	}
	w := &jsonWriter{b: b}
	w.object(func() {
		list(w, "resourceMetrics", request.ResourceMetrics, func(r *metrics.ResourceMetrics) {
			w.key("resource")
			w.object(func() { w.attributes(r.Resource.GetAttributes()) })
			list(w, "scopeMetrics", r.ScopeMetrics, func(s *metrics.ScopeMetrics) {
				w.key("scope")
				w.object(func() {
					w.text("name", s.Scope.GetName())
					w.text("version", s.Scope.GetVersion())
				})
				list(w, "metrics", s.Metrics, w.metric)
			})
		})
	})
	return w.b, nil
}

// jsonWriter appends JSON. Like protojson it leaves out what is zero, unless
// it is known to be.
type jsonWriter struct{ b []byte }

func (w *jsonWriter) metric(m *metrics.Metric) {
	w.text("name", m.Name)
	w.text("description", m.Description)
	w.text("unit", m.Unit)
	switch d := m.Data.(type) {
	case *metrics.Metric_Gauge:
		w.key("gauge")
		w.object(func() { list(w, "dataPoints", d.Gauge.DataPoints, w.number) })
	case *metrics.Metric_Sum:
		w.key("sum")
		w.object(func() {
			list(w, "dataPoints", d.Sum.DataPoints, w.number)
			w.integer("aggregationTemporality", int64(d.Sum.AggregationTemporality))
			if d.Sum.IsMonotonic {
				w.key("isMonotonic")
				w.b = append(w.b, "true"...)
			}
		})
	case *metrics.Metric_ExponentialHistogram:
		w.key("exponentialHistogram")
		w.object(func() {
			list(w, "dataPoints", d.ExponentialHistogram.DataPoints, w.histogram)
			w.integer("aggregationTemporality", int64(d.ExponentialHistogram.AggregationTemporality))
		})
	}
}

func (w *jsonWriter) number(p *metrics.NumberDataPoint) {
	w.attributes(p.Attributes)
	w.long("startTimeUnixNano", p.StartTimeUnixNano)
	w.long("timeUnixNano", p.TimeUnixNano)
	switch v := p.Value.(type) {
	case *metrics.NumberDataPoint_AsInt:
		w.key("asInt")
		w.b = append(strconv.AppendInt(append(w.b, '"'), v.AsInt, 10), '"')
	case *metrics.NumberDataPoint_AsDouble:
		w.double("asDouble", &v.AsDouble)
	}
}

func (w *jsonWriter) histogram(p *metrics.ExponentialHistogramDataPoint) {
	w.attributes(p.Attributes)
	w.long("startTimeUnixNano", p.StartTimeUnixNano)
	w.long("timeUnixNano", p.TimeUnixNano)
	w.long("count", p.Count)
	w.double("sum", p.Sum)
	w.integer("scale", int64(p.Scale))
	w.long("zeroCount", p.ZeroCount)
	w.key("positive")
	w.object(func() {
		w.integer("offset", int64(p.Positive.GetOffset()))
		if counts := p.Positive.GetBucketCounts(); len(counts) > 0 {
			w.key("bucketCounts")
			w.b = append(w.b, '[')
			for i, n := range counts {
				if i > 0 {
					w.b = append(w.b, ',')
				}
				w.b = append(strconv.AppendUint(append(w.b, '"'), n, 10), '"')
			}
			w.b = append(w.b, ']')
		}
	})
	w.double("max", p.Max)
	w.double("zeroThreshold", &p.ZeroThreshold)
}

func (w *jsonWriter) attributes(all []*common.KeyValue) {
	list(w, "attributes", all, func(a *common.KeyValue) {
		w.text("key", a.Key)
		w.key("value")
		w.object(func() {
			w.key("stringValue")
			w.quoted(a.Value.GetStringValue())
		})
	})
}

func (w *jsonWriter) object(fields func()) {
	w.b = append(w.b, '{')
	fields()
	w.b = append(w.b, '}')
}

// list writes a field that has many values, if there are any.
func list[T any](w *jsonWriter, name string, all []T, fields func(T)) {
	if len(all) == 0 {
		return
	}
	w.key(name)
	for i, v := range all {
		w.b = append(w.b, "[,"[min(i, 1)], '{')
		fields(v)
		w.b = append(w.b, '}')
	}
	w.b = append(w.b, ']')
}

func (w *jsonWriter) key(name string) {
	if w.b[len(w.b)-1] != '{' {
		w.b = append(w.b, ',')
	}
	w.b = append(append(append(w.b, '"'), name...), `":`...)
}

func (w *jsonWriter) text(name, value string) {
	if value != "" {
		w.key(name)
		w.quoted(value)
	}
}

func (w *jsonWriter) quoted(s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			b, err := json.Marshal(s)
			if err != nil {
				panic(err) // texts always can be
			}
			w.b = append(w.b, b...)
			return
		}
	}
	w.b = append(append(append(w.b, '"'), s...), '"')
}

// integer is one of 32 bits, a number in JSON.
func (w *jsonWriter) integer(name string, v int64) {
	if v != 0 {
		w.key(name)
		w.b = strconv.AppendInt(w.b, v, 10)
	}
}

// long is one of 64 bits, a text in JSON.
func (w *jsonWriter) long(name string, v uint64) {
	if v != 0 {
		w.key(name)
		w.b = append(strconv.AppendUint(append(w.b, '"'), v, 10), '"')
	}
}

func (w *jsonWriter) double(name string, v *float64) {
	if v == nil {
		return
	}
	w.key(name)
	switch {
	case math.IsNaN(*v):
		w.b = append(w.b, `"NaN"`...)
	case math.IsInf(*v, 1):
		w.b = append(w.b, `"Infinity"`...)
	case math.IsInf(*v, -1):
		w.b = append(w.b, `"-Infinity"`...)
	default:
		w.b = strconv.AppendFloat(w.b, *v, 'g', -1, 64)
	}
}
