package otlp

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"ingero/internal/metric"
)

// Protocol is how requests are encoded and carried.
type Protocol string

const (
	JSON     Protocol = "http/json"
	Protobuf Protocol = "http/protobuf"
	GRPC     Protocol = "grpc"
)

// Environment, as an endpoint, says that the variables name it.
const Environment = "env"

const (
	httpPort = "4318" // by the specification
	grpcPort = "4317"

	defaultInterval = 10 * time.Second
	minInterval     = 100 * time.Millisecond
	defaultTimeout  = 10 * time.Second
)

// Options are what the user said: the flags, which win, and the variables.
type Options struct {
	Endpoint string        // URL, host:port, host, or Environment
	Protocol string        // empty: by the variables, or else JSON
	Interval time.Duration // between pushes of metrics; 0: by the variable, or else 10 s
	Getenv   func(string) string
}

// Config is what Options mean.
type Config struct {
	Metrics, Logs *Target // nil: not pushed
	Interval      time.Duration
	Resource      []metric.Attr // said by the variables; wins over what we find
}

// Target is where and how one signal is pushed.
type Target struct {
	signal   signal
	protocol Protocol
	url      *url.URL
	headers  http.Header // may hold secrets
	timeout  time.Duration
	gzip     bool
	tls      *tls.Config // nil over plain HTTP
}

// String names the target without what may be secret: user, query, headers.
func (t *Target) String() string {
	shown := url.URL{Scheme: t.url.Scheme, Host: t.url.Host}
	if t.protocol != GRPC {
		shown.Path = t.url.Path
	}
	return shown.String()
}

// hint says what is likely wrong with a target that does not answer well: the
// usual port of another protocol.
func (t *Target) hint() string {
	switch port := t.url.Port(); {
	case t.protocol == GRPC && port == httpPort:
		return " (" + port + " is the port for HTTP; is --otlp-protocol http/json or http/protobuf meant?)"
	case t.protocol != GRPC && port == grpcPort:
		return " (" + port + " is the port for gRPC; is --otlp-protocol grpc meant?)"
	}
	return ""
}

// Parse checks all options and reads the certificates they name. Errors say
// which flag or variable is wrong. The result has no target when the
// variables switch all exports off.
func Parse(o Options) (*Config, error) {
	v := variables(o.Getenv)
	c := &Config{}
	var err error
	if off, err := v.boolean("OTEL_SDK_DISABLED"); err != nil || off {
		return c, err
	}
	if c.Interval, err = v.interval(o.Interval); err != nil {
		return nil, err
	}
	if c.Resource, err = v.resource(); err != nil {
		return nil, err
	}
	if err := v.temporality(); err != nil {
		return nil, err
	}
	for _, s := range []struct {
		signal
		to **Target
	}{{metricsSignal, &c.Metrics}, {logsSignal, &c.Logs}} {
		if wanted, err := v.wanted(s.signal); err != nil {
			return nil, err
		} else if wanted {
			if *s.to, err = v.target(s.signal, o); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

// target puts together where and how a signal is pushed.
func (v variables) target(s signal, o Options) (*Target, error) {
	t := &Target{signal: s}
	var err error
	if t.protocol, err = v.protocol(s, o.Protocol); err != nil {
		return nil, err
	}
	if t.headers, err = v.headers(s); err != nil {
		return nil, err
	}
	if t.timeout, err = v.timeout(s); err != nil {
		return nil, err
	}
	if t.gzip, err = v.compressed(s); err != nil {
		return nil, err
	}
	config, given, err := v.certificates(s)
	if err != nil {
		return nil, err
	}
	if t.url, err = v.endpoint(t, o.Endpoint, given); err != nil {
		return nil, err
	}
	if t.url.Scheme == "https" {
		t.tls = config
	}
	return t, nil
}

// protocol is the flag's, the variables', or JSON.
func (v variables) protocol(s signal, flag string) (Protocol, error) {
	text, name := flag, "--otlp-protocol"
	if text == "" {
		text, name = v.lookup(s, "PROTOCOL")
	}
	switch p := Protocol(text); p {
	case "":
		return JSON, nil
	case JSON, Protobuf, GRPC:
		return p, nil
	}
	return "", fmt.Errorf("%s %q: give http/json, http/protobuf or grpc", name, text)
}
