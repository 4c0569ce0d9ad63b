// Package workload holds a simulated CUDA and programs that use it: libraries
// with the real entry points, a device that is a timeline, and training-like
// loops that say afterwards what they really did. See README.md.
package workload

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
)

//go:embed prebuilt/amd64 train.py
var files embed.FS

const loader = "/lib64/ld-linux-x86-64.so.2"

// Supported says why the workload cannot run on this machine, or nil. It is
// built for amd64 and needs glibc 2.34 or later.
func Supported() error {
	if runtime.GOARCH != "amd64" {
		return fmt.Errorf("run the simulated CUDA: it is built for amd64, this machine is %s", runtime.GOARCH)
	}
	out, err := exec.Command(loader, "--version").Output()
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("run the simulated CUDA: needs glibc, there is no %s", loader)
	}
	// Loaders before 2.33 do not know --version.
	m := glibcVersion.FindSubmatch(out)
	if m == nil {
		return errors.New("run the simulated CUDA: needs glibc 2.34 or later")
	}
	if minor, _ := strconv.Atoi(string(m[1])); minor < 34 {
		return fmt.Errorf("run the simulated CUDA: needs glibc 2.34 or later, this machine has 2.%d", minor)
	}
	return nil
}

var glibcVersion = regexp.MustCompile(`version 2\.(\d+)`)

// Unpack writes the libraries and programs to dir, which must exist. Files
// that are there already with the same content stay as they are; others are
// replaced at once, so that running programs are not disturbed.
func Unpack(dir string) error {
	names, err := fs.Glob(files, "prebuilt/amd64/*")
	if err != nil {
		return fmt.Errorf("unpack workload: %w", err)
	}
	for _, name := range append(names, "train.py") {
		if err := unpack(dir, name); err != nil {
			return fmt.Errorf("unpack workload: %w", err)
		}
	}
	return nil
}

func unpack(dir, name string) error {
	want, err := files.ReadFile(name)
	if err != nil {
		return err
	}
	to := filepath.Join(dir, path.Base(name))
	if have, err := os.ReadFile(to); err == nil && bytes.Equal(have, want) {
		return os.Chmod(to, 0o755)
	}
	tmp, err := os.CreateTemp(dir, ".unpack-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(want)
	if err := errors.Join(err, tmp.Chmod(0o755), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), to)
}
