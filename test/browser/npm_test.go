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
)

// npmPackage is a program of others that a test uses. It comes from the npm
// registry, or from the user's cache.
type npmPackage struct{ name, version, integrity string }

// files returns what is in the package, by path.
func (p npmPackage) files(t *testing.T) map[string][]byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(p.packed(t)))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err == nil {
			all[h.Name], err = io.ReadAll(r)
		}
		if err != nil {
			t.Fatal(p.name, ": ", err)
		}
	}
}

func (p npmPackage) packed(t *testing.T) []byte {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil { // no HOME
		cache = t.TempDir()
	}
	kept := filepath.Join(cache, "ingero-ui", p.name+"-"+p.version+".tgz")
	if data, err := os.ReadFile(kept); err == nil && integrity(data) == p.integrity {
		return data
	}
	data, err := p.download()
	if err != nil {
		t.Skipf("needs %s from the npm registry: %v", p.name, err)
	}
	if got := integrity(data); got != p.integrity {
		t.Fatalf("%s has integrity %s, want %s", p.name, got, p.integrity)
	}
	if err := os.MkdirAll(filepath.Dir(kept), 0o755); err == nil {
		os.WriteFile(kept, data, 0o644)
	}
	return data
}

func integrity(data []byte) string {
	sum := sha512.Sum512(data)
	return "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
}

func (p npmPackage) download() ([]byte, error) {
	from := os.Getenv("npm_config_registry")
	if from == "" {
		from = "https://registry.npmjs.org/"
	}
	client := http.Client{Timeout: time.Minute}
	r, err := client.Get(fmt.Sprintf("%s/%s/-/%[2]s-%[3]s.tgz", strings.TrimSuffix(from, "/"), p.name, p.version))
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return nil, errors.New(r.Status)
	}
	return io.ReadAll(io.LimitReader(r.Body, 16<<20))
}
