// Package prom says what was measured in the form of Prometheus: names after
// the rules by which OpenTelemetry is translated, distributions as native
// histograms and as classic buckets at once.
package prom

import (
	"strings"

	"ingero/internal/metric"
)

// units are those of UCUM that we use, as Prometheus spells them.
var units = map[string]string{"s": "seconds", "By": "bytes", "Hz": "hertz", "W": "watts", "Cel": "celsius"}

// Name is what Prometheus calls the metric: gpu_cuda_operation_duration_seconds.
func Name(m metric.Metric) string {
	name := Label(m.Name)
	unit := units[m.Unit]
	if m.Unit == "1" && m.Kind == metric.Gauge {
		unit = "ratio"
	}
	if unit != "" && !strings.HasSuffix(name, "_"+unit) {
		name += "_" + unit
	}
	if m.Kind == metric.Sum {
		name += "_total"
	}
	return name
}

// Label is what Prometheus calls an attribute: process_pid.
func Label(key string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, key)
}
