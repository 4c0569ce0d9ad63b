package otlp

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// endpoint is the URL that requests of a target go to. The flag names the
// collector; so does OTEL_EXPORTER_OTLP_ENDPOINT; the variable of the signal
// is the URL itself. secure: certificates are given, so TLS is meant.
func (v variables) endpoint(t *Target, flag string, secure bool) (*url.URL, error) {
	text, name, whole := flag, "--otlp", false
	scheme := "http" // of an endpoint without one
	insecure, insecureName := v.lookup(t.signal, "INSECURE")
	plain, err := boolean(insecureName, insecure)
	if err != nil {
		return nil, err
	}
	if secure && !plain || insecure != "" && !plain {
		scheme = "https"
	}
	if flag == Environment {
		text, name = v.lookup(t.signal, "ENDPOINT")
		whole = name == variable(t.signal, "ENDPOINT")
		switch {
		case text == "":
			text = "localhost"
		case t.protocol != GRPC:
			scheme = "" // a URL, says the specification
		case insecure == "":
			scheme = "https" // says the specification
		}
	}
	u, err := parseEndpoint(text, scheme, t.protocol)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if bare := !strings.Contains(text, "://"); bare && u.Scheme == "http" && insecure == "" && len(t.headers) > 0 && !isLoopback(u.Hostname()) {
		return nil, fmt.Errorf("%s %s: headers are set, which anybody on the way could read; write https://%[2]s, or http://%[2]s if that is all right", name, u.Host)
	}
	return u, place(u, t, name, whole)
}

// place completes the path.
func place(u *url.URL, t *Target, name string, whole bool) error {
	ends := strings.HasSuffix(u.Path, metricsSignal.path) || strings.HasSuffix(u.Path, logsSignal.path)
	switch {
	case t.protocol == GRPC && strings.Trim(u.Path, "/") != "":
		return fmt.Errorf("%s: gRPC has no path %s; leave it out, or give --otlp-protocol http/protobuf", name, u.Path)
	case t.protocol == GRPC:
		u.Path = t.signal.method
	case whole && u.Path == "":
		u.Path = "/"
	case whole:
	case ends:
		return fmt.Errorf("%s: leave %s out, it is appended", name, u.Path[strings.LastIndex(u.Path, "/v1/"):])
	default:
		u.Path = strings.TrimSuffix(u.Path, "/") + t.signal.path
		u.RawPath = ""
	}
	return nil
}

// parseEndpoint reads a URL, or host:port or host, for which scheme is taken;
// without one they are refused.
func parseEndpoint(text, scheme string, p Protocol) (*url.URL, error) {
	bare := !strings.Contains(text, "://")
	if bare && scheme == "" {
		return nil, errors.New("write http://host:port or https://host:port")
	}
	if bare {
		text = scheme + "://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) { // it quotes the text, in which there may be a password
			err = wrapped.Err
		}
		return nil, fmt.Errorf("not an address: %w", err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%s:// is not known; write http://, https:// or just host:port", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New("there is no host; write host:port or a URL")
	case u.Fragment != "":
		return nil, errors.New("a # has no place in it")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("port %s: give 1 to 65535", port)
		}
	} else if bare {
		u.Host = net.JoinHostPort(u.Hostname(), defaultPort(p))
	}
	return u, nil
}

func defaultPort(p Protocol) string {
	if p == GRPC {
		return grpcPort
	}
	return httpPort
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
