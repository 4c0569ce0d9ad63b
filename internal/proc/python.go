package proc

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var pythonName = regexp.MustCompile(`^(python|pypy)[0-9.]*$`)

func isPython(path string) bool { return pythonName.MatchString(filepath.Base(path)) }

// sitePackages returns the folders in which the interpreter finds packages:
// of its virtual environment, of its installation (also conda's), of the
// user, and of PYTHONPATH.
func sitePackages(python string, env []string) []string {
	var dirs []string
	glob := func(parts ...string) {
		found, _ := filepath.Glob(filepath.Join(parts...))
		for _, d := range found {
			if !slices.Contains(dirs, d) {
				dirs = append(dirs, d)
			}
		}
	}
	prefix := func(dir string) {
		dir = escapeGlob(dir)
		glob(dir, "lib*/python*/site-packages")
		glob(dir, "lib/python*/dist-packages") // Debian's name
		glob(dir, "local/lib/python*/dist-packages")
	}
	for d := range strings.SplitSeq(getenv(env, "PYTHONPATH"), ":") {
		if d != "" {
			dirs = append(dirs, d)
		}
	}
	venv := filepath.Dir(filepath.Dir(python))
	cfg, err := os.ReadFile(filepath.Join(venv, "pyvenv.cfg"))
	isolated := err == nil && !strings.Contains(strings.ReplaceAll(strings.ToLower(string(cfg)), " ", ""), "include-system-site-packages=true")
	prefix(venv)
	if !isolated {
		if real, err := filepath.EvalSymlinks(python); err == nil {
			prefix(filepath.Dir(filepath.Dir(real)))
		}
		if home := getenv(env, "HOME"); home != "" {
			prefix(filepath.Join(home, ".local"))
		}
	}
	return dirs
}

// addPackages adds the runtimes that Python packages bring: NVIDIA's own
// wheels, PyTorch's older ones, and what auditwheel copied. A conda
// environment keeps them two folders up.
func addPackages(all []Binary, site []string) []Binary {
	for _, dir := range site {
		base := escapeGlob(dir)
		for _, pattern := range []string{"nvidia/*/lib", "torch/lib", "*.libs", "../.."} {
			found, _ := filepath.Glob(base + "/" + pattern)
			for _, d := range found {
				all = addLibraries(all, filepath.Clean(d))
			}
		}
	}
	return all
}

func getenv(env []string, name string) string {
	for _, kv := range slices.Backward(env) { // the last one counts
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}
