package serve

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
)

// guard decides which requests are answered.
//
// A page of some other site in the user's browser can send requests here. Its
// scripts cannot read the answers, unless the site's name is made to lead to
// this machine (DNS rebinding): then the Host header has that name. So only
// names that are known to be ours are answered, and addresses: a page cannot
// have an address of ours for its origin.
type guard struct {
	token []byte // its hash; nil: none
	hosts []string
	local bool // listens on loopback only
	any   bool // every name is taken for one of ours
}

func newGuard(token string, hosts []string, local bool) guard {
	g := guard{hosts: append([]string{"localhost"}, hosts...), local: local}
	if name, err := os.Hostname(); err == nil && name != "" {
		g.hosts = append(g.hosts, name)
	}
	for i, h := range g.hosts {
		g.hosts[i] = strings.ToLower(h)
	}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		g.token = sum[:]
	}
	return g
}

// names are those that a certificate should be for.
func (g *guard) names() []string { return g.hosts }

func (g *guard) knows(hostport string) bool {
	if g.any {
		return true
	}
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback() || !g.local
	}
	return slices.Contains(g.hosts, host)
}

var (
	errHost   = errors.New("this name is not one of this machine; use localhost, or name it with --allow-host")
	errOrigin = errors.New("requests from pages of other sites are not answered")
	errToken  = errors.New("a token is needed: Authorization: Bearer TOKEN")
)

func (g *guard) check(r *http.Request, open func(path string) bool) (int, error) {
	if !g.knows(r.Host) {
		return http.StatusForbidden, errHost
	}
	if foreign(r) {
		return http.StatusForbidden, errOrigin
	}
	if g.token == nil || open != nil && open(r.URL.Path) {
		return 0, nil
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(token))
	if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(sum[:], g.token) != 1 {
		return http.StatusUnauthorized, errToken
	}
	return 0, nil
}

// foreign reports whether the request was made by a page of another site. A
// person who follows a link from there is not.
func foreign(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		return err != nil || !strings.EqualFold(u.Host, r.Host)
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return false
	}
	return r.Method != http.MethodGet || r.Header.Get("Sec-Fetch-Mode") != "navigate"
}

func (g *guard) wrap(h http.Handler, open func(path string) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("X-Frame-Options", "DENY")
		head.Set("Referrer-Policy", "no-referrer")
		head.Set("Cross-Origin-Resource-Policy", "same-origin")
		if status, err := g.check(r, open); err != nil {
			if status == http.StatusUnauthorized {
				head.Set("WWW-Authenticate", "Bearer")
			}
			Fail(w, status, err)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		h.ServeHTTP(w, r)
	})
}

// Fail answers with an error as JSON, {"error": "…"}.
func Fail(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	fmt.Fprintf(w, "{\"error\":%s}\n", quote(err.Error()))
}

// shortestToken is the fewest characters of a token: fewer can be guessed.
const shortestToken = 16

func checkToken(token string, given bool) (string, error) {
	token = strings.TrimSpace(token)
	switch {
	case token == "" && given:
		return "", errors.New("the token is empty; make one with: openssl rand -hex 32")
	case token == "":
		return "", nil
	case len(token) < shortestToken:
		return "", fmt.Errorf("the token has %d characters, too few to be safe; make one with: openssl rand -hex 32", len(token))
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", errors.New("the token must be one word of printable ASCII characters; make one with: openssl rand -hex 32")
	}
	return token, nil
}
