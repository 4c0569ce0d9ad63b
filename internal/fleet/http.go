package fleet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// address is a node: host:port, or a URL. #HEX after it is the SHA-256
// fingerprint of its certificate, which the dashboard prints at its start.
type address struct {
	text        string
	scheme      string // empty: HTTPS, and plain HTTP where the node speaks that
	host        string // with port
	fingerprint string
}

func parseAddress(s string) (address, error) {
	a := address{text: s}
	rest, finger, _ := strings.Cut(strings.TrimSpace(s), "#")
	if scheme, after, has := strings.Cut(rest, "://"); has {
		a.scheme, rest = scheme, strings.TrimSuffix(after, "/")
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil || host == "" || port == "" || strings.ContainsAny(rest, "/?@ ") || a.scheme != "" && a.scheme != "http" && a.scheme != "https" {
		return a, fmt.Errorf("node %q: write host:port, http://host:port or https://host:port", s)
	}
	a.host = rest
	a.fingerprint = strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(finger, "sha256:"), ":", ""))
	if b, err := hex.DecodeString(a.fingerprint); err != nil || len(b) != 0 && len(b) != sha256.Size {
		return a, fmt.Errorf("node %q: after # comes the SHA-256 fingerprint of its certificate, 64 hexadecimal digits", s)
	}
	return a, nil
}

// httpClients has a client for each fingerprint: who must be answered by that
// certificate shares no connection with others.
type httpClients struct {
	roots *x509.CertPool

	mu  *sync.Mutex
	all map[string]*http.Client
}

func newClients(ca string) (httpClients, error) {
	h := httpClients{mu: &sync.Mutex{}, all: map[string]*http.Client{}}
	if ca == "" {
		return h, nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return h, fmt.Errorf("read the certificates of nodes: %w", err)
	}
	if h.roots, err = x509.SystemCertPool(); err != nil {
		h.roots = x509.NewCertPool()
	}
	if !h.roots.AppendCertsFromPEM(pem) {
		return h, fmt.Errorf("%s: there is no certificate in it", ca)
	}
	return h, nil
}

func (h *httpClients) get(fingerprint string) *http.Client {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.all[fingerprint]; c != nil {
		return c
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: h.roots}
	if fingerprint != "" {
		config.InsecureSkipVerify = true // the fingerprint is checked instead
		config.VerifyConnection = func(s tls.ConnectionState) error {
			sum := sha256.Sum256(s.PeerCertificates[0].Raw)
			if hex.EncodeToString(sum[:]) != fingerprint {
				return errors.New("its certificate has another fingerprint")
			}
			return nil
		}
	}
	c := &http.Client{
		Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, TLSClientConfig: config, TLSHandshakeTimeout: 5 * time.Second,
			ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 2,
		},
		// A node that sends us elsewhere could send the token there.
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("it sends us to another address") },
	}
	h.all[fingerprint] = c
	return c
}

// question asks one node. It settles the scheme of the address.
func (c *Client) question(ctx context.Context, a *address, name string, params map[string]string) ([]byte, error) {
	if a.scheme != "" {
		return c.send(ctx, *a, name, params)
	}
	tried := *a
	tried.scheme = "https"
	body, err := c.send(ctx, tried, name, params)
	if !speaksPlain(err) {
		a.scheme = "https"
		return body, err
	}
	if c.tokenFor(*a) != "" {
		return nil, fmt.Errorf("it speaks plain HTTP, in which anybody on the way can read the token; if that is all right, name it http://%s", a.host)
	}
	a.scheme = "http"
	return c.send(ctx, *a, name, params)
}

// speaksPlain reports whether the node answered TLS with plain HTTP.
func speaksPlain(err error) bool {
	var wrong tls.RecordHeaderError
	return err != nil && (errors.As(err, &wrong) && string(wrong.RecordHeader[:4]) == "HTTP" || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"))
}

func (c *Client) tokenFor(a address) string {
	if slices.Contains(c.opts.Trusted, a.text) {
		return c.opts.Token
	}
	return ""
}

func (c *Client) send(ctx context.Context, a address, name string, params map[string]string) ([]byte, error) {
	u := url.URL{Scheme: a.scheme, Host: a.host, Path: "/api/v1/" + name}
	method, body := http.MethodGet, []byte(nil)
	if name == "sql" {
		u.Path, method = "/api/v1/query", http.MethodPost
		body = statement(params)
	} else {
		values := url.Values{}
		for k, v := range params {
			values.Set(k, v)
		}
		u.RawQuery = values.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	token := c.tokenFor(a)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.http.get(a.fingerprint).Do(req)
	if err != nil {
		return nil, explained(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read its answer: %w", err)
	case len(answer) > maxBody:
		return nil, fmt.Errorf("its answer has more than %d bytes; ask for less", maxBody)
	case resp.StatusCode != http.StatusOK:
		return nil, refused(resp.StatusCode, answer, token != "")
	}
	return answer, nil
}

// statement is a question in SQL as it is posted.
func statement(params map[string]string) []byte {
	n, _ := strconv.Atoi(params["limit"]) // none is none
	b, err := json.Marshal(struct {
		SQL   string `json:"sql"`
		Limit int    `json:"limit,omitempty"`
	}{params["sql"], n})
	if err != nil {
		panic(err) // texts and numbers always can be
	}
	return b
}

// explained says what to do where the reason is known.
func explained(err error) error {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	if errors.As(err, &unknown) || errors.As(err, &name) {
		return fmt.Errorf("its certificate is not known: name the node HOST:PORT#FINGERPRINT as its dashboard prints it, or set INGERO_FLEET_CA to a file of certificates (%w)", err)
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		if wrapped.Timeout() {
			return errors.New("it did not answer in time")
		}
		return wrapped.Err
	}
	return err
}

// refused tells why, in the node's words if they are ours.
func refused(status int, answer []byte, withToken bool) error {
	var said struct{ Error string }
	if json.Unmarshal(answer, &said) != nil || said.Error == "" {
		return fmt.Errorf("HTTP status %d; is it an ingero dashboard?", status)
	}
	if status == http.StatusUnauthorized && !withToken {
		return errors.New("it needs a token; INGERO_FLEET_TOKEN is sent only to the nodes that --nodes or INGERO_NODES names")
	}
	if len(said.Error) > 500 {
		said.Error = said.Error[:500]
	}
	return errors.New(said.Error)
}
