package serve

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// start serves until the test ends, and returns the port.
func start(t *testing.T, o Options, h http.Handler) (*Server, string) {
	t.Helper()
	s, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, h, func(path string) bool { return path == "/open" }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, fmt.Sprint(s.listener.Addr().(*net.TCPAddr).Port)
}

var hello = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		Fail(w, http.StatusRequestEntityTooLarge, err)
		return
	}
	io.WriteString(w, "hello")
})

// Who is answered, by address, Host, Origin and token.
func TestGuard(t *testing.T) {
	const token = "0123456789abcdef0123"
	cases := []struct {
		name   string
		opts   Options
		header map[string]string
		path   string
		want   int
	}{
		{"localhost", Options{}, map[string]string{"Host": "localhost:1"}, "/", 200},
		{"loopback", Options{}, map[string]string{"Host": "[::1]:1"}, "/", 200},
		{"a name that was made to lead here", Options{}, map[string]string{"Host": "evil.example"}, "/", 403},
		{"a name that begins alike", Options{}, map[string]string{"Host": "localhost.evil.example"}, "/", 403},
		{"another address", Options{}, map[string]string{"Host": "10.0.0.1"}, "/", 403},
		{"a name of ours", Options{Hosts: []string{"GPU-1"}}, map[string]string{"Host": "gpu-1:80"}, "/", 200},
		{"a foreign page", Options{}, map[string]string{"Host": "localhost", "Origin": "https://evil.example"}, "/", 403},
		{"our page", Options{}, map[string]string{"Host": "localhost:1", "Origin": "https://localhost:1"}, "/", 200},
		{"another port", Options{}, map[string]string{"Host": "localhost:1", "Origin": "https://localhost:2"}, "/", 403},
		{"no origin at all", Options{}, map[string]string{"Host": "localhost", "Origin": "null"}, "/", 403},
		{"a script of a foreign page", Options{}, map[string]string{"Host": "localhost", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, "/", 403},
		{"a link of a foreign page", Options{}, map[string]string{"Host": "localhost", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, "/", 200},
		{"no token", Options{Token: token}, nil, "/", 401},
		{"no token, no data", Options{Token: token}, nil, "/open", 200},
		{"a wrong token", Options{Token: token}, map[string]string{"Authorization": "Bearer " + token + "x"}, "/", 401},
		{"not a bearer", Options{Token: token}, map[string]string{"Authorization": "Basic " + token}, "/", 401},
		{"the token", Options{Token: token}, map[string]string{"Authorization": "Bearer " + token}, "/", 200},
		{"the token, a wrong name", Options{Token: token}, map[string]string{"Authorization": "Bearer " + token, "Host": "evil.example"}, "/", 403},
	}
	for _, plain := range []bool{true, false} {
		for _, c := range cases {
			c.opts.Addr, c.opts.NoTLS = "127.0.0.1:0", plain
			s, _ := start(t, c.opts, hello)
			r, err := http.NewRequest("GET", s.URL()+c.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range c.header {
				if k == "Host" {
					r.Host = v
				} else {
					r.Header.Set(k, v)
				}
			}
			got, err := client().Do(r)
			if err != nil {
				t.Fatal(c.name, ": ", err)
			}
			got.Body.Close()
			if got.StatusCode != c.want || got.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s (plain %v): %s, want %d", c.name, plain, got.Status, c.want)
			}
		}
	}
}

// Where everybody is answered, names matter only if we say so.
func TestAnyHost(t *testing.T) {
	for _, c := range []struct {
		addr string
		any  bool
		want int
	}{{"0.0.0.0:0", false, 403}, {"0.0.0.0:0", true, 200}, {"127.0.0.1:0", true, 403}} {
		s, port := start(t, Options{Addr: c.addr, NoTLS: true, Insecure: true, AnyHost: c.any}, hello)
		if s.Local() != (c.addr == "127.0.0.1:0") {
			t.Errorf("%s: local %v", c.addr, s.Local())
		}
		r, err := http.NewRequest("GET", "http://127.0.0.1:"+port, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "gpu-7.cluster.example"
		got, err := client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		got.Body.Close()
		if got.StatusCode != c.want {
			t.Errorf("%+v: %s", c, got.Status)
		}
	}
}

func client() *http.Client {
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
}

// Other addresses than loopback need a token or a word.
func TestListen(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", "[::]:0", "example.com:0", "8080", ""} {
		if s, err := Listen(Options{Addr: addr}); err == nil {
			t.Errorf("%q: listens on %s", addr, s.URL())
			s.Close()
		}
	}
	for _, o := range []Options{{Addr: ":0"}, {Addr: "localhost:0"}, {Addr: "0.0.0.0:0", Insecure: true}, {Addr: ":0", Token: "0123456789abcdef"}} {
		s, err := Listen(o)
		if err != nil {
			t.Errorf("%+v: %v", o, err)
			continue
		}
		ip := s.listener.Addr().(*net.TCPAddr).IP
		if open := o.Token != "" || o.Insecure; open == ip.IsLoopback() || (o.Addr == ":0" && !open) != (s.Note != "") {
			t.Errorf("%+v: listens on %v, note %q", o, ip, s.Note)
		}
		s.Close()
	}
	for _, o := range []Options{{Addr: ":0", Cert: "c"}, {Addr: ":0", Key: "k"}, {Addr: ":0", NoTLS: true, Cert: "c", Key: "k"}, {Addr: ":0", Cert: "/nowhere", Key: "/nowhere"}} {
		if s, err := Listen(o); err == nil {
			t.Errorf("%+v", o)
			s.Close()
		}
	}
}

func TestToken(t *testing.T) {
	dir := t.TempDir()
	file := func(text string) string {
		path := filepath.Join(dir, "token")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	none := func(string) string { return "" }
	if got, err := Token(file("0123456789abcdef\n"), none); got != "0123456789abcdef" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := Token("", func(string) string { return "abcdefghijklmnop" }); got != "abcdefghijklmnop" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := Token("", none); got != "" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, text := range []string{"", "short", "two words 0123456789", "ümlaut0123456789abc"} {
		if got, err := Token(file(text), none); err == nil {
			t.Errorf("%q: %q", text, got)
		}
	}
	if _, err := Token(filepath.Join(dir, "missing"), none); err == nil {
		t.Error("a file that is missing")
	}
}

// TLS 1.3 and nothing older, an ECDSA P-256 key, a day.
func TestCertificate(t *testing.T) {
	s, port := start(t, Options{Addr: "localhost:0"}, hello)
	if !strings.HasPrefix(s.URL(), "https://localhost:") || len(s.Fingerprint) != 64 {
		t.Errorf("%s, %s", s.URL(), s.Fingerprint)
	}
	if c, err := tls.Dial("tcp", "localhost:"+port, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}); err == nil {
		c.Close()
		t.Error("TLS 1.2 is spoken")
	}
	c, err := tls.Dial("tcp", "localhost:"+port, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cert := c.ConnectionState().PeerCertificates[0]
	key, is := cert.PublicKey.(*ecdsa.PublicKey)
	if !is || key.Curve != elliptic.P256() || cert.NotAfter.Sub(time.Now()) > 24*time.Hour {
		t.Errorf("%T until %v", cert.PublicKey, cert.NotAfter)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		if _, err := cert.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
			t.Error(err)
		}
	}
}

// A certificate is replaced before it ends, not at each request.
func TestCertificateIsRenewed(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := &ownCertificate{now: func() time.Time { return now }, names: []string{"localhost"}}
	get := func() *tls.Certificate {
		got, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := get()
	now = now.Add(22 * time.Hour)
	if get() != first {
		t.Error("replaced too early")
	}
	now = now.Add(2 * time.Hour)
	if get() == first {
		t.Error("not replaced")
	}
}

// A body that is too large, a client that never ends its request, and one
// that sends nothing at all do not keep others from being answered.
func TestLimits(t *testing.T) {
	s, port := start(t, Options{Addr: "127.0.0.1:0", NoTLS: true}, hello)
	large, err := client().Post(s.URL(), "text/plain", io.LimitReader(zeros{}, 100<<20))
	if err == nil {
		large.Body.Close()
		if large.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("a body of 100 MB: %s", large.Status)
		}
	}
	for range 50 {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx")
	}
	slow, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	fmt.Fprint(slow, "GET / HTTP/1.1\r\n")
	got, err := client().Get(s.URL())
	if err != nil || got.StatusCode != 200 {
		t.Fatal(got, err)
	}
	got.Body.Close()
	// The slow one is sent away after headerTimeout.
	slow.SetReadDeadline(time.Now().Add(2 * headerTimeout))
	if _, err := io.ReadAll(slow); err != nil {
		t.Errorf("a client that sends half a header: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// Answers on their way are finished when the end comes.
func TestEnd(t *testing.T) {
	begun, goOn := make(chan bool), make(chan bool)
	s, err := Listen(Options{Addr: "127.0.0.1:0", NoTLS: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- s.Serve(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			begun <- true
			<-goOn
			io.WriteString(w, "whole")
		}), nil)
	}()
	text := make(chan string)
	go func() {
		got, err := client().Get(s.URL())
		if err != nil {
			text <- err.Error()
			return
		}
		defer got.Body.Close()
		b, _ := io.ReadAll(got.Body)
		text <- string(b)
	}()
	<-begun
	cancel()
	close(goOn)
	if got := <-text; got != "whole" {
		t.Errorf("got %q", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A certificate of the user's is used as it is.
func TestGivenCertificate(t *testing.T) {
	made, err := selfSigned(time.Now(), []string{"gpu-1"})
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	o := Options{Addr: "127.0.0.1:0", Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	for path, block := range map[string]*pem.Block{o.Cert: {Type: "CERTIFICATE", Bytes: made.Certificate[0]}, o.Key: {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, port := start(t, o, hello)
	if s.Fingerprint != "" {
		t.Error("a fingerprint that nobody needs")
	}
	roots := x509.NewCertPool()
	cert, err := x509.ParseCertificate(made.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(cert)
	c, err := tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{ServerName: "gpu-1", RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
