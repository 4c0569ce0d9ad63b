package main

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
	"time"
)

// npmPackage is a package of the npm registry. The integrity is that which
// the registry and every lock file name.
type npmPackage struct{ name, version, copyright, integrity string }

var packages = []npmPackage{
	{"preact", "11.2.0", "(c) Jason Miller", "sha512-/HfHI/7N84e6GrWBJ3J280z3mLaRJiDcSvj/A+y/4AbLnND/1UlGHe1sR6oYuTGwId0nP7dqDU9OnLxMPZ7xBg=="},
	{"uplot", "1.6.32", "(c) Leon Sorokin", "sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw=="},
}

// registry is where packages are, unless npm_config_registry says otherwise.
const registry = "https://registry.npmjs.org/"

// largest is the most bytes a package may have, packed.
const largest = 16 << 20

// fetchAll returns a folder that holds every package. They are kept in the
// user's cache between runs.
func fetchAll() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "ingero-ui")
	for _, p := range packages {
		if err := p.fetch(dir); err != nil {
			return "", fmt.Errorf("fetch %s %s: %w", p.name, p.version, err)
		}
	}
	return filepath.Join(dir, "unpacked"), nil
}

func (p npmPackage) fetch(dir string) error {
	packed := filepath.Join(dir, fmt.Sprintf("%s-%s.tgz", p.name, p.version))
	data, err := os.ReadFile(packed)
	if err != nil || p.check(data) != nil {
		if data, err = p.download(); err != nil {
			return err
		}
		if err := p.check(data); err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(packed, data, 0o644); err != nil {
			return err
		}
	}
	to := filepath.Join(dir, "unpacked", p.name)
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return unpack(data, to)
}

func (p npmPackage) check(data []byte) error {
	sum := sha512.Sum512(data)
	if got := "sha512-" + base64.StdEncoding.EncodeToString(sum[:]); got != p.integrity {
		return fmt.Errorf("the package is not the one that was reviewed: integrity %s, want %s", got, p.integrity)
	}
	return nil
}

func (p npmPackage) download() ([]byte, error) {
	from := os.Getenv("npm_config_registry")
	if from == "" {
		from = registry
	}
	client := http.Client{Timeout: time.Minute}
	r, err := client.Get(fmt.Sprintf("%s/%s/-/%s-%s.tgz", strings.TrimSuffix(from, "/"), p.name, p.name, p.version))
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return nil, errors.New(r.Status)
	}
	return io.ReadAll(io.LimitReader(r.Body, largest))
}

// unpack writes the files of a package, which are all under one folder.
func unpack(data []byte, to string) error {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return err
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		_, name, _ := strings.Cut(h.Name, "/")
		if h.Typeflag != tar.TypeReg || !filepath.IsLocal(name) {
			continue
		}
		path := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		content, err := io.ReadAll(t)
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
}
