package proc

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	maxScripts   = 4   // a script's interpreter may be a script
	maxLibraries = 512 // followed from one program
)

// Needed returns the CUDA files that a command will load, as far as its file
// tells before it runs: the program itself if the runtime is linked in, the
// libraries it needs, what its environment preloads, and for Python the
// runtimes that packages bring. What a program loads later by other ways
// shows only in FS.CUDA. The command is a path, or a name to find in PATH;
// env is its environment.
func Needed(command string, env []string) []Binary { return thisSystem().needed(command, env) }

func (s *system) needed(command string, env []string) []Binary {
	n := needs{system: s, env: env, seen: map[string]bool{}}
	python := n.program(lookPath(command, env))
	for _, lib := range strings.FieldsFunc(getenv(env, "LD_PRELOAD"), func(r rune) bool { return r == ':' || r == ' ' }) {
		n.library(lib, nil)
	}
	if python != "" {
		n.found = addPackages(n.found, sitePackages(python, env))
		for _, name := range s.cudaNames() {
			if isRuntime(name) {
				n.library(name, nil)
			}
		}
	}
	if len(n.found) > 0 || python != "" {
		n.library("libcuda.so.1", nil) // the runtime opens it by itself
	}
	return n.found
}

// needs collects what one program will load.
type needs struct {
	*system
	env   []string
	seen  map[string]bool
	found []Binary
}

// program follows scripts to their interpreter and the interpreter to its
// libraries. It returns the interpreter if that is Python, else "".
func (n *needs) program(path string) string {
	for range maxScripts {
		head, err := readSome(path, 256)
		if err != nil {
			return ""
		}
		line, script := bytes.CutPrefix(head, []byte("#!"))
		if !script {
			break
		}
		line, _, _ = bytes.Cut(line, []byte("\n"))
		path = interpreter(strings.Fields(string(line)), n.env)
	}
	usesPython := n.file(path, nil)
	if isPython(path) || usesPython {
		return path
	}
	return ""
}

// interpreter returns the program that a #! line starts, also by way of env.
func interpreter(words []string, env []string) string {
	if len(words) == 0 {
		return ""
	}
	if filepath.Base(words[0]) != "env" {
		return words[0]
	}
	for _, w := range words[1:] {
		if !strings.HasPrefix(w, "-") && !strings.Contains(w, "=") {
			return lookPath(w, env)
		}
	}
	return ""
}

// file adds an ELF file, if it holds traced functions, and what it needs.
// rpath are the folders that its users pass on. It reports whether the file
// or one of its libraries is Python's.
func (n *needs) file(path string, rpath []string) (python bool) {
	if path == "" || n.seen[path] || len(n.seen) >= maxLibraries {
		return false
	}
	n.seen[path] = true
	img, err := openImage(path)
	if err != nil {
		return false
	}
	defer img.Close()
	if !img.native() {
		return false
	}
	if libs, err := img.holds(path); err == nil && len(libs) > 0 {
		if b, err := newBinary(path, path, libs); err == nil {
			n.found = addBinary(n.found, b)
		}
	}
	dir := filepath.Dir(path)
	if real, err := filepath.EvalSymlinks(path); err == nil {
		dir = filepath.Dir(real)
	}
	runpath := img.searchPath(elf.DT_RUNPATH, dir)
	if len(runpath) == 0 {
		rpath = append(img.searchPath(elf.DT_RPATH, dir), rpath...)
	}
	search := slices.Concat(rpath, filepath.SplitList(getenv(n.env, "LD_LIBRARY_PATH")), runpath)
	for _, name := range img.needed() {
		python = python || strings.HasPrefix(name, "libpython")
		python = n.file(n.find(name, search), rpath) || python
	}
	return python
}

// library adds a library by name, as dlopen would find it.
func (n *needs) library(name string, rpath []string) {
	n.file(n.find(name, slices.Concat(rpath, filepath.SplitList(getenv(n.env, "LD_LIBRARY_PATH")))), rpath)
}

// find returns the file that the loader would take for a name.
func (n *needs) find(name string, dirs []string) string {
	if strings.Contains(name, "/") {
		return name
	}
	var at []string
	for _, d := range dirs {
		at = append(at, filepath.Join(d, name))
	}
	at = append(at, n.cache()[name]...)
	for _, d := range n.dirs {
		at = append(at, filepath.Join(d, name))
	}
	for _, path := range at {
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
			return path
		}
	}
	return ""
}

// lookPath finds a command as execvp does, in the PATH of env.
func lookPath(command string, env []string) string {
	if strings.Contains(command, "/") {
		return command
	}
	for _, dir := range filepath.SplitList(getenv(env, "PATH")) {
		path := filepath.Join(dir, command)
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}
