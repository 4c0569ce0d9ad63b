package otlp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	colmetrics "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
)

// certificate makes PEM files of a certificate that signs itself, for
// 127.0.0.1 and for clients.
func certificate(t *testing.T, name string) (cert, key string, pair tls.Certificate) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(file, kind string, b []byte) string {
		path := filepath.Join(t.TempDir(), file)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert, key = write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", secret)
	if pair, err = tls.LoadX509KeyPair(cert, key); err != nil {
		t.Fatal(err)
	}
	return cert, key, pair
}

func TestTLS(t *testing.T) {
	serverCert, _, server := certificate(t, "server")
	clientCert, clientKey, client := certificate(t, "client")
	known := x509.NewCertPool()
	known.AddCert(client.Leaf)
	for _, p := range []Protocol{JSON, GRPC} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			if p == GRPC {
				w.Write(frame(nil, false))
				w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
			}
		}))
		s.EnableHTTP2 = true
		s.TLS = &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: known}
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
		defer s.Close()
		all := map[string]string{
			prefix + "CERTIFICATE": serverCert, prefix + "CLIENT_CERTIFICATE": clientCert, prefix + "METRICS_CLIENT_KEY": clientKey,
			prefix + "LOGS_CLIENT_KEY": clientKey,
		}
		without := func(names ...string) map[string]string {
			env := maps.Clone(all)
			for _, n := range names {
				delete(env, prefix+n)
			}
			return env
		}
		for name, c := range map[string]struct {
			url  string
			env  map[string]string
			says string // nothing: it is taken
		}{
			"all":                     {s.URL, all, ""},
			"a bare address":          {strings.TrimPrefix(s.URL, "https://"), all, ""},
			"unknown server":          {s.URL, without("CERTIFICATE"), "unknown authority"},
			"no client's certificate": {s.URL, without("CLIENT_CERTIFICATE", "METRICS_CLIENT_KEY", "LOGS_CLIENT_KEY"), " "}, // which words depends on when the server's arrive
		} {
			a := clientFor(t, c.url, p, c.env).post(t.Context(), &colmetrics.ExportMetricsServiceRequest{})
			if (a.err != nil) != (c.says != "") || a.err != nil && !strings.Contains(a.err.Error(), c.says) {
				t.Errorf("%s, %s: %v, want %q", p, name, a.err, c.says)
			}
		}
	}
}

// gRPC needs HTTP/2: a server without it is told of.
func TestOldServer(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	c := clientFor(t, s.URL, GRPC, nil)
	c.http.Transport.(*http.Transport).TLSClientConfig.InsecureSkipVerify = true // as to the protocol only
	if a := c.post(t.Context(), &colmetrics.ExportMetricsServiceRequest{}); a.err == nil {
		t.Error("no error")
	}
}
