// Tests of what is pushed, against the receiver of the OpenTelemetry
// Collector. They are a module of their own, so that what the receiver needs
// stays out of the program's.
package otlp

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
)

// collector is the OTLP receiver of the OpenTelemetry Collector, and what it
// received.
type collector struct {
	http, grpc string // addresses
	metrics    consumertest.MetricsSink
	logs       consumertest.LogsSink
}

// collect starts a collector whose listeners are configured like this, in the
// words of its YAML.
func collect(t *testing.T, listener map[string]any) *collector {
	t.Helper()
	c := &collector{http: free(t), grpc: free(t)}
	with := func(address string) map[string]any {
		m := map[string]any{"endpoint": address, "include_metadata": true}
		for k, v := range listener {
			m[k] = v
		}
		return m
	}
	factory := otlpreceiver.NewFactory()
	config := factory.CreateDefaultConfig()
	if err := confmap.NewFromStringMap(map[string]any{
		"protocols": map[string]any{"http": with(c.http), "grpc": with(c.grpc)},
	}).Unmarshal(config); err != nil {
		t.Fatal(err)
	}
	settings := receivertest.NewNopSettings(factory.Type())
	metrics, err := factory.CreateMetrics(t.Context(), settings, config, &c.metrics)
	if err != nil {
		t.Fatal(err)
	}
	logs, err := factory.CreateLogs(t.Context(), settings, config, &c.logs)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []component.Component{metrics, logs} { // one server for both
		if err := part.Start(t.Context(), componenttest.NewNopHost()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := part.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	return c
}

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// address is where a protocol is spoken.
func (c *collector) address(protocol string) string {
	if protocol == "grpc" {
		return c.grpc
	}
	return c.http
}

// header returns what came with a request.
func header(ctx context.Context, name string) string {
	return strings.Join(client.FromContext(ctx).Metadata.Get(name), ",")
}

// last calls f for each metric of this name in the last snapshot that came:
// one snapshot may take several requests, all of the same time.
func (c *collector) last(name string, f func(pmetric.Metric)) {
	all := c.metrics.AllMetrics()
	var newest time.Time
	each := func(visit func(pmetric.Metric, time.Time)) {
		for _, m := range all {
			for _, r := range m.ResourceMetrics().All() {
				for _, s := range r.ScopeMetrics().All() {
					for _, m := range s.Metrics().All() {
						if m.Name() == name {
							visit(m, timeOf(m))
						}
					}
				}
			}
		}
	}
	each(func(_ pmetric.Metric, at time.Time) {
		if at.After(newest) {
			newest = at
		}
	})
	each(func(m pmetric.Metric, at time.Time) {
		if at.Equal(newest) {
			f(m)
		}
	})
}

func timeOf(m pmetric.Metric) time.Time {
	switch m.Type() {
	case pmetric.MetricTypeSum:
		return m.Sum().DataPoints().At(0).Timestamp().AsTime()
	case pmetric.MetricTypeGauge:
		return m.Gauge().DataPoints().At(0).Timestamp().AsTime()
	case pmetric.MetricTypeExponentialHistogram:
		return m.ExponentialHistogram().DataPoints().At(0).Timestamp().AsTime()
	}
	return time.Time{}
}
