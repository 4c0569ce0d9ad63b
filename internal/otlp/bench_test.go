package otlp

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"ingero/internal/metric"
	"ingero/internal/stats"
)

// busy is what a machine with many processes tells: for each of 200 processes
// and 20 operations, a distribution of 1,000 calls and two numbers.
func busy() metric.Snapshot {
	random := rand.New(rand.NewPCG(1, 2))
	begin := time.Unix(1_700_000_000, 0)
	s := metric.Snapshot{
		Resource: []metric.Attr{{Key: "host.name", Value: "gpu-node-07"}, {Key: "service.name", Value: "ingero"}},
		Start:    begin, Time: begin.Add(time.Hour),
	}
	duration := metric.Metric{Name: "gpu.cuda.operation.duration", Unit: "s", Help: "How long calls took", Kind: metric.Histogram}
	count := metric.Metric{Name: "gpu.cuda.operation.count", Unit: "{call}", Help: "Calls", Int: true}
	wait := metric.Metric{Name: "ingero.thread.time", Unit: "s", Help: "Time"}
	for process := range 200 {
		for op := range 20 {
			h := &stats.Histogram{}
			typical := math.Exp(random.Float64()*8 + 7) // 1 µs to 3 ms
			for range 1000 {
				h.Add(uint64(typical * math.Exp(random.NormFloat64()*0.4)))
			}
			attrs := []metric.Attr{
				{Key: "gpu.cuda.operation.name", Value: fmt.Sprintf("cudaOperation%d", op)},
				{Key: "process.executable.name", Value: "python3"},
				{Key: "process.pid", Value: fmt.Sprint(100_000 + process)},
			}
			duration.Points = append(duration.Points, metric.Point{Attrs: attrs, Hist: h})
			count.Points = append(count.Points, metric.Point{Attrs: attrs, Value: 1000})
			wait.Points = append(wait.Points, metric.Point{Attrs: attrs, Value: float64(h.Sum()) / 1e9})
		}
	}
	s.Metrics = []metric.Metric{count, duration, wait}
	return s
}

// BenchmarkPush is a push but for the network: messages, encoded, compressed.
func BenchmarkPush(b *testing.B) {
	s := busy()
	for _, p := range []Protocol{JSON, Protobuf} {
		for _, zip := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/gzip=%v", p, zip), func(b *testing.B) {
				c := &client{Target: &Target{protocol: p, gzip: zip}}
				bytes, requests := 0, 0
				for b.Loop() {
					bytes, requests = 0, 0
					for m := range metricRequests(s, nil, metric.Attr{Key: "ingero", Value: "1"}) {
						body, err := c.encode(m)
						if err != nil {
							b.Fatal(err)
						}
						bytes += len(body)
						requests++
					}
				}
				b.ReportMetric(float64(bytes), "bytes")
				b.ReportMetric(float64(requests), "requests")
			})
		}
	}
}
