package otlp

import "ingero/internal/metric"

// Metrics are what became of the pushes, for those who are told what was
// measured: these pushes themselves, and Prometheus.
func (e *Exporter) Metrics() []metric.Metric {
	all := []metric.Metric{
		{Name: "ingero.otlp.requests", Unit: "{request}", Help: "Requests that the OTLP collector took"},
		{Name: "ingero.otlp.failures", Unit: "{request}", Help: "Requests that the OTLP collector did not take"},
		{Name: "ingero.otlp.items", Unit: "{item}", Help: "Points and findings that the OTLP collector took"},
		{Name: "ingero.otlp.rejected", Unit: "{item}", Help: "Points and findings that the OTLP collector refused"},
		{Name: "ingero.otlp.dropped", Unit: "{item}", Help: "Findings that were forgotten before the OTLP collector took them"},
		{Name: "ingero.otlp.sent", Unit: "By", Help: "Bodies of requests that the OTLP collector took, as they were sent"},
	}
	for _, s := range []*stream{e.logs, e.metrics} { // ordered by name
		if s == nil {
			continue
		}
		c := s.Counts()
		attrs := []metric.Attr{{Key: "signal", Value: s.signal.name}}
		for i, n := range []uint64{c.Requests, c.Failures, c.Items, c.Rejected, c.Dropped, c.Bytes} {
			all[i].Int = true
			all[i].Points = append(all[i].Points, metric.Point{Attrs: attrs, Value: float64(n)})
		}
	}
	return all
}
