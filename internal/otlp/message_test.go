package otlp

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	colmetrics "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	metrics "go.opentelemetry.io/proto/slim/otlp/metrics/v1"

	"ingero/internal/metric"
	"ingero/internal/stats"
)

var update = flag.Bool("update", false, "rewrite expected messages")

var scope = metric.Attr{Key: "ingero", Value: "1.2.3"}

// small has one of everything.
func small() metric.Snapshot {
	h := &stats.Histogram{}
	for _, ns := range []uint64{1, 1000, 1010, 1030, 2_000_000} {
		h.Add(ns)
	}
	start := time.Unix(1_700_000_000, 123_456_789)
	launch := []metric.Attr{{Key: "gpu.cuda.operation.name", Value: "cudaLaunchKernel"}, {Key: "process.executable.name", Value: "tr\"a\\in\x01\xffé"}}
	return metric.Snapshot{
		Resource: []metric.Attr{{Key: "host.name", Value: "gpu-node-07"}, {Key: "service.name", Value: "ingero"}},
		Start:    start, Time: start.Add(90 * time.Second),
		Metrics: []metric.Metric{
			{Name: "gpu.cuda.operation.count", Unit: "{call}", Help: "Calls", Int: true, Points: []metric.Point{{Attrs: launch, Value: 1 << 53}, {}}},
			{Name: "gpu.cuda.operation.duration", Unit: "s", Help: "How long calls took", Kind: metric.Histogram, Points: []metric.Point{{Attrs: launch, Hist: h}, {Hist: &stats.Histogram{}}}},
			{Name: "system.cpu.utilization", Unit: "1", Kind: metric.Gauge, Points: []metric.Point{{Value: 0.52}, {Value: math.NaN()}, {Value: math.Inf(1)}}},
			{Name: "ingero.process.count", Unit: "{process}", Kind: metric.UpDown, Int: true, Points: []metric.Point{{Value: 3}}},
			{Name: "ingero.thread.time", Unit: "s", Kind: metric.Sum, Points: []metric.Point{{Value: 1e-9}, {Value: 1.5e21}}},
			{Name: "nothing.yet", Unit: "s"},
		},
	}
}

func findings() []metric.Log {
	at := time.Unix(1_700_000_000, 0)
	return []metric.Log{
		{
			Time: at, Observed: at.Add(time.Second), Severity: metric.Error, Text: "HIGH", Event: "ingero.finding",
			Body:  "hog (PID 9948) took 2.4s of PID 9945's time",
			Attrs: []metric.Attr{{Key: "ingero.cause", Value: "cpu_contention"}, {Key: "process.pid", Value: "9945"}},
		},
		{Severity: metric.Info, Text: "LOW"},
	}
}

// The messages of JSON are what they were.
func TestGolden(t *testing.T) {
	for name, m := range map[string]proto.Message{"metrics": only(t, small()), "logs": logMessage()} {
		body, err := appendJSON(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, body, "", "  "); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		var got bytes.Buffer // protojson varies the spaces between values
		fmt.Fprintln(&got, strings.ReplaceAll(pretty.String(), "\":  ", "\": "))
		file := "testdata/" + name + ".json"
		if *update {
			if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.String()); diff != "" {
			t.Error(diff)
		}
	}
}

func logMessage() proto.Message {
	m, _ := logRequest(findings(), []metric.Attr{{Key: "service.name", Value: "ingero"}}, nil, scope)
	return m
}

// only returns the message of a snapshot that needs no more.
func only(t *testing.T, s metric.Snapshot) proto.Message {
	t.Helper()
	var all []proto.Message
	for m := range metricRequests(s, []metric.Attr{{Key: "service.name", Value: "mine"}, {Key: "team", Value: "x"}}, scope) {
		all = append(all, m)
	}
	if len(all) != 1 {
		t.Fatalf("%d messages", len(all))
	}
	return all[0]
}

// Our own JSON says the same as protojson.
func TestJSON(t *testing.T) {
	m := only(t, small())
	ours, err := appendJSON(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if err := json.Unmarshal(ours, &a); err != nil {
		t.Fatalf("%v in %s", err, ours)
	}
	if err := json.Unmarshal(theirs, &b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b, a); diff != "" {
		t.Error(diff)
	}
}

func points(m *metrics.Metric) int {
	return len(m.GetSum().GetDataPoints()) + len(m.GetGauge().GetDataPoints()) + len(m.GetExponentialHistogram().GetDataPoints())
}

// Much is told in several requests, none of which is too large for a
// collector, and each point once.
func TestSplit(t *testing.T) {
	const most = 4 << 20
	s := busy()
	wide := &stats.Histogram{} // as large as a point gets
	for v := uint64(1); v < 1<<62; v += v/40 + 1 {
		wide.AddBucket(stats.Bucket(v), 1e15)
	}
	for i := range s.Metrics[1].Points {
		s.Metrics[1].Points[i].Hist = wide
	}
	for i := range s.Metrics[0].Points { // escaped, each character takes six
		s.Metrics[0].Points[i].Attrs = []metric.Attr{{Key: "process.executable.name", Value: strings.Repeat("\x01", 16)}}
	}
	want := map[string]int{}
	for _, m := range s.Metrics {
		want[m.Name] = len(m.Points)
	}
	for _, p := range []Protocol{JSON, Protobuf} {
		got := map[string]int{}
		requests := 0
		for m, n := range metricRequests(s, nil, scope) {
			body, err := (&client{Target: &Target{protocol: p}}).encode(m)
			if err != nil {
				t.Fatal(err)
			}
			if len(body) > most {
				t.Errorf("%s: a request of %d bytes", p, len(body))
			}
			requests++
			for _, m := range m.(*colmetrics.ExportMetricsServiceRequest).ResourceMetrics[0].ScopeMetrics[0].Metrics {
				got[m.Name] += points(m)
				n -= points(m)
			}
			if n != 0 {
				t.Errorf("%s: %d points are not what was said", p, n)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", p, diff)
		}
		if requests < 5 {
			t.Errorf("%s: %d requests", p, requests)
		}
	}
	for range metricRequests(s, nil, scope) {
		break // and no more is asked for
	}
	for range metricRequests(metric.Snapshot{Metrics: []metric.Metric{{Name: "empty"}}}, nil, scope) {
		t.Error("a request that tells nothing")
	}
}

// Counts, sums and maxima are exact, in seconds.
func TestHistogramPoint(t *testing.T) {
	m := only(t, small()).(*colmetrics.ExportMetricsServiceRequest)
	p := m.ResourceMetrics[0].ScopeMetrics[0].Metrics[1].GetExponentialHistogram().DataPoints
	inBuckets := p[0].ZeroCount
	for _, n := range p[0].Positive.BucketCounts {
		inBuckets += n
	}
	if p[0].Count != 5 || inBuckets != 5 || p[0].ZeroCount != 1 || p[0].GetSum() != 2_003_041/1e9 || p[0].GetMax() != 0.002 || p[0].Min != nil {
		t.Errorf("%+v", p[0])
	}
	// The largest value is in the last bucket, or 0.62 % above it.
	upper := math.Exp2(float64(int(p[0].Positive.Offset)+len(p[0].Positive.BucketCounts)) / 32)
	if upper < 0.002/1.0063 || upper > 0.002*1.023 {
		t.Errorf("the last bucket ends at %g", upper)
	}
	if p[1].Count != 0 || p[1].Max != nil || len(p[1].Positive.BucketCounts) != 0 {
		t.Errorf("%+v", p[1])
	}
}
