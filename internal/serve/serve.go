// Package serve is what all our listeners have in common: TLS 1.3, who may
// ask, limits on what a request may cost, and an orderly end.
package serve

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/net/netutil"
)

// Options says where to listen and whom to answer.
type Options struct {
	Addr      string   // host:port; without a host see Listen
	Cert, Key string   // PEM files; empty: a certificate of our own
	NoTLS     bool     // plain HTTP
	Token     string   // that requests must bear; empty: none
	Insecure  bool     // answer others on the network without a token
	Hosts     []string // names of this machine, besides localhost and its host name
	AnyHost   bool     // where others are answered, answer them to any name
	Log       io.Writer
}

// Limits. A client that needs more time than that gets no answer.
const (
	maxConns       = 512
	maxHeader      = 64 << 10
	maxBody        = 1 << 20
	headerTimeout  = 5 * time.Second
	requestTimeout = 15 * time.Second // to send a request whole
	answerTimeout  = 90 * time.Second // to make an answer and to take it
	idleTimeout    = 60 * time.Second
	endTimeout     = 5 * time.Second // for answers on their way when we end
)

// Server is a listener that is not served yet.
type Server struct {
	Note        string // what the user should know of the address; may be empty
	Fingerprint string // SHA-256 of a certificate of our own, hexadecimal; else empty

	opts     Options
	listener net.Listener
	guard    guard
}

// Listen opens the address. One without a host, as ":8080", is all addresses
// if a token or Insecure says that others may ask, else loopback. Any other
// address that is not loopback needs one of the two.
func Listen(o Options) (*Server, error) {
	host, port, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: give host:port or :port", o.Addr)
	}
	if (o.Cert == "") != (o.Key == "") {
		return nil, errors.New("a certificate needs its key and a key its certificate: give both or none")
	}
	if o.NoTLS && o.Cert != "" {
		return nil, errors.New("a certificate does not go with plain HTTP")
	}
	s := &Server{opts: o}
	open := o.Token != "" || o.Insecure
	switch {
	case host == "" && !open:
		host = "127.0.0.1"
		s.Note = "only this machine is answered; a token lets others ask"
	case !open && !isLoopback(host):
		return nil, fmt.Errorf("listen on %s: others on the network could read what was recorded; give --token-file or INGERO_TOKEN, or --insecure if that is meant", o.Addr)
	}
	if s.listener, err = net.Listen("tcp", net.JoinHostPort(host, port)); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", o.Addr, err)
	}
	local := s.listener.Addr().(*net.TCPAddr).IP.IsLoopback()
	s.guard = newGuard(o.Token, o.Hosts, local)
	s.guard.any = o.AnyHost && !local
	if !o.NoTLS {
		config, err := s.tlsConfig()
		if err != nil {
			return nil, errors.Join(err, s.listener.Close())
		}
		s.listener = tls.NewListener(netutil.LimitListener(s.listener, maxConns), config)
	} else {
		s.listener = netutil.LimitListener(s.listener, maxConns)
	}
	return s, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Local reports whether only this machine is answered.
func (s *Server) Local() bool { return s.guard.local }

// URL is where the server answers, for this machine.
func (s *Server) URL() string {
	scheme := "https"
	if s.opts.NoTLS {
		scheme = "http"
	}
	addr := s.listener.Addr().(*net.TCPAddr)
	host := "localhost"
	if !addr.IP.IsLoopback() && !addr.IP.IsUnspecified() {
		host = addr.IP.String()
	}
	return fmt.Sprintf("%s://%s", scheme, net.JoinHostPort(host, fmt.Sprint(addr.Port)))
}

func (s *Server) tlsConfig() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"}}
	if s.opts.Cert != "" {
		pair, err := tls.LoadX509KeyPair(s.opts.Cert, s.opts.Key)
		if err != nil {
			return nil, fmt.Errorf("read the certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
		return c, nil
	}
	own := &ownCertificate{now: time.Now, names: s.guard.names()}
	first, err := own.get(nil)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(first.Certificate[0])
	s.Fingerprint = hex.EncodeToString(sum[:])
	c.GetCertificate = own.get
	return c, nil
}

// Serve answers until ctx ends, then lets answers on their way finish. Paths
// that open reports are answered without a token: they hold no data.
func (s *Server) Serve(ctx context.Context, h http.Handler, open func(path string) bool) error {
	out := s.opts.Log
	if out == nil {
		out = io.Discard
	}
	requests, end := context.WithCancel(context.WithValue(context.Background(), endingKey{}, ctx.Done()))
	defer end()
	server := &http.Server{
		Handler:           s.guard.wrap(h, open),
		ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTimeout, WriteTimeout: answerTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       log.New(out, "", 0),
		BaseContext:    func(net.Listener) context.Context { return requests },
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(s.listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		return errors.Join(server.Close(), ignoreTimeout(err))
	}
	return nil
}

type endingKey struct{}

// Ending is closed when the server of a request begins to end: streams, which
// would go on for ever, must finish then. It is nil elsewhere.
func Ending(request context.Context) <-chan struct{} {
	done, _ := request.Value(endingKey{}).(<-chan struct{})
	return done
}

// ignoreTimeout: a client that does not take its answer is no error of ours.
func ignoreTimeout(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// Close gives the address up without serving.
func (s *Server) Close() error { return s.listener.Close() }

// Token reads the token from the file, or from the environment variable
// INGERO_TOKEN if there is none. It is never taken from the command line,
// which every user of the machine can read.
func Token(file string, getenv func(string) string) (string, error) {
	token := getenv("INGERO_TOKEN")
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("read the token: %w", err)
		}
		token = string(b)
	}
	return checkToken(token, file != "")
}
