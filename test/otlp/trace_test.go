package otlp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"ingero/internal/bpftest"
	"ingero/internal/event"
	"ingero/test/workload"
)

var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "ingero-otlp-test-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		bin = filepath.Join(dir, "ingero")
		build := exec.Command("go", "build", "-o", bin, "./cmd/ingero")
		build.Dir = "../.."
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// job is a workload and the agent that traces it.
type job struct {
	*testing.T
	run    *workload.Run
	cmd    *exec.Cmd
	db     string
	stderr bytes.Buffer
}

// trace starts a workload that waits, and an agent for it, and lets the
// workload begin when its probes are there. Variables are the agent's.
func trace(t *testing.T, variables, flags []string, args ...string) *job {
	t.Helper()
	bpftest.NeedBPF(t)
	if err := workload.Supported(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	if err := workload.Unpack(dir); err != nil {
		t.Fatal(err)
	}
	j := &job{T: t, db: filepath.Join(dir, "test.db")}
	var err error
	if j.run, err = workload.Start(context.Background(), dir, append(args, "--wait-stdin")...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.run.Signal(os.Kill) }) // it has ended, if all is well
	patience, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := j.run.Ready(patience); err != nil {
		t.Fatal(err)
	}
	lib := func(name string) string { return "--cuda-lib=" + filepath.Join(dir, name) }
	j.cmd = exec.Command(bin, append(flags, lib("libcuda.so.1"), lib("libcudart.so.12"), "--plain",
		"--db="+j.db, "--log="+filepath.Join(dir, "log"), fmt.Sprint("--pid=", j.run.PID))...)
	j.cmd.Env = append(os.Environ(), variables...)
	j.cmd.Stderr = &j.stderr
	if err := j.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.cmd.Process.Kill() })
	until(t, "probes to be attached", func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "log"))
		return err == nil && strings.Contains(string(b), "probes attached")
	})
	if err := j.run.Go(); err != nil {
		t.Fatal(err)
	}
	return j
}

// end waits for both and returns what the workload counted itself.
func (j *job) end() workload.Truth {
	j.Helper()
	truth, err := j.run.Wait()
	if err != nil {
		j.Fatal(err)
	}
	if err := j.cmd.Wait(); err != nil {
		j.Fatalf("%v\n%s", err, j.stderr.String())
	}
	return truth
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute for %s", what)
		}
	}
}

func text(m pcommon.Map, key string) string {
	v, _ := m.Get(key)
	return v.AsString()
}

// agree holds the last counts and distributions that arrived against what
// the workload counted.
func (c *collector) agree(t *testing.T, truth workload.Truth) {
	t.Helper()
	symbols := map[string]string{}
	for _, row := range event.Calls {
		symbols[row.ID.Source().String()+" "+row.ID.String()] = row.Exports()[0]
	}
	symbol := func(m pcommon.Map) string { return symbols[text(m, "source")+" "+text(m, "operation")] }
	counts, durations := map[string]uint64{}, map[string]uint64{}
	c.last("gpu.cuda.operation.count", func(m pmetric.Metric) {
		for _, p := range m.Sum().DataPoints().All() {
			counts[symbol(p.Attributes())] += uint64(p.IntValue())
		}
	})
	c.last("gpu.cuda.operation.duration", func(m pmetric.Metric) {
		for _, p := range m.ExponentialHistogram().DataPoints().All() {
			durations[symbol(p.Attributes())] += p.Count()
			if n := p.ZeroCount() + sum(p.Positive().BucketCounts()); n != p.Count() || !(p.Sum() > 0) || !(p.Max() > 0) {
				t.Errorf("%v: %d in buckets of %d, sum %g, max %g", p.Attributes().AsRaw(), n, p.Count(), p.Sum(), p.Max())
			}
		}
	})
	if len(truth.Calls) < 4 {
		t.Errorf("the workload made only %v", truth.Calls)
	}
	for _, row := range event.Calls {
		name := row.Exports()[0]
		if counts[name] != truth.Calls[name] || durations[name] != truth.Calls[name] {
			t.Errorf("%s: %d calls and %d durations arrived, %d were made", name, counts[name], durations[name], truth.Calls[name])
		}
	}
}

func sum(counts pcommon.UInt64Slice) (n uint64) {
	for _, c := range counts.All() {
		n += c
	}
	return n
}

// Every call arrives, by every protocol.
func TestCounts(t *testing.T) {
	for _, protocol := range []string{"http/json", "http/protobuf", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			c := collect(t, nil)
			j := trace(t, nil, []string{"trace", "--otlp", c.address(protocol), "--otlp-protocol", protocol, "--otlp-interval", "500ms", "--debug", "--record=false"},
				"--steps", "200", "--launches", "10", "--gap-us", "5000", "--copy-bytes", "4096")
			truth := j.end()
			c.agree(t, truth)
			if n := len(c.metrics.AllMetrics()); n < 3 {
				t.Errorf("%d requests", n)
			}
			if said := j.stderr.String(); !strings.Contains(said, "OTLP: pushed ") || strings.Contains(said, "does not take") {
				t.Errorf("it said:\n%s", said)
			}
			var own float64
			c.last("ingero.otlp.requests", func(m pmetric.Metric) {
				for _, p := range m.Sum().DataPoints().All() {
					if text(p.Attributes(), "signal") == "metrics" {
						own = float64(p.IntValue())
					}
				}
			})
			if want := len(c.metrics.AllMetrics()) - 1; own != float64(want) {
				t.Errorf("the last request says that %v were taken before it, not %d", own, want)
			}
		})
	}
}

// With TLS, a certificate of the client and a header that is secret, all said
// by variables. A cause that is there for a while arrives as a log.
func TestFindings(t *testing.T) {
	serverCert, serverKey := certificate(t, "server")
	clientCert, clientKey := certificate(t, "client")
	c := collect(t, map[string]any{"tls": map[string]any{"cert_file": serverCert, "key_file": serverKey, "client_ca_file": clientCert}})
	const prefix = "OTEL_EXPORTER_OTLP_"
	j := trace(t, []string{
		prefix + "ENDPOINT=https://" + c.grpc, prefix + "PROTOCOL=grpc",
		prefix + "LOGS_ENDPOINT=https://" + c.http + "/v1/logs", prefix + "LOGS_PROTOCOL=http/json",
		prefix + "CERTIFICATE=" + serverCert, prefix + "CLIENT_CERTIFICATE=" + clientCert, prefix + "CLIENT_KEY=" + clientKey,
		prefix + "HEADERS=api-key=very%20secret", "OTEL_RESOURCE_ATTRIBUTES=team=a%2Cb", "OTEL_SERVICE_NAME=watch",
		"OTEL_METRIC_EXPORT_INTERVAL=1000",
	}, []string{"trace", "--otlp", "env", "--debug"}, "--steps", "0", "--launches", "20", "--kernel-ns", "100000", "--work-us", "2000")
	pin(t, j.run.PID)
	until(t, "metrics", func() bool { return len(c.metrics.AllMetrics()) >= 4 }) // some seconds in which all is well
	thief := exec.CommandContext(t.Context(), "sh", "-c", "while :; do :; done")
	if err := thief.Start(); err != nil {
		t.Fatal(err)
	}
	pin(t, thief.Process.Pid)
	var found *plog.LogRecord
	until(t, "a finding", func() bool {
		found = c.finding(j.run.PID, "cpu_contention")
		return found != nil
	})
	_ = thief.Process.Kill()
	_ = thief.Wait() // it was killed
	if err := j.run.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.agree(t, j.end())
	if found.EventName() != "ingero.finding" || found.SeverityNumber() < plog.SeverityNumberInfo || found.SeverityText() == "" || found.Body().AsString() == "" ||
		time.Since(found.Timestamp().AsTime()) > 5*time.Minute || found.ObservedTimestamp() < found.Timestamp() {
		t.Errorf("%+v", found)
	}
	resource := c.logs.AllLogs()[0].ResourceLogs().At(0).Resource().Attributes()
	if text(resource, "service.name") != "watch" || text(resource, "team") != "a,b" || text(resource, "host.name") == "" {
		t.Errorf("%v", resource.AsRaw())
	}
	for _, ctx := range append(c.metrics.Contexts(), c.logs.Contexts()...) {
		if got := header(ctx, "api-key"); got != "very secret" {
			t.Fatalf("the header is %q", got)
		}
	}
	if said := j.stderr.String(); strings.Contains(said, "secret") || !strings.Contains(said, "OTLP: pushed ") {
		t.Errorf("it said:\n%s", said)
	}
}

// pin leaves a process one CPU, the same for all.
func pin(t *testing.T, pid int) {
	t.Helper()
	if out, err := exec.Command("taskset", "-acp", "0", fmt.Sprint(pid)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// finding looks for a log of this kind about a process.
func (c *collector) finding(pid int, kind string) *plog.LogRecord {
	for _, l := range c.logs.AllLogs() {
		for _, r := range l.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().All() {
			if a := r.Attributes(); text(a, "process.pid") == fmt.Sprint(pid) && text(a, "ingero.finding.kind") == kind {
				return &r
			}
		}
	}
	return nil
}

// A collector that is not there, or does not answer, costs the job nothing:
// all its calls are counted and recorded, and the trace ends soon after it.
func TestNobodyAnswers(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, nobody reads
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for name, address := range map[string]string{"not there": free(t), "does not answer": silent.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			j := trace(t, []string{"OTEL_EXPORTER_OTLP_TIMEOUT=1000"}, []string{"trace", "--otlp", address, "--otlp-interval", "500ms", "--record-all"},
				"--steps", "300", "--launches", "300", "--kernel-ns", "1000", "--gap-us", "5000")
			truth, err := j.run.Wait()
			if err != nil {
				t.Fatal(err)
			}
			ended := time.Now()
			if err := j.cmd.Wait(); err != nil {
				t.Fatalf("%v\n%s", err, j.stderr.String())
			}
			if took := time.Since(ended); took > 15*time.Second {
				t.Errorf("the trace ended %v after the job", took)
			}
			if n := strings.Count(j.stderr.String(), "does not take what is pushed"); n != 1 {
				t.Errorf("said %d times:\n%s", n, j.stderr.String())
			}
			var answer struct {
				Coverage struct{ Calls, Recorded, Lost uint64 }
			}
			if out, err := exec.Command(bin, "query", "--json", "--limit", "0", "-d", j.db).Output(); err != nil {
				t.Fatal(err)
			} else if err := json.Unmarshal(out, &answer); err != nil {
				t.Fatal(err)
			}
			var calls uint64
			for _, row := range event.Calls {
				calls += truth.Calls[row.Exports()[0]]
			}
			if got := answer.Coverage; got.Calls != calls || got.Recorded != calls || got.Lost != 0 || calls < 180_000 {
				t.Errorf("%+v of %d calls", got, calls)
			}
		})
	}
}
