package otlp

import (
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ingero/internal/metric"
)

func parse(endpoint, protocol string, env map[string]string) (*Config, error) {
	return Parse(Options{Endpoint: endpoint, Protocol: protocol, Getenv: func(name string) string { return env[name] }})
}

const prefix = "OTEL_EXPORTER_OTLP_"

func TestEndpoint(t *testing.T) {
	for _, c := range []struct {
		flag, protocol string
		env            map[string]string
		metrics, logs  string // what requests go to
	}{
		{"localhost:4318", "", nil, "http://localhost:4318/v1/metrics", "http://localhost:4318/v1/logs"},
		{"localhost", "", nil, "http://localhost:4318/v1/metrics", "http://localhost:4318/v1/logs"},
		{"[::1]:4318", "", nil, "http://[::1]:4318/v1/metrics", "http://[::1]:4318/v1/logs"},
		{"10.0.0.7:80/otlp/", "", nil, "http://10.0.0.7:80/otlp/v1/metrics", "http://10.0.0.7:80/otlp/v1/logs"},
		{"https://c.example", "", nil, "https://c.example/v1/metrics", "https://c.example/v1/logs"},
		{"http://p:9090/api/v1/otlp", "http/protobuf", nil, "http://p:9090/api/v1/otlp/v1/metrics", "http://p:9090/api/v1/otlp/v1/logs"},
		{"https://c/?key=1", "", nil, "https://c/v1/metrics?key=1", "https://c/v1/logs?key=1"},
		{"localhost", "grpc", nil, "http://localhost:4317" + metricsSignal.method, "http://localhost:4317" + logsSignal.method},
		{"https://c:4317/", "grpc", nil, "https://c:4317" + metricsSignal.method, "https://c:4317" + logsSignal.method},
		// A bare address is plain, unless the variables say otherwise.
		{"c:1", "", map[string]string{prefix + "INSECURE": "false"}, "https://c:1/v1/metrics", "https://c:1/v1/logs"},
		{"c:1", "", map[string]string{prefix + "LOGS_INSECURE": "False"}, "http://c:1/v1/metrics", "https://c:1/v1/logs"},
		{"https://c:1", "", map[string]string{prefix + "INSECURE": "true"}, "https://c:1/v1/metrics", "https://c:1/v1/logs"},
		// The flag wins over variables, also over those of a signal.
		{"a:1", "", map[string]string{prefix + "ENDPOINT": "http://b:2", prefix + "METRICS_ENDPOINT": "http://c:3"}, "http://a:1/v1/metrics", "http://a:1/v1/logs"},
		{"a:1", "http/json", map[string]string{prefix + "PROTOCOL": "grpc"}, "http://a:1/v1/metrics", "http://a:1/v1/logs"},
		{"a:1", "", map[string]string{prefix + "METRICS_PROTOCOL": "grpc"}, "http://a:1" + metricsSignal.method, "http://a:1/v1/logs"},
		// From the environment.
		{"env", "", nil, "http://localhost:4318/v1/metrics", "http://localhost:4318/v1/logs"},
		{"env", "grpc", map[string]string{prefix + "INSECURE": "true"}, "http://localhost:4317" + metricsSignal.method, "http://localhost:4317" + logsSignal.method},
		{"env", "", map[string]string{prefix + "ENDPOINT": "http://b:2/x", prefix + "METRICS_ENDPOINT": "http://c:3/as/it/is"}, "http://c:3/as/it/is", "http://b:2/x/v1/logs"},
		{"env", "", map[string]string{prefix + "METRICS_ENDPOINT": "http://c:3", prefix + "LOGS_ENDPOINT": " "}, "http://c:3/", "http://localhost:4318/v1/logs"},
		{"env", "grpc", map[string]string{prefix + "ENDPOINT": "c:4317"}, "https://c:4317" + metricsSignal.method, "https://c:4317" + logsSignal.method},
		{"env", "grpc", map[string]string{prefix + "ENDPOINT": "c:4317", prefix + "INSECURE": "true"}, "http://c:4317" + metricsSignal.method, "http://c:4317" + logsSignal.method},
		// Some signals only, or none.
		{"a:1", "", map[string]string{"OTEL_LOGS_EXPORTER": "none"}, "http://a:1/v1/metrics", ""},
		{"a:1", "", map[string]string{"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "otlp"}, "", "http://a:1/v1/logs"},
		{"a:1", "", map[string]string{"OTEL_SDK_DISABLED": "true"}, "", ""},
	} {
		config, err := parse(c.flag, c.protocol, c.env)
		if err != nil {
			t.Errorf("%s %v: %v", c.flag, c.env, err)
			continue
		}
		for _, x := range []struct {
			got  *Target
			want string
		}{{config.Metrics, c.metrics}, {config.Logs, c.logs}} {
			got := ""
			if x.got != nil {
				got = x.got.url.String()
			}
			if got != x.want {
				t.Errorf("%s %s %v: %s, want %s", c.flag, c.protocol, c.env, got, x.want)
			}
		}
	}
}

func TestVariables(t *testing.T) {
	c, err := parse("localhost", "", map[string]string{
		prefix + "HEADERS":         "api-key=s%20e%3Dc,x=1",
		prefix + "LOGS_HEADERS":    " y = 2 , z=%C3%A4,",
		prefix + "TIMEOUT":         "2500",
		prefix + "METRICS_TIMEOUT": "100",
		prefix + "COMPRESSION":     "none", prefix + "LOGS_COMPRESSION": "gzip",
		"OTEL_METRIC_EXPORT_INTERVAL":             "30000",
		prefix + "METRICS_TEMPORALITY_PREFERENCE": "Cumulative",
		"OTEL_RESOURCE_ATTRIBUTES":                "service.name=no,team=a%2Cb,deployment.environment.name=prod",
		"OTEL_SERVICE_NAME":                       "gpu-watch",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []metric.Attr{{Key: "deployment.environment.name", Value: "prod"}, {Key: "service.name", Value: "gpu-watch"}, {Key: "team", Value: "a,b"}}
	if diff := cmp.Diff(want, c.Resource); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(http.Header{"Api-Key": {"s e=c"}, "X": {"1"}}, c.Metrics.headers); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(http.Header{"Y": {"2"}, "Z": {"ä"}}, c.Logs.headers); diff != "" {
		t.Error(diff)
	}
	if c.Metrics.timeout != 100*time.Millisecond || c.Logs.timeout != 2500*time.Millisecond {
		t.Errorf("timeouts %v and %v", c.Metrics.timeout, c.Logs.timeout)
	}
	if c.Metrics.gzip || !c.Logs.gzip {
		t.Errorf("compressed: %v and %v", c.Metrics.gzip, c.Logs.gzip)
	}
	if c.Interval != 30*time.Second {
		t.Errorf("interval %v", c.Interval)
	}
}

// Defaults, and an interval of the flag.
func TestDefaults(t *testing.T) {
	c, err := Parse(Options{Endpoint: "localhost", Interval: time.Second, Getenv: func(name string) string {
		return map[string]string{"OTEL_METRIC_EXPORT_INTERVAL": "no number: the flag wins"}[name]
	}})
	if err != nil {
		t.Fatal(err)
	}
	m := c.Metrics
	if c.Interval != time.Second || m.protocol != JSON || !m.gzip || m.timeout != 10*time.Second || m.tls != nil || len(m.headers) > 0 || len(c.Resource) > 0 {
		t.Errorf("%+v %+v", c, m)
	}
}

func TestBadOptions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		flag, protocol string
		env            map[string]string
		want           string // all of these, separated by |
	}{
		{"", "", nil, "--otlp|no host"},
		{"ftp://x", "", nil, "--otlp|ftp://"},
		{"x:0", "", nil, "port 0"},
		{"x:70000", "", nil, "port 70000"},
		{"http://u:secret@x:port", "", nil, "--otlp|not an address"},
		{"http://x/#a", "", nil, "#"},
		{"http://x/v1/metrics", "", nil, "leave /v1/metrics out"},
		{"http://x/v1/metrics", "grpc", nil, "gRPC has no path"},
		{"x", "udp", nil, "--otlp-protocol|udp|http/json"},
		{"x", "", map[string]string{prefix + "METRICS_PROTOCOL": "thrift"}, prefix + "METRICS_PROTOCOL|thrift"},
		{"env", "", map[string]string{prefix + "ENDPOINT": "x:4318"}, prefix + "ENDPOINT|write http://"},
		{"env", "", map[string]string{prefix + "LOGS_ENDPOINT": "x:4318"}, prefix + "LOGS_ENDPOINT"},
		{"x", "", map[string]string{prefix + "HEADERS": "secret"}, prefix + "HEADERS|part 1"},
		{"x", "", map[string]string{prefix + "HEADERS": "a=1,b c=secret"}, "part 2"},
		{"x", "", map[string]string{prefix + "HEADERS": "a=%zzsecret"}, "part 1"},
		{"x", "", map[string]string{prefix + "HEADERS": "a=secret%0d%0ab: c"}, "part 1"},
		{"x", "", map[string]string{prefix + "HEADERS": "content-Type=secret"}, "content-type cannot be set"},
		{"x", "", map[string]string{prefix + "HEADERS": "a=secret"}, "--otlp x:4318|https://x:4318"},
		{"x", "", map[string]string{prefix + "TIMEOUT": "10s"}, prefix + "TIMEOUT|milliseconds"},
		{"x", "", map[string]string{prefix + "LOGS_TIMEOUT": "0"}, prefix + "LOGS_TIMEOUT"},
		{"x", "", map[string]string{prefix + "COMPRESSION": "zstd"}, prefix + "COMPRESSION|gzip or none"},
		{"x", "", map[string]string{prefix + "INSECURE": "1"}, prefix + "INSECURE|true or false"},
		{"x", "", map[string]string{prefix + "CERTIFICATE": file + "x"}, prefix + "CERTIFICATE|no such file"},
		{"x", "", map[string]string{prefix + "CERTIFICATE": file}, "no certificate in"},
		{"x", "", map[string]string{prefix + "CLIENT_KEY": file}, prefix + "CLIENT_KEY|give both"},
		{"x", "", map[string]string{prefix + "CLIENT_KEY": file, prefix + "CLIENT_CERTIFICATE": file}, prefix + "CLIENT_CERTIFICATE"},
		{"x", "", map[string]string{"OTEL_METRIC_EXPORT_INTERVAL": "-5"}, "OTEL_METRIC_EXPORT_INTERVAL"},
		{"x", "", map[string]string{"OTEL_METRIC_EXPORT_INTERVAL": "5"}, "OTEL_METRIC_EXPORT_INTERVAL|too often"},
		{"x", "", map[string]string{"OTEL_RESOURCE_ATTRIBUTES": "a=1,b"}, "OTEL_RESOURCE_ATTRIBUTES|part 2"},
		{"x", "", map[string]string{prefix + "METRICS_TEMPORALITY_PREFERENCE": "delta"}, "cumulativetodelta"},
		{"x", "", map[string]string{prefix + "METRICS_TEMPORALITY_PREFERENCE": "x"}, "give cumulative"},
		{"x", "", map[string]string{"OTEL_SDK_DISABLED": "yes"}, "OTEL_SDK_DISABLED"},
		{"x", "", map[string]string{"OTEL_LOGS_EXPORTER": "console"}, "OTEL_LOGS_EXPORTER|otlp or none"},
	} {
		_, err := parse(c.flag, c.protocol, c.env)
		if err == nil {
			t.Errorf("%s %s %v: no error", c.flag, c.protocol, c.env)
			continue
		}
		for want := range strings.SplitSeq(c.want, "|") {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s %s %v: %q does not say %q", c.flag, c.protocol, slices.Collect(maps.Keys(c.env)), err, want)
			}
		}
		if strings.Contains(err.Error(), "secret") && c.env[prefix+"HEADERS"] != "" || strings.Contains(c.flag, "secret") && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q tells a secret", err)
		}
	}
}

// What is printed of a target holds nothing that may be secret.
func TestTargetString(t *testing.T) {
	c, err := parse("https://me:secret@c:1/x?key=secret", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Metrics.String(); got != "https://c:1/x/v1/metrics" {
		t.Error(got)
	}
}

// A collector that is there speaks another protocol at this port.
func TestHint(t *testing.T) {
	for _, c := range []struct{ endpoint, protocol, want string }{
		{"localhost:4317", "http/json", "grpc meant"}, {"localhost:4318", "grpc", "http/protobuf meant"},
		{"localhost", "http/json", ""}, {"localhost", "grpc", ""}, {"localhost:80", "grpc", ""},
	} {
		config, err := parse(c.endpoint, c.protocol, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := config.Logs.hint(); !strings.Contains(got, c.want) || got == "" != (c.want == "") {
			t.Errorf("%s %s: %q", c.endpoint, c.protocol, got)
		}
	}
}
