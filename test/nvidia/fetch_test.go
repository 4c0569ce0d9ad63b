// Package nvidia tests against NVIDIA's real libraries, which it fetches from
// Debian's mirrors. It needs no GPU, and runs only when asked to:
// make test-nvidia.
package nvidia

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// library is one version of one library in one Debian release.
type library struct {
	suite, pkg string
	pattern    string // of the file inside the package
}

const (
	driverFile  = "usr/lib/x86_64-linux-gnu/nvidia/current/libcuda.so.[0-9]*.*"
	runtimeFile = "usr/lib/x86_64-linux-gnu/libcudart.so.[0-9]*.*.*"
)

var (
	driver470  = library{"bullseye", "libcuda1", driverFile}
	driver535  = library{"bookworm", "libcuda1", driverFile}
	driver550  = library{"trixie", "libcuda1", driverFile}
	runtime112 = library{"bullseye", "libcudart11.0", runtimeFile}
	runtime118 = library{"bookworm", "libcudart11.0", runtimeFile}
	runtime124 = library{"trixie", "libcudart12", runtimeFile}
)

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// want skips the test unless it was asked for on a machine that can run it.
func want(t *testing.T) {
	t.Helper()
	if os.Getenv("INGERO_TEST_NVIDIA") == "" {
		t.Skip("fetches NVIDIA's libraries: make test-nvidia")
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("looks at the amd64 libraries: run it there")
	}
}

// file returns the library's path in the cache, and fetches it first if need
// be. Nothing is installed.
func (l library) file(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cache = filepath.Join(cache, "ingero-test", "nvidia")
	dir := filepath.Join(cache, l.suite+"-"+l.pkg)
	if path := l.find(t, dir); path != "" {
		return path
	}
	apt := privateApt(t, filepath.Join(cache, "apt"))
	debs := filepath.Join(cache, "deb", l.suite)
	if err := os.MkdirAll(debs, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, debs, apt, "apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", l.pkg+"/"+l.suite)
	found, err := filepath.Glob(filepath.Join(debs, l.pkg+"_*.deb"))
	if err != nil || len(found) == 0 {
		t.Fatalf("apt-get download %s/%s left no package in %s", l.pkg, l.suite, debs)
	}
	run(t, debs, nil, "dpkg", "-x", found[len(found)-1], dir)
	path := l.find(t, dir)
	if path == "" {
		t.Fatalf("%s of %s holds no %s", l.pkg, l.suite, l.pattern)
	}
	return path
}

func (l library) find(t *testing.T, dir string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, l.pattern))
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		return ""
	}
	return found[0]
}

// privateApt returns the environment for an apt that knows the non-free
// sections of three Debian releases, and keeps its state to itself.
func privateApt(t *testing.T, dir string) []string {
	t.Helper()
	conf := filepath.Join(dir, "apt.conf")
	env := append(os.Environ(), "APT_CONFIG="+conf)
	if lists, err := filepath.Glob(filepath.Join(dir, "state/lists/*_Packages*")); err == nil && len(lists) >= 3 {
		return env
	}
	signed := ""
	if _, err := os.Stat(keyring); err == nil {
		signed = " signed-by=" + keyring
	}
	var sources strings.Builder
	for _, suite := range []string{"bullseye", "bookworm", "trixie"} {
		fmt.Fprintf(&sources, "deb [arch=amd64%s] %s %s non-free\n", signed, mirror(t), suite)
	}
	for name, text := range map[string]string{
		"sources.list": sources.String(),
		"status":       "",
		"apt.conf": fmt.Sprintf("Dir::State %q;\nDir::State::status %q;\nDir::Cache %q;\nDir::Etc::SourceList %q;\nDir::Etc::SourceParts \"-\";\nAPT::Architecture \"amd64\";\n",
			filepath.Join(dir, "state"), filepath.Join(dir, "status"), filepath.Join(dir, "cache"), filepath.Join(dir, "sources.list")),
	} {
		for _, sub := range []string{"state/lists/partial", "cache/archives/partial"} {
			if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run(t, dir, env, "apt-get", "update", "-q")
	return env
}

// mirror returns the Debian mirror that this machine's apt uses.
func mirror(t *testing.T) string {
	t.Helper()
	if m := os.Getenv("INGERO_DEBIAN_MIRROR"); m != "" {
		return m
	}
	files := []string{"/etc/apt/sources.list"}
	more, err := filepath.Glob("/etc/apt/sources.list.d/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(files, more...) {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // there is one of the two forms
		}
		for line := range strings.Lines(string(b)) {
			if strings.HasPrefix(strings.TrimSpace(line), "#") {
				continue
			}
			for _, word := range strings.Fields(line) {
				if strings.Contains(word, "://") && strings.HasSuffix(strings.TrimRight(word, "/"), "/debian") {
					return word
				}
			}
		}
	}
	t.Skip("no Debian mirror in apt's sources: run on Debian, or set INGERO_DEBIAN_MIRROR to the URL of one")
	return ""
}

func run(t *testing.T, dir string, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
}
