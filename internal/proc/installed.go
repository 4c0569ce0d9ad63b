package proc

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// system is where libraries are looked for without a process to ask.
type system struct {
	cache func() ldCache
	dirs  []string // the loader's own folders
	cuda  []string // patterns of folders in which CUDA is usually installed
}

var thisSystem = sync.OnceValue(func() *system {
	return &system{
		cache: sync.OnceValue(func() ldCache { return readLDCache("/etc/ld.so.cache") }),
		dirs: []string{
			"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu",
			"/lib64", "/usr/lib64", "/lib", "/usr/lib",
		},
		cuda: []string{
			"/usr/lib/*-linux-gnu/nvidia/current",
			"/usr/local/cuda/lib64", "/usr/local/cuda-*/lib64", "/usr/local/cuda*/targets/*/lib", "/usr/local/cuda*/compat",
			"/opt/cuda/lib64", "/opt/nvidia/hpc_sdk/Linux_*/*/cuda/*/lib64",
			"/usr/lib/wsl/lib",                                             // Windows
			"/run/opengl-driver/lib",                                       // NixOS
			"/usr/local/nvidia/lib64", "/home/kubernetes/bin/nvidia/lib64", // Google's container system
			"/run/nvidia/driver/usr/lib/*-linux-gnu", "/run/nvidia/driver/usr/lib64", // the GPU operator
		},
	}
})

// Installed returns the CUDA libraries found on this system: those the
// loader knows, those in the usual folders, and those in extra, each of
// which is a folder or a Python interpreter whose packages may bring them.
func Installed(extra ...string) []Binary { return thisSystem().installed(extra...) }

func (s *system) installed(extra ...string) []Binary {
	var all []Binary
	for _, name := range s.cudaNames() {
		for _, path := range s.cache()[name] {
			all = addLibrary(all, path)
		}
	}
	for _, d := range s.dirs {
		all = addLibraries(all, d)
	}
	for _, pattern := range s.cuda {
		dirs, _ := filepath.Glob(pattern) // the patterns are well formed
		for _, d := range dirs {
			all = addLibraries(all, d)
		}
	}
	for _, e := range extra {
		if st, err := os.Stat(e); err == nil && !st.IsDir() {
			all = addPackages(all, sitePackages(e, os.Environ()))
		} else {
			all = addLibraries(all, e)
		}
	}
	return all
}

// cudaNames returns the names of CUDA libraries that the loader knows.
func (s *system) cudaNames() []string {
	var names []string
	for n := range s.cache() {
		if IsCUDA(n) {
			names = append(names, n)
		}
	}
	slices.SortFunc(names, bySoname)
	return names
}

// soname is the usual name of a library, with one number: libcuda.so.1.
var soname = regexp.MustCompile(`\.so\.[0-9]+$`)

// bySoname puts the name a program asks for before its synonyms, so that a
// file is shown by it.
func bySoname(a, b string) int {
	rank := func(s string) int {
		if soname.MatchString(s) {
			return 0
		}
		return 1
	}
	return cmp.Or(rank(a)-rank(b), strings.Compare(a, b))
}

// addLibraries adds the CUDA libraries of a folder.
func addLibraries(all []Binary, dir string) []Binary {
	found, _ := filepath.Glob(filepath.Join(escapeGlob(dir), "libcuda*.so*"))
	slices.SortFunc(found, bySoname)
	for _, path := range found {
		if IsCUDA(path) {
			all = addLibrary(all, path)
		}
	}
	return all
}

// addLibrary adds the file if it holds traced functions.
func addLibrary(all []Binary, path string) []Binary {
	libs, err := holds(path, path)
	if err != nil || len(libs) == 0 {
		return all
	}
	b, err := newBinary(path, path, libs)
	if err != nil {
		return all
	}
	return addBinary(all, b)
}

var globMeta = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

func escapeGlob(s string) string { return globMeta.Replace(s) }
