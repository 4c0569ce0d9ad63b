package otlp

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	collogs "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
)

// serve starts a server for HTTP/1 and HTTP/2 without TLS and returns a
// client for it.
func serve(t *testing.T, p Protocol, env map[string]string, h http.HandlerFunc) *client {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = &http.Protocols{}
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	c := clientFor(t, s.URL, p, env)
	return c
}

func clientFor(t *testing.T, url string, p Protocol, env map[string]string) *client {
	t.Helper()
	config, err := parse(url, string(p), env)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(config.Metrics, "1.2.3")
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

// What is sent has the headers and the body that the protocol wants.
func TestRequest(t *testing.T) {
	want := only(t, small())
	for _, p := range []Protocol{JSON, Protobuf, GRPC} {
		for _, compression := range []string{"gzip", "none"} {
			t.Run(string(p)+" "+compression, func(t *testing.T) {
				var got *http.Request
				var body []byte
				env := map[string]string{prefix + "HEADERS": "Api-Key=s%20e", prefix + "COMPRESSION": compression}
				c := serve(t, p, env, func(w http.ResponseWriter, r *http.Request) {
					got = r
					body, _ = io.ReadAll(r.Body)
					if p == GRPC {
						w.Header().Set("Trailer", "Grpc-Status")
						w.Write(frame(nil, false))
						w.Header().Set("Grpc-Status", "0")
					}
				})
				if a := c.post(t.Context(), want); a.err != nil || a.bytes != len(body) && a.bytes != len(body)-frameHeader {
					t.Fatalf("%+v, %d bytes arrived", a, len(body))
				}
				h := got.Header
				if h.Get("Api-Key") != "s e" || h.Get("User-Agent") != "ingero/1.2.3" || got.Method != "POST" {
					t.Errorf("%s %v", got.Method, h)
				}
				zipped, path := h.Get("Content-Encoding") == "gzip", "/v1/metrics"
				if p == GRPC {
					if h.Get("Te") != "trailers" || h.Get("Content-Type") != "application/grpc" || h.Get("Grpc-Timeout") == "" || got.ProtoMajor != 2 {
						t.Errorf("%s %v", got.Proto, h)
					}
					zipped, path = h.Get("Grpc-Encoding") == "gzip", metricsSignal.method
					if (body[0] == 1) != zipped {
						t.Errorf("the frame says %d", body[0])
					}
					body = body[frameHeader:]
				} else if h.Get("Content-Type") != map[Protocol]string{JSON: "application/json", Protobuf: "application/x-protobuf"}[p] {
					t.Errorf("%v", h)
				}
				if got.URL.Path != path || zipped != (compression == "gzip") {
					t.Errorf("%s, compressed: %v", got.URL.Path, zipped)
				}
				if m := decoded(t, p, body, zipped); !proto.Equal(m, want) {
					t.Errorf("another message arrived: %v", m)
				}
			})
		}
	}
}

func decoded(t *testing.T, p Protocol, body []byte, zipped bool) proto.Message {
	t.Helper()
	if zipped {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if body, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
	}
	m := &colmetrics.ExportMetricsServiceRequest{}
	kind := ""
	if p == JSON {
		kind = "application/json"
	}
	if err := decode(kind, body, m); err != nil {
		t.Fatal(err)
	}
	return m
}

// Which answers are failures, which of them pass, and how long they take.
func TestHTTPAnswers(t *testing.T) {
	status := func(message string) string {
		return string(protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), message))
	}
	for _, c := range []struct {
		code       int
		kind, body string
		retryAfter string
		want       answer
		says       string
	}{
		{code: 200, kind: "application/json", body: "{}"},
		{code: 200, kind: "application/json", body: `{"partialSuccess":{"rejectedDataPoints":"3","errorMessage":"too\nold"},"more":1}`, want: answer{rejected: 3, message: "too old"}},
		{code: 200, kind: "application/json; charset=utf-8", body: `{"partialSuccess":{"rejectedDataPoints":3}}`, want: answer{rejected: 3}},
		{code: 200, kind: "application/json", body: `not JSON`},
		{code: 202, kind: "text/plain", body: `ok`},
		{code: 204},
		{code: 301, says: "301"},
		{code: 400, kind: "application/json", body: `{"code":3,"message":"bad \u001b[31mrequest"}`, says: "400 Bad Request: bad ·[31mrequest"},
		{code: 401, kind: "text/plain", body: "who?\n", says: "401 Unauthorized: who?"},
		{code: 404, kind: "text/html", body: "<html>", says: "HTTP 404 Not Found"},
		{code: 413},
		{code: 500, kind: "application/x-protobuf", body: status("broken"), says: "500 Internal Server Error: broken"},
		{code: 500, kind: "application/x-protobuf", body: "\xff\xff", says: "HTTP 500 Internal Server Error"},
		{code: 429, retryAfter: "7", want: answer{retry: true, after: 7 * time.Second}},
		{code: 429, retryAfter: "99999999", want: answer{retry: true, after: obeyedWait}},
		{code: 502, want: answer{retry: true}},
		{code: 503, retryAfter: "-3", want: answer{retry: true}},
		{code: 504, retryAfter: "Mon, 02 Jan 2006 15:04:05 GMT", want: answer{retry: true}}, // long ago
		{code: 501},
		{code: 505},
	} {
		client := serve(t, JSON, nil, func(w http.ResponseWriter, r *http.Request) {
			if c.kind != "" {
				w.Header().Set("Content-Type", c.kind)
			}
			if c.retryAfter != "" {
				w.Header().Set("Retry-After", c.retryAfter)
			}
			if c.code == 301 {
				w.Header().Set("Location", "/elsewhere")
			}
			w.WriteHeader(c.code)
			io.WriteString(w, c.body)
		})
		got := client.post(t.Context(), &colmetrics.ExportMetricsServiceRequest{})
		if (got.err != nil) != (c.code/100 != 2) {
			t.Errorf("%d: %v", c.code, got.err)
		} else if got.err != nil && !strings.Contains(got.err.Error(), c.says) {
			t.Errorf("%d: %v, want %s", c.code, got.err, c.says)
		}
		if got.retry != c.want.retry || got.after != c.want.after || got.rejected != c.want.rejected || got.message != c.want.message {
			t.Errorf("%d %s: %+v, want %+v", c.code, c.body, got, c.want)
		}
	}
}

func TestRetryAfterDate(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		now.Add(90 * time.Second).Format(http.TimeFormat): 90 * time.Second,
		now.Add(90 * time.Hour).Format(http.TimeFormat):   obeyedWait,
		now.Add(-time.Hour).Format(http.TimeFormat):       0,
		"soon": 0, "": 0, " 5 ": 5 * time.Second,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// retryInfo is google.rpc.Status with such a detail, as a header has it.
func retryInfo(kind string, seconds, nanos uint64) string {
	field := func(b []byte, n protowire.Number, v []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
	}
	var d []byte
	d = protowire.AppendVarint(protowire.AppendTag(d, 1, protowire.VarintType), seconds)
	d = protowire.AppendVarint(protowire.AppendTag(d, 2, protowire.VarintType), nanos)
	any := field(field(nil, 1, []byte("type.googleapis.com/google.rpc."+kind)), 2, field(nil, 1, d))
	return base64.StdEncoding.EncodeToString(field(field(nil, 2, []byte("busy")), 3, any))
}

func TestGRPCAnswers(t *testing.T) {
	partial, err := proto.Marshal(&colmetrics.ExportMetricsServiceResponse{
		PartialSuccess: &colmetrics.ExportMetricsPartialSuccess{RejectedDataPoints: 2, ErrorMessage: "old"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		http      int
		status    string // none: no gRPC
		message   string
		details   string
		body      []byte
		inHeaders bool // an answer of headers only
		want      answer
		says      string
	}{
		{name: "taken", status: "0", body: frame(nil, false)},
		{name: "in part", status: "0", body: frame(partial, false), want: answer{rejected: 2, message: "old"}},
		{name: "no frame", status: "0"},
		{name: "cut frame", status: "0", body: frame(partial, false)[:7]},
		{name: "invalid", status: "3", message: "not%20this%0A", inHeaders: true, says: "INVALID_ARGUMENT: not this"},
		{name: "invalid, in trailers", status: "3", message: "100%", says: "INVALID_ARGUMENT: 100%"},
		{name: "no code", status: "77", says: "UNKNOWN"},
		{name: "unauthenticated", status: "16", inHeaders: true, says: "UNAUTHENTICATED"},
		{name: "unimplemented", status: "12", inHeaders: true, says: "UNIMPLEMENTED"},
		{name: "unavailable", status: "14", inHeaders: true, want: answer{retry: true}, says: "UNAVAILABLE"},
		{name: "unavailable for a time", status: "14", details: retryInfo("RetryInfo", 3, 5e8), want: answer{retry: true, after: 3500 * time.Millisecond}, says: "UNAVAILABLE"},
		{name: "exhausted", status: "8", inHeaders: true, says: "RESOURCE_EXHAUSTED"},
		{name: "exhausted for a time", status: "8", inHeaders: true, details: retryInfo("RetryInfo", 1<<40, 0), want: answer{retry: true, after: obeyedWait}, says: "RESOURCE_EXHAUSTED"},
		{name: "exhausted, other details", status: "8", inHeaders: true, details: retryInfo("QuotaFailure", 1, 0), says: "RESOURCE_EXHAUSTED"},
		{name: "not base64", status: "8", inHeaders: true, details: "%%%", says: "RESOURCE_EXHAUSTED"},
		{name: "no gRPC", body: []byte("hello"), says: "not gRPC"},
		{name: "proxy", http: 503, want: answer{retry: true}, says: "503"},
		{name: "other proxy", http: 404, says: "404"},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := serve(t, GRPC, nil, func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				h := w.Header()
				set := func(at string) {
					for k, v := range map[string]string{"Grpc-Status": c.status, "Grpc-Message": c.message, "Grpc-Status-Details-Bin": c.details} {
						if v != "" {
							h.Set(at+k, v)
						}
					}
				}
				if c.http != 0 {
					w.WriteHeader(c.http)
					return
				}
				if c.inHeaders {
					set("")
					return
				}
				w.WriteHeader(200)
				w.Write(c.body)
				set(http.TrailerPrefix)
			})
			got := client.post(t.Context(), &colmetrics.ExportMetricsServiceRequest{})
			if (got.err != nil) != (c.says != "") || got.err != nil && !strings.Contains(got.err.Error(), c.says) {
				t.Errorf("%v, want %q", got.err, c.says)
			}
			if got.retry != c.want.retry || got.after != c.want.after || got.rejected != c.want.rejected || got.message != c.want.message {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func TestCodes(t *testing.T) {
	for code := range codes {
		want := strings.Contains(" CANCELLED DEADLINE_EXCEEDED ABORTED OUT_OF_RANGE UNAVAILABLE DATA_LOSS ", " "+codes[code]+" ")
		if passingCodes[code] != want {
			t.Errorf("%s: passes %v, want %v", codes[code], !want, want)
		}
	}
}

// Answers of logs have another field for what was rejected.
func TestLogsAnswer(t *testing.T) {
	body, err := proto.Marshal(&collogs.ExportLogsServiceResponse{PartialSuccess: &collogs.ExportLogsPartialSuccess{RejectedLogRecords: 4}})
	if err != nil {
		t.Fatal(err)
	}
	c := &client{Target: &Target{signal: logsSignal}}
	if n, _ := c.partial("application/x-protobuf", body); n != 4 {
		t.Errorf("%d", n)
	}
	if n, _ := c.partial("application/json", []byte(`{"partialSuccess":{"rejectedLogRecords":"5"}}`)); n != 5 {
		t.Errorf("%d", n)
	}
}

func TestCompressedFrame(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte("hello"))
	z.Close()
	if got, err := unframe(frame(b.Bytes(), true), "gzip"); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := unframe(frame(b.Bytes(), true), "identity"); err == nil {
		t.Error("compressed in no known way")
	}
}

// Nobody there, nobody who answers, somebody who speaks another protocol:
// each is an error in time, and may pass.
func TestNoAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	silent := l.Addr().String() // the kernel accepts, nobody reads
	defer l.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for _, p := range []Protocol{JSON, Protobuf, GRPC} {
		for addr, says := range map[string]string{silent: "no answer in time", gone.Addr().String(): "connection refused"} {
			c := clientFor(t, "http://me:secret@"+addr, p, map[string]string{prefix + "TIMEOUT": "150"})
			began := time.Now()
			a := c.post(t.Context(), &colmetrics.ExportMetricsServiceRequest{})
			if a.err == nil || !a.retry || !strings.Contains(a.err.Error(), says) || strings.Contains(a.err.Error(), "secret") {
				t.Errorf("%s %s: %+v", p, says, a)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("%s %s: it took %v", p, says, took)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a := clientFor(t, silent, JSON, nil).post(ctx, &colmetrics.ExportMetricsServiceRequest{}); a.err == nil {
		t.Error("canceled, and no error")
	}
}

// Whatever a collector answers is read without harm, and never asks for more
// than we obey.
func FuzzAnswer(f *testing.F) {
	details, _ := base64.StdEncoding.DecodeString(retryInfo("RetryInfo", 3, 5e8))
	f.Add(details)
	f.Add(frame([]byte("hello"), true))
	f.Add([]byte(`{"partialSuccess":{"rejectedDataPoints":"-3","errorMessage":"x"}}`))
	c := &client{Target: &Target{signal: metricsSignal}}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, wait := readStatus(b); wait > obeyedWait {
			t.Errorf("to wait %v", wait)
		}
		if message, err := unframe(b, "gzip"); err == nil && len(message) > max(maxAnswer, len(b)) {
			t.Errorf("%d bytes", len(message))
		}
		for _, kind := range []string{"application/json", "application/x-protobuf", "text/plain"} {
			_, message := c.partial(kind, b)
			for _, text := range []string{message, failure(kind, b)} {
				if len([]rune(text)) > maxReason+1 || strings.ContainsAny(text, "\n\x1b") {
					t.Errorf("%q", text)
				}
			}
		}
	})
}
