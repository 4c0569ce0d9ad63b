package otlp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/klauspost/compress/gzip"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const (
	dialTimeout = 5 * time.Second
	maxAnswer   = 64 << 10 // bytes of an answer that are read
	maxReason   = 200      // characters of it that are shown
)

// answer is what became of one request.
type answer struct {
	err      error         // nil: it was taken
	retry    bool          // the same may be taken later
	after    time.Duration // how long the collector wants us to wait before
	rejected int64         // items of a request that was taken, which were not
	message  string        // why, or a warning
	bytes    int           // sent, compressed
	status   string        // for the log: 200 OK
}

// client sends the requests of one target, one at a time.
type client struct {
	*Target
	http  *http.Client
	agent string
	raw   []byte // a message before compression
	zip   *gzip.Writer
}

func newClient(t *Target, version string) *client {
	transport := &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext, TLSHandshakeTimeout: dialTimeout,
		TLSClientConfig: t.tls, DisableCompression: true,
		MaxIdleConnsPerHost: 1, IdleConnTimeout: 90 * time.Second,
		Protocols: &http.Protocols{},
	}
	transport.Protocols.SetHTTP1(t.protocol != GRPC)
	transport.Protocols.SetHTTP2(true)
	if t.protocol == GRPC && t.tls == nil {
		transport.Protocols.SetUnencryptedHTTP2(true)
		transport.Proxy = nil // net/http has no tunnel for it
	}
	return &client{Target: t, agent: "ingero/" + version, http: &http.Client{
		Transport: transport,
		// Headers that hold secrets are not taken elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// post sends one message and waits for the answer, for the target's timeout
// at most.
func (c *client) post(ctx context.Context, m proto.Message) answer {
	body, err := c.encode(m)
	if err != nil {
		return answer{err: fmt.Errorf("encode: %w", err)}
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	send := c.postHTTP
	if c.protocol == GRPC {
		send = c.postGRPC
	}
	a := send(ctx, body)
	a.bytes = len(body)
	return a
}

// encode gives the body of a request, compressed if wanted.
func (c *client) encode(m proto.Message) ([]byte, error) {
	var body []byte
	var err error
	if c.protocol == JSON {
		body, err = appendJSON(c.raw[:0], m)
	} else {
		body, err = proto.MarshalOptions{}.MarshalAppend(c.raw[:0], m)
	}
	if err != nil || !c.gzip {
		return body, err
	}
	c.raw = body // what is sent is a copy, so the next message can have this
	var out bytes.Buffer
	if c.zip == nil {
		if c.zip, err = gzip.NewWriterLevel(&out, gzip.BestSpeed); err != nil {
			return nil, err
		}
	} else {
		c.zip.Reset(&out)
	}
	if _, err := c.zip.Write(body); err != nil {
		return nil, err
	}
	err = c.zip.Close()
	return out.Bytes(), err
}

func (c *client) request(ctx context.Context, body []byte) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", c.agent)
	for name, values := range c.headers {
		r.Header[name] = values
	}
	return r, nil
}

// do sends the request and reads the answer. An error may be one that passes.
func (c *client) do(r *http.Request) (*http.Response, []byte, error) {
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, nil, unwrapped(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, nil, fmt.Errorf("read the answer: %w", unwrapped(err))
	}
	return resp, body, nil
}

// unwrapped leaves the URL out, which may have secrets in it, and says that
// time ran out in words.
func unwrapped(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	return err
}

func (c *client) postHTTP(ctx context.Context, body []byte) answer {
	r, err := c.request(ctx, body)
	if err != nil {
		return answer{err: err}
	}
	kind := "application/x-protobuf"
	if c.protocol == JSON {
		kind = "application/json"
	}
	r.Header.Set("Content-Type", kind)
	if c.gzip {
		r.Header.Set("Content-Encoding", "gzip")
	}
	resp, text, err := c.do(r)
	if err != nil {
		return answer{err: err, retry: true}
	}
	a := answer{status: resp.Status}
	if resp.StatusCode/100 != 2 {
		a.err = errors.New("HTTP " + resp.Status + colon(failure(resp.Header.Get("Content-Type"), text)))
		if a.retry = passing(resp.StatusCode); a.retry {
			a.after = retryAfter(resp.Header.Get("Retry-After"), time.Now())
		}
		return a
	}
	a.rejected, a.message = c.partial(resp.Header.Get("Content-Type"), text)
	return a
}

// partial reads the answer to a request that was taken. What is not a message
// says nothing.
func (c *client) partial(kind string, body []byte) (int64, string) {
	m := c.signal.answer()
	if err := decode(kind, body, m); err != nil {
		return 0, ""
	}
	n, message := rejected(m)
	return n, shown(message)
}

func decode(kind string, body []byte, m proto.Message) error {
	if strings.HasPrefix(kind, "application/json") {
		return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(body, m)
	}
	return proto.Unmarshal(body, m)
}

// shown makes a text from elsewhere fit for one line.
func shown(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return '·'
		}
		return r
	}, strings.ToValidUTF8(strings.TrimSpace(s), "·"))
	if r := []rune(s); len(r) > maxReason {
		s = string(r[:maxReason]) + "…"
	}
	return s
}

func colon(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}
