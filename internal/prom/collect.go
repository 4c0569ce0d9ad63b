package prom

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"ingero/internal/metric"
)

// Collector makes a source one of Prometheus's collectors.
type Collector struct {
	Source metric.Source
	Native bool // distributions as native histograms as well, which no text can tell
}

// Describe says nothing: which time series there are is known when they are
// asked for.
func (Collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends everything that is known now.
func (c Collector) Collect(out chan<- prometheus.Metric) {
	s := c.Source.Snapshot()
	labels := newLabelCache()
	for _, m := range s.Metrics {
		desc := prometheus.NewDesc(Name(m), m.Help, nil, nil)
		for i := range m.Points {
			out <- point{desc, m.Kind, &m.Points[i], labels.of(m.Points[i].Attrs), c.Native}
		}
	}
	out <- point{target, metric.Gauge, &metric.Point{Value: 1}, labels.of(resource(s.Resource)), false}
}

// target is the metric that has the attributes of a resource, by the rules of
// OpenTelemetry.
var target = prometheus.NewDesc("target_info", "1, with what is known of this agent and its host.", nil, nil)

// resource leaves out what Prometheus says in the labels job and instance.
func resource(attrs []metric.Attr) []metric.Attr {
	var all []metric.Attr
	for _, a := range attrs {
		if a.Key != "service.name" && a.Key != "service.instance.id" {
			all = append(all, a)
		}
	}
	return all
}

// point is one time series.
type point struct {
	desc   *prometheus.Desc
	kind   metric.Kind
	point  *metric.Point
	labels []*dto.LabelPair
	native bool
}

// Desc returns what the metric is.
func (p point) Desc() *prometheus.Desc { return p.desc }

// Write fills in the value.
func (p point) Write(m *dto.Metric) error {
	m.Label = p.labels
	switch p.kind {
	case metric.Sum:
		m.Counter = &dto.Counter{Value: proto.Float64(p.point.Value)}
	case metric.Histogram:
		m.Histogram = histogram(p.point.Hist)
		if p.native {
			native(m.Histogram, p.point.Hist)
		}
	default:
		m.Gauge = &dto.Gauge{Value: proto.Float64(p.point.Value)}
	}
	return nil
}

// labelCache keeps what several time series share.
type labelCache struct {
	sets  map[*metric.Attr][]*dto.LabelPair
	pairs map[metric.Attr]*dto.LabelPair
}

func newLabelCache() labelCache {
	return labelCache{map[*metric.Attr][]*dto.LabelPair{}, map[metric.Attr]*dto.LabelPair{}}
}

// of returns the labels of attributes. They are in order as attributes are:
// '.' and '_' both come before letters.
func (c labelCache) of(attrs []metric.Attr) []*dto.LabelPair {
	if len(attrs) == 0 {
		return nil
	}
	set, known := c.sets[&attrs[0]]
	if known {
		return set
	}
	set = make([]*dto.LabelPair, len(attrs))
	for i, a := range attrs {
		if c.pairs[a] == nil {
			c.pairs[a] = &dto.LabelPair{Name: proto.String(Label(a.Key)), Value: proto.String(a.Value)}
		}
		set[i] = c.pairs[a]
	}
	c.sets[&attrs[0]] = set
	return set
}
