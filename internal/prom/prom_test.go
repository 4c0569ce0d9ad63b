package prom

import (
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"ingero/internal/bpftest"
	"ingero/internal/event"
	"ingero/internal/hostile"
	"ingero/internal/metric"
	"ingero/internal/pipeline"
	"ingero/internal/stats"
)

var update = flag.Bool("update", false, "rewrite the expected files")

var launch, read = event.MakeOp(event.CUDA, 3), event.MakeOp(event.IO, 1)

// sample is a source that has something of each kind.
func sample(t testing.TB) *metric.Collector {
	now := time.Unix(1_800_000_000, 0)
	c := metric.NewCollector(metric.Options{
		Node: "n7", Version: "v1", Commit: "abc", Kinds: []string{"cpu_contention"}, Now: func() time.Time { return now },
		Self: func() metric.Self {
			return metric.Self{
				CallProbes: 99, HostProbes: 30, Call: 1500 * time.Nanosecond, Stack: time.Microsecond, Overhead: 0.004, Database: 1 << 20,
				User: time.Second, System: 2 * time.Second, Memory: 67 << 20, Read: 1, Written: 2,
			}
		},
	})
	h := &stats.Histogram{}
	for _, ns := range []uint64{0, 1, 500, 1024, 1025, 4096, 70_000, 1 << 36, 1<<36 + 1, 1 << 41} {
		h.Add(ns)
	}
	job := event.Process{PID: 7, PPID: 1, UID: 1000, Start: 1, Comm: hostile.Name + "\"\\\n\xff", Container: strings.Repeat("0a", 32), Cgroup: 5, Rank: event.Rank{Rank: 0, Local: 0, World: 2}}
	c.System(event.Snapshot{Time: now.UnixNano(), CPU: 12.5, Mem: 50, MemAvail: 1000, Load: 1.5, PSICPU: 1, PSIMem: 2, PSIIO: 3})
	err := c.Take(&pipeline.Batch{
		Processes: []pipeline.Process{{Process: job}},
		Calls: []stats.Calls{
			{PID: 7, Op: event.MakeOp(event.CUDA, 4), Hist: h, Bytes: 1 << 20},
			{PID: 7, Op: launch, Hist: h, Errors: 1, Nested: 2, Recorded: 3, Lost: 1},
			{PID: 7, Op: read, Hist: h, Bytes: 4096},
		},
		Ledger: []stats.Ledger{{PID: 7, TID: 7, Place: launch, NS: [event.States]uint64{event.Running: 1_500_000_000}}},
		Pairs:  []stats.Pair{{PID: 7, State: event.Runnable, OtherPID: 9, OtherComm: "hog", NS: 1e9}},
		GPU:    []event.GPUSample{{Time: now.UnixNano(), Util: 50, MemUsed: 10, MemTotal: 20, SMClock: 1000, SMMax: 2000, MemClock: 3000, Power: 70, Temp: 40, Throttle: "sw_power_cap"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Finding(metric.Finding{ID: "x", Kind: "cpu_contention", Severity: "HIGH", PID: 7, Comm: "job", Started: now, Lost: time.Second})
	return c
}

func get(t testing.TB, h http.Handler, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r, w := httptest.NewRequest("GET", "/metrics", nil), httptest.NewRecorder()
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w
}

// openMetrics and protobuf are what scrapers ask for.
const (
	openMetrics = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
	protobuf    = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited," + openMetrics
)

func TestText(t *testing.T) {
	h := Handler(sample(t))
	for file, accept := range map[string]string{"testdata/metrics.txt": "", "testdata/openmetrics.txt": openMetrics} {
		w := get(t, h, "Accept", accept)
		got := regexp.MustCompile(`go="[^"]*"|host_arch="[^"]*"`).ReplaceAllString(w.Body.String(), "HERE")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s, -update rewrites it: %s", file, diff)
		}
	}
}

func TestFormats(t *testing.T) {
	h := Handler(sample(t))
	for accept, want := range map[string]string{"": "text/plain; version=0.0.4", openMetrics: "application/openmetrics-text; version=1.0.0", protobuf: "application/vnd.google.protobuf"} {
		unpacked := get(t, h, "Accept", accept)
		if got := unpacked.Header().Get("Content-Type"); !strings.HasPrefix(got, want) {
			t.Errorf("%q: Content-Type %q, want %q", accept, got, want)
		}
		packed := get(t, h, "Accept", accept, "Accept-Encoding", "gzip")
		z, err := gzip.NewReader(packed.Body)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(z); err != nil || string(text) != unpacked.Body.String() {
			t.Errorf("%q: compressed it is something else, %v", accept, err)
		}
	}
	for accept, want := range map[string]bool{"": false, "gzip": true, "zstd, gzip;q=0.5": true, "gzip;q=0": false, "identity": false, "gzip ; q=0.0": false} {
		if takesGzip(accept) != want {
			t.Errorf("Accept-Encoding %q: %v", accept, !want)
		}
	}
}

// The registry that complains of everything finds nothing.
func TestPedantic(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(Collector{Source: sample(t), Native: true}); err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{"target_info": true}
	for _, f := range families {
		got[f.GetName()] = true
	}
	for _, m := range metric.Table() {
		if !got[Name(m)] {
			t.Errorf("%s is not in the sample: give it a value", Name(m))
		}
	}
}

func TestPromtool(t *testing.T) {
	bpftest.NeedPrometheus(t)
	check := exec.Command("promtool", "check", "metrics", "--extended")
	check.Stdin = get(t, Handler(sample(t))).Body
	out, err := check.CombinedOutput()
	complaints := regexp.MustCompile(`(?m)^.*(error:|should|not allowed|must|no help).*$`).FindAllString(string(out), -1)
	if err != nil || len(complaints) > 0 {
		t.Errorf("%v\n%s", err, strings.Join(complaints, "\n"))
	}
}

// Buckets of a native histogram answer quantiles as ours do, but for the shift.
func TestNativeHistogram(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	const shift = 957 // between our buckets, of ns, and those of Prometheus, of s
	h := &stats.Histogram{}
	for range 10_000 {
		h.Add(uint64(math.Exp(r.Float64()*20) * 10))
	}
	h.Add(0)
	d := histogram(h)
	native(d, h)
	counts := map[int]int64{}
	at, count, k := int32(0), int64(0), 0
	for _, span := range d.PositiveSpan {
		at += span.GetOffset()
		for range span.GetLength() {
			count += d.PositiveDelta[k]
			counts[int(at)] = count
			at++
			k++
		}
	}
	if k != len(d.PositiveDelta) || d.GetZeroCount() != 1 {
		t.Fatalf("%d buckets in spans, %d deltas, %d zeros", k, len(d.PositiveDelta), d.GetZeroCount())
	}
	h.Each(func(bucket int, n uint64) {
		upper := math.Exp2(float64(bucket-shift) / 32) // of Prometheus, s
		if ours := stats.Upper(bucket) / 1e9; upper > ours || upper < ours*(1-0.0062) {
			t.Fatalf("bucket %d ends at %g s, not at %g s", bucket, upper, ours)
		}
		if bucket > 0 && counts[bucket-shift] != int64(n) {
			t.Fatalf("bucket %d: %d, want %d", bucket, counts[bucket-shift], n)
		}
		delete(counts, bucket-shift)
	})
	for at, n := range counts {
		if n != 0 {
			t.Errorf("bucket %d: %d, want none", at, n)
		}
	}
	for i, b := range d.Bucket { // classic ones are exact
		var want uint64
		limit := uint64(1) << (2 * (firstPower + i))
		h.Each(func(bucket int, n uint64) {
			if stats.Upper(bucket) <= float64(limit) {
				want += n
			}
		})
		if b.GetCumulativeCount() != want || math.Round(b.GetUpperBound()*1e9) != float64(limit) {
			t.Errorf("le %g: %d, want %d", b.GetUpperBound(), b.GetCumulativeCount(), want)
		}
	}
}

func TestNames(t *testing.T) {
	for _, m := range metric.Table() {
		if !model.LegacyValidation.IsValidMetricName(Name(m)) {
			t.Errorf("%s: %s", m.Name, Name(m))
		}
	}
	for want, m := range map[string]metric.Metric{
		"gpu_cuda_operation_duration_seconds": {Name: "gpu.cuda.operation.duration", Unit: "s", Kind: metric.Histogram},
		"gpu_cuda_operation_count_total":      {Name: "gpu.cuda.operation.count", Unit: "{call}", Kind: metric.Sum},
		"gpu_cuda_operation_bytes_total":      {Name: "gpu.cuda.operation.bytes", Unit: "By", Kind: metric.Sum},
		"system_cpu_utilization_ratio":        {Name: "system.cpu.utilization", Unit: "1", Kind: metric.Gauge},
	} {
		if got := Name(m); got != want {
			t.Errorf("%s: %s, want %s", m.Name, got, want)
		}
	}
}

// slow is a source that counts how often it was asked.
type slow struct {
	metric.Source
	asked chan struct{}
}

func (s slow) Snapshot() metric.Snapshot { s.asked <- struct{}{}; return s.Source.Snapshot() }

// Many who ask at the same time cost what one costs.
func TestManyAsk(t *testing.T) {
	s := slow{sample(t), make(chan struct{}, 1000)}
	h := Handler(s)
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() { get(t, h, "Accept", protobuf+fmt.Sprintf(";escaping=%d", i)) })
	}
	all.Wait()
	if n := len(s.asked); n > 3 { // one a second
		t.Errorf("the source was asked %d times", n)
	}
}

// wide is as many time series as there can be of calls.
func wide(tb testing.TB) *metric.Collector {
	c := metric.NewCollector(metric.Options{Now: time.Now})
	b := &pipeline.Batch{}
	for pid := uint32(1); pid <= metric.MaxProcesses; pid++ {
		b.Processes = append(b.Processes, pipeline.Process{Process: event.Process{PID: pid, Comm: "python3", Rank: event.Rank{Rank: int32(pid)}}})
		for k := range 20 {
			h := &stats.Histogram{}
			for i := range uint64(60) {
				h.Add(1000 << (i % 10) * (i + 1))
			}
			b.Calls = append(b.Calls, stats.Calls{PID: pid, Op: event.Calls[k].ID, Hist: h})
			b.Ledger = append(b.Ledger, stats.Ledger{PID: pid, TID: pid, Place: event.Calls[k].ID, NS: [event.States]uint64{1e8, 1e7}})
		}
	}
	if err := c.Take(b); err != nil {
		tb.Fatal(err)
	}
	return c
}

// What a scrape of 200 processes with 20 operations each costs.
func BenchmarkScrape(b *testing.B) {
	h := newHandler(wide(b))
	for name, f := range map[string]expfmt.Format{"text": expfmt.FmtText, "openmetrics": expfmt.FmtOpenMetrics_1_0_0, "protobuf": expfmt.FmtProtoDelim} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			began := cpu(b)
			for b.Loop() {
				packed, err := h.make(f)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(len(packed)), "bytes/answer")
			}
			b.ReportMetric((cpu(b)-began).Seconds()*1000/float64(b.N), "cpu-ms/op")
		})
	}
}

// cpu is the CPU time of this process, of all its threads: the time of a
// scrape on a busy machine says little.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
