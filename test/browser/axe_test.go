package browser

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// axe-core knows what is hard to use for people who see, hear or move less.
const (
	axeVersion   = "4.14.1"
	axeIntegrity = "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
)

// axe returns the program, from the npm registry or the user's cache.
func axe(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil { // no HOME
		cache = t.TempDir()
	}
	kept := filepath.Join(cache, "ingero-ui", "axe-core-"+axeVersion+".tgz")
	data, err := os.ReadFile(kept)
	if err != nil || integrity(data) != axeIntegrity {
		if data, err = download("axe-core", axeVersion); err != nil {
			t.Skip("needs axe-core from the npm registry: ", err)
		}
		if got := integrity(data); got != axeIntegrity {
			t.Fatalf("axe-core has integrity %s, want %s", got, axeIntegrity)
		}
		if err := os.MkdirAll(filepath.Dir(kept), 0o755); err == nil {
			os.WriteFile(kept, data, 0o644)
		}
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err != nil {
			t.Fatal("axe.min.js: ", err)
		}
		if h.Name == "package/axe.min.js" {
			text, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
	}
}

func integrity(data []byte) string {
	sum := sha512.Sum512(data)
	return "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
}

func download(name, version string) ([]byte, error) {
	from := os.Getenv("npm_config_registry")
	if from == "" {
		from = "https://registry.npmjs.org/"
	}
	client := http.Client{Timeout: time.Minute}
	r, err := client.Get(fmt.Sprintf("%s/%s/-/%[2]s-%[3]s.tgz", strings.TrimSuffix(from, "/"), name, version))
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return nil, errors.New(r.Status)
	}
	return io.ReadAll(io.LimitReader(r.Body, 16<<20))
}

// No view has a serious violation, light or dark, wide or narrow.
func TestAccessible(t *testing.T) {
	program := axe(t)
	p := open(t, browser(t), dashboard(t, incident), "")
	p.sees("The job lost time.")
	if err := call(p.ctx, runtime.Evaluate, runtime.EvaluateParams{Expression: program}); err != nil {
		t.Fatal(err)
	}
	type violation struct{ ID, Impact, Help, Node string }
	for _, theme := range []string{"light", "dark"} {
		p.theme(theme)
		for _, view := range views {
			p.view(view)
			eval[any](p, `(window.found = null, axe.run(document, {resultTypes: ['violations']}).then(r => { window.found = r.violations.flatMap(v => v.nodes.map(n => ({id: v.id, impact: v.impact, help: v.help, node: n.html.slice(0, 160) + ' ' + (n.any[0]?.message ?? '')}))) }), null)`)
			p.until("axe ends", "window.found !== null")
			for _, v := range eval[[]violation](p, "window.found") {
				if v.Impact == "serious" || v.Impact == "critical" {
					t.Errorf("%s, %s: %s: %s: %s", view, theme, v.ID, v.Help, v.Node)
				} else {
					t.Logf("%s, %s: %s (%s): %s", view, theme, v.ID, v.Impact, v.Node)
				}
			}
		}
	}
}

// At the width of a telephone nothing but tables scrolls sideways, and the
// menu opens.
func TestNarrow(t *testing.T) {
	p := open(t, browser(t), dashboard(t, incident), "")
	p.run(chromedp.EmulateViewport(390, 844))
	for _, view := range views {
		p.view(view)
		p.until("nothing is wider than the screen: "+view, "document.documentElement.scrollWidth <= 390")
	}
	p.run(chromedp.Click(chromedp.CSS(".menu")), chromedp.Click("//nav/a[starts-with(., 'Thieves')]"))
	p.sees("hog")
	p.until("the menu closes", "getComputedStyle(document.querySelector('nav')).display === 'none'")
}
