package otlp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ingero/internal/metric"
	"ingero/internal/stats"
)

// fake is a source that has logs and a counter that grows by one a second.
type fake struct {
	mu        sync.Mutex
	logs      []metric.Log
	forgotten uint64
	start     time.Time
}

func (f *fake) Snapshot() metric.Snapshot {
	now := time.Now()
	return metric.Snapshot{Start: f.start, Time: now, Metrics: []metric.Metric{
		{Name: "seconds", Unit: "s", Int: true, Points: []metric.Point{{Value: float64(now.Sub(f.start) / time.Second)}}},
		{Name: "durations", Unit: "s", Kind: metric.Histogram, Points: []metric.Point{{Hist: &stats.Histogram{}}}},
	}}
}

func (f *fake) Logs(cursor uint64) ([]metric.Log, uint64, uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	forgotten := f.forgotten
	f.forgotten = 0
	return slices.Clone(f.logs[cursor:]), uint64(len(f.logs)), forgotten
}

func (f *fake) found(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for range n {
		f.logs = append(f.logs, metric.Log{Body: fmt.Sprint(len(f.logs))})
	}
}

// script answers requests by their number, from 0 on; the last answer stands
// for all later ones.
type script struct {
	answers []string // "200", "503", "429 7" (Retry-After), "gone", "hangs", or JSON
	mu      sync.Mutex
	at      []time.Duration
	bodies  []string
	start   time.Time
	active  int
	most    int // requests at the same time
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	said := s.answers[min(len(s.at), len(s.answers)-1)]
	s.at = append(s.at, time.Since(s.start))
	s.bodies = append(s.bodies, string(body))
	s.active++
	s.most = max(s.most, s.active)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.active--
		s.mu.Unlock()
	}()
	status, after, _ := strings.Cut(said, " ")
	resp := &http.Response{StatusCode: 200, Status: "200 OK", Header: http.Header{"Content-Type": {"application/json"}}, Body: http.NoBody}
	switch {
	case said == "gone":
		return nil, errors.New("connection refused")
	case said == "hangs":
		<-r.Context().Done()
		return nil, r.Context().Err()
	case strings.HasPrefix(said, "{"):
		resp.Body = io.NopCloser(strings.NewReader(said))
	default:
		fmt.Sscan(status, &resp.StatusCode)
		resp.Status = status + " " + http.StatusText(resp.StatusCode)
		resp.Header.Set("Retry-After", after)
	}
	return resp, nil
}

// bench is an exporter in a bubble of its own time.
type bench struct {
	*Exporter
	source        *fake
	metrics, logs *script
	lines, debug  []string
}

// push runs an exporter against scripts for so long and to its end. It must
// be called in a bubble.
func push(t *testing.T, metricsScript, logsScript []string, interval, total time.Duration, meanwhile func(*bench)) *bench {
	t.Helper()
	c, err := Parse(Options{Endpoint: "collector:4318", Interval: interval, Getenv: func(name string) string {
		return map[string]string{prefix + "COMPRESSION": "none"}[name]
	}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	b := &bench{source: &fake{start: now}, metrics: &script{answers: metricsScript, start: now}, logs: &script{answers: logsScript, start: now}}
	var mu sync.Mutex
	keep := func(to *[]string) func(string, ...any) {
		return func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			*to = append(*to, fmt.Sprintf(format, args...))
		}
	}
	b.Exporter = New(c, "1", b.source, keep(&b.lines), keep(&b.debug))
	b.Exporter.metrics.http.Transport, b.Exporter.logs.http.Transport = b.metrics, b.logs
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(total, cancel)
	done := make(chan struct{})
	go func() {
		b.Run(ctx)
		close(done)
	}()
	if meanwhile != nil {
		meanwhile(b)
	}
	<-done
	return b
}

// between checks that each request came in its span of seconds.
func (s *script) between(t *testing.T, spans ...[2]float64) {
	t.Helper()
	if len(s.at) != len(spans) {
		t.Fatalf("%d requests at %v, want %d", len(s.at), s.at, len(spans))
	}
	for i, at := range s.at {
		if at.Seconds() < spans[i][0] || at.Seconds() > spans[i][1] {
			t.Errorf("request %d came after %v, not in %v", i, at, spans[i])
		}
	}
	if s.most > 1 {
		t.Errorf("%d requests at the same time", s.most)
	}
}

// A push at once, one at each interval, and one at the end, with the newest
// values.
func TestPushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := push(t, []string{"200"}, []string{"200"}, 10*time.Second, 25*time.Second, nil)
		b.metrics.between(t, [2]float64{0, 0}, [2]float64{10, 10}, [2]float64{20, 20}, [2]float64{25, 25})
		if last := b.metrics.bodies[3]; !strings.Contains(last, `"asInt":"25"`) {
			t.Errorf("the last push says %s", last)
		}
		if len(b.logs.at) != 0 || len(b.lines) != 0 || len(b.debug) != 4 || !strings.Contains(b.debug[0], "pushed 2 points to http://collector:4318/v1/metrics") {
			t.Errorf("%v, %q, %q", b.logs.at, b.lines, b.debug)
		}
		want := Counts{Requests: 4, Items: 8, Bytes: uint64(len(strings.Join(b.metrics.bodies, "")))}
		if got := b.Exporter.metrics.Counts(); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}

// After failures that pass: at 1, 2, 4 … seconds, half of it by chance. What
// is sent again is new. The user is told once, and once again.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := push(t, []string{"503", "502", "gone", "200"}, []string{"200"}, 10*time.Second, 20*time.Second, nil)
		b.metrics.between(t, [2]float64{0, 0}, [2]float64{0.5, 1}, [2]float64{1.5, 3}, [2]float64{3.5, 7}, [2]float64{13.5, 17}, [2]float64{20, 20})
		if len(b.lines) != 2 || !strings.Contains(b.lines[0], "http://collector:4318 does not take what is pushed: HTTP 503 Service Unavailable; it is tried again") ||
			!strings.Contains(b.lines[1], "http://collector:4318 takes what is pushed again, after ") {
			t.Errorf("%q", b.lines)
		}
		if b.metrics.bodies[0] == b.metrics.bodies[3] {
			t.Error("an old snapshot is sent again")
		}
		if c := b.Exporter.metrics.Counts(); c.Requests != 3 || c.Failures != 3 {
			t.Errorf("%+v", c)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := push(t, []string{"429 7", "200"}, []string{"200"}, 5*time.Second, 11*time.Second, nil)
		b.metrics.between(t, [2]float64{0, 0}, [2]float64{7, 7}, [2]float64{11, 11})
	})
}

// An unreachable collector is tried ever less often, and delays the end by
// nothing.
func TestUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := push(t, []string{"gone"}, []string{"200"}, 10*time.Second, time.Hour, nil)
		if n := len(b.metrics.at); n < 120 || n > 250 {
			t.Errorf("%d requests in an hour", n)
		}
		if len(b.lines) != 1 {
			t.Errorf("%q", b.lines)
		}
		if took := time.Since(b.source.start); took != time.Hour {
			t.Errorf("the end came after %v", took)
		}
	})
}

// One that does not answer: each request ends after its time, the trace a
// second after its own.
func TestHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := push(t, []string{"hangs"}, []string{"200"}, 10*time.Second, time.Minute, nil)
		b.metrics.between(t, [2]float64{0, 0}, [2]float64{10.5, 11}, [2]float64{21.5, 23}, [2]float64{33.5, 37}, [2]float64{47.5, 55}, [2]float64{60, 60})
		if took := time.Since(b.source.start); took != time.Minute+lastTry {
			t.Errorf("the end came after %v", took)
		}
		if len(b.lines) != 1 || !strings.Contains(b.lines[0], "no answer in time") {
			t.Errorf("%q", b.lines)
		}
	})
}

// A refusal for good is not repeated before the next interval, and said once.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := push(t, []string{"401"}, []string{"404"}, 10*time.Second, 25*time.Second, func(b *bench) { b.source.found(3) })
		b.metrics.between(t, [2]float64{0, 0}, [2]float64{10, 10}, [2]float64{20, 20}, [2]float64{25, 25})
		if len(b.logs.at) != 1 {
			t.Errorf("refused findings are sent %d times", len(b.logs.at))
		}
		if len(b.lines) != 2 || !strings.Contains(strings.Join(b.lines, "\n"), "/v1/metrics refuses metrics: HTTP 401 Unauthorized; each push is tried once") {
			t.Errorf("%q", b.lines)
		}
		if m, l := b.Exporter.metrics.Counts(), b.Exporter.logs.Counts(); m.Failures != 4 || m.Rejected != 8 || l.Failures != 1 || l.Rejected != 3 {
			t.Errorf("%+v %+v", m, l)
		}
	})
}

// What is rejected of a request is counted, and said once.
func TestPartialSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := push(t, []string{`{"partialSuccess":{"rejectedDataPoints":"1","errorMessage":"no histograms"}}`}, []string{"200"}, 10*time.Second, 25*time.Second, nil)
		if len(b.lines) != 1 || !strings.Contains(b.lines[0], "rejected 1 of 2 points: no histograms") {
			t.Errorf("%q", b.lines)
		}
		if c := b.Exporter.metrics.Counts(); c.Requests != 4 || c.Items != 4 || c.Rejected != 4 || c.Failures != 0 {
			t.Errorf("%+v", c)
		}
	})
}

// Findings arrive each once and in order, also those of a time when nobody
// took them, and what was forgotten is counted.
func TestFindings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := push(t, []string{"200"}, []string{"200", "503", "gone", "200"}, time.Minute, 30*time.Second, func(b *bench) {
			time.Sleep(1500 * time.Millisecond)
			b.source.found(2)
			time.Sleep(time.Second)
			b.source.found(maxLogs + 5)
			time.Sleep(time.Second)
			b.source.mu.Lock()
			b.source.forgotten = 9
			b.source.mu.Unlock()
			time.Sleep(20 * time.Second)
			b.source.found(1)
			time.Sleep(6 * time.Second)
			b.source.found(1) // in the last second
		})
		var got []string
		for i, body := range b.logs.bodies {
			if i == 1 || i == 2 {
				continue // it failed
			}
			for part := range strings.SplitSeq(body, `"stringValue":`) {
				if part = strings.TrimSpace(part); part[0] == '"' {
					got = append(got, part[1:1+strings.IndexByte(part[1:], '"')])
				}
			}
		}
		var want []string
		for i := range 2 + maxLogs + 5 + 2 {
			want = append(want, fmt.Sprint(i))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if c := b.Exporter.logs.Counts(); c.Items != uint64(len(want)) || c.Failures != 2 || c.Dropped != 9 {
			t.Errorf("%+v", c)
		}
		if len(b.lines) != 2 {
			t.Errorf("%q", b.lines)
		}
	})
}

// The trace ends while a request hangs: it is cut, and the last push has its
// own time.
func TestEndWhilePushing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := push(t, []string{"hangs", "200"}, []string{"200"}, 10*time.Second, 5*time.Second, nil)
		b.metrics.between(t, [2]float64{0, 0}, [2]float64{5, 5})
		if c := b.Exporter.metrics.Counts(); c.Requests != 1 || c.Failures != 0 || len(b.lines) != 0 {
			t.Errorf("%+v %q", c, b.lines)
		}
	})
}

// A collector that is down is so for both signals: one line, and one when it
// is back for both. One that is back and refuses is told of as well.
func TestDownForBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := push(t, []string{"gone", "gone", "401", "200"}, []string{"gone", "gone", "gone", "200"}, 10*time.Second, time.Minute, func(b *bench) { b.source.found(1) })
		var lines []string
		for _, l := range b.lines {
			l, _, _ = strings.Cut(strings.TrimPrefix(l, "OTLP: http://collector:4318"), ": ")
			l, _, _ = strings.Cut(l, ", after")
			lines = append(lines, l)
		}
		want := []string{" does not take what is pushed", "/v1/metrics refuses metrics", " takes what is pushed again", "/v1/metrics takes metrics again"}
		if diff := cmp.Diff(want, lines); diff != "" {
			t.Errorf("%s%q", diff, b.lines)
		}
	})
}

func TestOwnMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := push(t, []string{"503", "200"}, []string{"200"}, 10*time.Second, 5*time.Second, nil)
		got := map[string]float64{}
		for _, m := range b.Metrics() {
			for _, p := range m.Points {
				got[m.Name+" "+p.Attrs[0].Value] = p.Value
			}
		}
		if len(got) != 12 || got["ingero.otlp.requests metrics"] != 2 || got["ingero.otlp.failures metrics"] != 1 || got["ingero.otlp.items metrics"] != 4 || got["ingero.otlp.requests logs"] != 0 {
			t.Errorf("%v", got)
		}
	})
}
