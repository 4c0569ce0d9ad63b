// Package prometheus asks Prometheus' own OTLP receiver, database and query
// engine what they make of what is pushed. Debian's Prometheus is built
// without the receiver.
package prometheus

import (
	"context"
	"log/slog"
	"math"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb"

	"ingero/internal/metric"
	"ingero/internal/otlp"
	"ingero/internal/stats"
)

// still is a source that says the same at any time, and has no findings.
type still metric.Snapshot

func (s still) Snapshot() metric.Snapshot                  { return metric.Snapshot(s) }
func (s still) Logs(uint64) ([]metric.Log, uint64, uint64) { return nil, 0, 0 }

// example is 100 calls that took 1 µs, 2 µs … 100 µs.
func example() still {
	h := &stats.Histogram{}
	for ns := uint64(1000); ns <= 100_000; ns += 1000 {
		h.Add(ns)
	}
	now := time.Now()
	op := []metric.Attr{{Key: "operation", Value: "cudaMalloc"}}
	return still{
		Resource: []metric.Attr{{Key: "service.instance.id", Value: "gpu-node-07"}, {Key: "service.name", Value: "ingero"}},
		Start:    now.Add(-time.Minute), Time: now,
		Metrics: []metric.Metric{
			{Name: "gpu.cuda.operation.count", Unit: "{call}", Int: true, Points: []metric.Point{{Attrs: op, Value: 100}}},
			{Name: "gpu.cuda.operation.duration", Unit: "s", Kind: metric.Histogram, Points: []metric.Point{{Attrs: op, Hist: h}}},
			{Name: "system.cpu.utilization", Unit: "1", Kind: metric.Gauge, Points: []metric.Point{{Value: 0.52}}},
		},
	}
}

func TestReceiver(t *testing.T) {
	for _, protocol := range []string{"http/json", "http/protobuf"} {
		t.Run(protocol, func(t *testing.T) {
			db, err := tsdb.Open(t.TempDir(), nil, nil, tsdb.DefaultOptions(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			settings := func() config.Config { return config.DefaultConfig }
			s := httptest.NewServer(remote.NewOTLPWriteHandler(slog.New(slog.DiscardHandler), prometheus.NewRegistry(), db, settings, remote.OTLPOptions{}))
			defer s.Close()
			push(t, s.URL+"/api/v1/otlp", protocol)
			const labels = `{operation="cudaMalloc",job="ingero",instance="gpu-node-07"}`
			for expr, want := range map[string]float64{
				`gpu_cuda_operation_count_total` + labels:                                    100,
				`system_cpu_utilization_ratio`:                                               0.52,
				`histogram_count(gpu_cuda_operation_duration_seconds` + labels + `)`:         100,
				`histogram_sum(gpu_cuda_operation_duration_seconds)`:                         5.05e-3,
				`histogram_quantile(0.5, gpu_cuda_operation_duration_seconds)`:               50e-6,
				`histogram_quantile(0.99, gpu_cuda_operation_duration_seconds)`:              99e-6,
				`100 * histogram_fraction(0, 20e-6, gpu_cuda_operation_duration_seconds)`:    20,
				`100 * histogram_fraction(50e-6, +Inf, gpu_cuda_operation_duration_seconds)`: 50,
			} {
				if got := ask(t, db, expr); !(math.Abs(got/want-1) < 0.03) {
					t.Errorf("%s = %v, want %v", expr, got, want)
				}
			}
		})
	}
}

// push says the example once.
func push(t *testing.T, endpoint, protocol string) {
	t.Helper()
	c, err := otlp.Parse(otlp.Options{Endpoint: endpoint, Protocol: protocol, Getenv: func(string) string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	otlp.New(c, "1.2.3", example(), t.Errorf, func(string, ...any) {}).Run(ctx)
}

// ask returns the only value that PromQL gives.
func ask(t *testing.T, db *tsdb.DB, expr string) float64 {
	t.Helper()
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1000, Timeout: 10 * time.Second})
	q, err := engine.NewInstantQuery(t.Context(), db, nil, expr, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	v, err := q.Exec(t.Context()).Vector()
	if err != nil {
		t.Fatal(err)
	}
	if len(v) != 1 {
		t.Errorf("%s has %d values", expr, len(v))
		return math.NaN()
	}
	return v[0].F
}
