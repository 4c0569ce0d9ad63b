package otlp

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"ingero/internal/metric"
)

// variables reads the environment. What is set to nothing is not set.
// https://opentelemetry.io/docs/specs/otel/protocol/exporter/ defines them.
type variables func(string) string

func variable(s signal, what string) string {
	return "OTEL_EXPORTER_OTLP_" + strings.ToUpper(s.name) + "_" + what
}

// lookup returns the value of the signal's own variable, or else of that for
// all signals, and which it was.
func (v variables) lookup(s signal, what string) (value, name string) {
	name = variable(s, what)
	if value = strings.TrimSpace(v(name)); value == "" {
		name = "OTEL_EXPORTER_OTLP_" + what
		value = strings.TrimSpace(v(name))
	}
	return value, name
}

func (v variables) boolean(name string) (bool, error) { return boolean(name, v(name)) }

func boolean(name, text string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true":
		return true, nil
	case "false", "":
		return false, nil
	}
	return false, fmt.Errorf("%s=%q: give true or false", name, text)
}

// wanted reports whether a signal is exported: OTEL_METRICS_EXPORTER=none.
func (v variables) wanted(s signal) (bool, error) {
	name := "OTEL_" + strings.ToUpper(s.name) + "_EXPORTER"
	switch text := strings.TrimSpace(v(name)); text {
	case "", "otlp":
		return true, nil
	case "none":
		return false, nil
	default:
		return false, fmt.Errorf("%s=%q: give otlp or none", name, text)
	}
}

func milliseconds(name, text string) (time.Duration, error) {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%s=%q: give milliseconds, a whole number from 1 on", name, text)
	}
	return time.Duration(n) * time.Millisecond, nil
}

func (v variables) timeout(s signal) (time.Duration, error) {
	text, name := v.lookup(s, "TIMEOUT")
	if text == "" {
		return defaultTimeout, nil
	}
	return milliseconds(name, text)
}

func (v variables) interval(flag time.Duration) (time.Duration, error) {
	const name = "OTEL_METRIC_EXPORT_INTERVAL"
	source, d := "--otlp-interval", flag
	if d == 0 {
		text := strings.TrimSpace(v(name))
		if text == "" {
			return defaultInterval, nil
		}
		var err error
		if d, err = milliseconds(name, text); err != nil {
			return 0, err
		}
		source = name
	}
	if d < minInterval {
		return 0, fmt.Errorf("%s: %v is too often; give at least %v", source, d, minInterval)
	}
	return d, nil
}

// temporality refuses what we cannot do: values are totals since the start.
func (v variables) temporality() error {
	const name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
	switch text := strings.ToLower(strings.TrimSpace(v(name))); text {
	case "", "cumulative":
		return nil
	case "delta", "lowmemory":
		return fmt.Errorf("%s=%s: only cumulative is pushed; the collector's cumulativetodelta processor makes deltas of it", name, text)
	default:
		return fmt.Errorf("%s=%q: give cumulative", name, text)
	}
}

func (v variables) compressed(s signal) (bool, error) {
	switch text, name := v.lookup(s, "COMPRESSION"); text {
	case "", "gzip":
		return true, nil
	case "none":
		return false, nil
	default:
		return false, fmt.Errorf("%s=%q: give gzip or none", name, text)
	}
}

// ownHeaders are ours to set.
var ownHeaders = []string{"content-type", "content-encoding", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "host", "grpc-timeout", "grpc-encoding"}

var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$") // RFC 9110, token

// headers never shows values in errors: they may be secret.
func (v variables) headers(s signal) (http.Header, error) {
	text, name := v.lookup(s, "HEADERS")
	all := http.Header{}
	for _, p := range pairs(text) {
		switch key := strings.ToLower(p.key); {
		case p.err != nil || !headerName.MatchString(p.key) || strings.ContainsFunc(p.value, unicode.IsControl):
			return nil, fmt.Errorf("%s: part %d is not of the form name=value, with %%20 and the like for other characters", name, p.number)
		case slices.Contains(ownHeaders, key):
			return nil, fmt.Errorf("%s: %s cannot be set", name, key)
		default:
			all.Add(p.key, p.value)
		}
	}
	return all, nil
}

// resource is what the variables say of who pushes. OTEL_SERVICE_NAME wins.
func (v variables) resource() ([]metric.Attr, error) {
	const name = "OTEL_RESOURCE_ATTRIBUTES"
	var all []metric.Attr
	for _, p := range pairs(strings.TrimSpace(v(name))) {
		if p.err != nil || p.key == "" {
			return nil, fmt.Errorf("%s: part %d is not of the form key=value, with %%20 and the like for other characters", name, p.number)
		}
		all = append(all, metric.Attr{Key: p.key, Value: p.value})
	}
	if service := strings.TrimSpace(v("OTEL_SERVICE_NAME")); service != "" {
		all = append(all, metric.Attr{Key: "service.name", Value: service})
	}
	return merge(nil, all), nil
}

// merge puts attributes over others, ordered by key.
func merge(under, over []metric.Attr) []metric.Attr {
	values := map[string]string{}
	for _, a := range slices.Concat(under, over) {
		values[a.Key] = a.Value
	}
	all := make([]metric.Attr, 0, len(values))
	for k, value := range values {
		all = append(all, metric.Attr{Key: k, Value: value})
	}
	slices.SortFunc(all, func(a, b metric.Attr) int { return cmp.Compare(a.Key, b.Key) })
	return all
}

type pair struct {
	number     int
	key, value string
	err        error
}

// pairs reads key=value,key=value in the encoding of W3C baggage: percent
// signs introduce other characters.
func pairs(text string) []pair {
	if text == "" {
		return nil
	}
	var all []pair
	for part := range strings.SplitSeq(strings.TrimSuffix(text, ","), ",") {
		key, value, ok := strings.Cut(part, "=")
		p := pair{number: len(all) + 1}
		var keyErr, valueErr error
		p.key, keyErr = url.PathUnescape(strings.TrimSpace(key))
		p.value, valueErr = url.PathUnescape(strings.TrimSpace(value))
		p.err = errors.Join(keyErr, valueErr)
		if !ok {
			p.err = errors.New("no =")
		}
		all = append(all, p)
	}
	return all
}

// certificates are those that the variables name, and whether there are any.
func (v variables) certificates(s signal) (*tls.Config, bool, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	ca, name := v.lookup(s, "CERTIFICATE")
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", name, err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, false, fmt.Errorf("%s: there is no certificate in %s", name, ca)
		}
	}
	cert, certName := v.lookup(s, "CLIENT_CERTIFICATE")
	key, keyName := v.lookup(s, "CLIENT_KEY")
	if (cert == "") != (key == "") {
		return nil, false, fmt.Errorf("%s and %s: give both or none", certName, keyName)
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, false, fmt.Errorf("%s and %s: %w", certName, keyName, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, ca != "" || cert != "", nil
}
