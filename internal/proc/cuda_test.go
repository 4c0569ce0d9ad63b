package proc

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"ingero/internal/event"
)

var (
	runtimeLib = layout{hash: elf.DT_GNU_HASH, funcs: []testFunc{{"cudaMalloc", push}, {"cudaFree", push}}}
	driverLib  = layout{hash: elf.DT_HASH, funcs: []testFunc{{"cuInit", stub}}}
	plainLib   = layout{hash: elf.DT_GNU_HASH, funcs: []testFunc{{"malloc", push}}}
	static     = layout{funcs: []testFunc{{"main", push}, {"cudaMalloc", push}}}
	program    = layout{funcs: []testFunc{{"main", push}}}
)

// A machine with one of everything, in a root of its own.
func buildRoot(t *testing.T) string {
	root := t.TempDir()
	for path, l := range map[string]layout{
		"/bin/python3": program, "/bin/static": static,
		"/lib/libc.so.6":                       plainLib,
		"/lib/libcuda.so.550.163.01":           driverLib,
		"/lib/libcudart.so.12.4.127":           runtimeLib,
		"/my libs/odd\nname/libcudart.so.11.0": runtimeLib,
		"/lib/libtorch_cuda.so":                runtimeLib, // with the runtime linked in
		"/lib/libcudart-d0da41ae.so.11.0":      runtimeLib,
		"/lib/libshim.so":                      driverLib, // an interposer
	} {
		l.build(t, root+path)
	}
	return root
}

func TestCUDA(t *testing.T) {
	root := buildRoot(t)
	f := newFakeProc(t)
	type file struct {
		path, build string
		libs        []event.Lib
	}
	rt, drv := []event.Lib{event.CUDART}, []event.Lib{event.LIBCUDA}
	for pid, c := range map[int]struct {
		files []string
		want  []file
	}{
		10: {[]string{"/bin/python3", "/lib/libc.so.6"}, nil},
		11: {
			[]string{"/bin/python3", "/lib/libcudart.so.12.4.127", "/lib/libc.so.6", "/lib/libcuda.so.550.163.01"},
			[]file{{"/lib/libcudart.so.12.4.127", "12.4.127", rt}, {"/lib/libcuda.so.550.163.01", "550.163.01", drv}},
		},
		12: {[]string{"/bin/static"}, []file{{"/bin/static", "", rt}}},
		13: {[]string{"/bin/python3", "/my libs/odd\nname/libcudart.so.11.0"}, []file{{"/my libs/odd\nname/libcudart.so.11.0", "11.0", rt}}},
		14: {
			[]string{"/bin/python3", "/lib/libtorch_cuda.so", "/lib/libshim.so", "/lib/libcuda.so.550.163.01"},
			[]file{{"/lib/libtorch_cuda.so", "", rt}, {"/lib/libcuda.so.550.163.01", "550.163.01", drv}},
		},
		15: {[]string{"/bin/python3", "/lib/libcudart-d0da41ae.so.11.0"}, []file{{"/lib/libcudart-d0da41ae.so.11.0", "11.0", rt}}},
		16: {nil, nil}, // a kernel thread
	} {
		f.process(pid, root, c.files...)
		found, err := FS{Root: f.root, Cache: &Cache{}}.CUDA(pid)
		if err != nil {
			t.Errorf("process %d: %v", pid, err)
		}
		if len(found) != len(c.want) {
			t.Errorf("process %d: got %+v", pid, found)
			continue
		}
		for i, b := range found {
			w := c.want[i]
			if b.Path != w.path || b.Build != w.build || !slices.Equal(b.Libs, w.libs) {
				t.Errorf("process %d: got %+v, want %+v", pid, b, w)
			}
			if sites, _, err := b.Sites(event.Calls); err != nil || len(sites) == 0 {
				t.Errorf("process %d: %s: sites %v, %v", pid, b.Path, sites, err)
			}
		}
	}
}

// Libraries that were deleted or replaced while mapped are still read, by way
// of the mapping; those that vanish at the same moment are no finding.
func TestCUDAFilesChange(t *testing.T) {
	root := buildRoot(t)
	f := newFakeProc(t)
	const lib = "/lib/libcudart.so.12.4.127"
	f.process(20, root, "/bin/python3", lib)
	if err := os.Rename(root+lib, root+"/kept"); err != nil {
		t.Fatal(err)
	}
	mapped := filepath.Join(f.root, "20/map_files/411000-412000")
	if err := os.Remove(mapped); err != nil {
		t.Fatal(err)
	}
	f.link("20/map_files/411000-412000", root+"/kept")
	driverLib.build(t, root+lib) // another file of the same name
	found, err := f.fs().CUDA(20)
	if err != nil || len(found) != 1 || found[0].Open != mapped || found[0].Path != lib {
		t.Fatalf("replaced: %+v, %v", found, err)
	}
	if err := os.Remove(mapped); err != nil {
		t.Fatal(err)
	}
	if found, err := f.fs().CUDA(20); len(found) != 0 || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("lost: %+v, %v", found, err)
	}
	if _, err := f.fs().CUDA(99); !errors.Is(err, ErrGone) {
		t.Errorf("no process: %v", err)
	}
}

// A file is looked into once, until it changes.
func TestCache(t *testing.T) {
	root := buildRoot(t)
	f := newFakeProc(t)
	f.process(30, root, "/bin/static")
	c := &Cache{}
	look := func() int {
		t.Helper()
		found, err := FS{f.root, c}.CUDA(30)
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	if look() != 1 || len(c.libs) != 1 {
		t.Fatalf("first: cache %v", c.libs)
	}
	for v := range c.libs {
		c.libs[v] = nil // what is remembered is used
	}
	if look() != 0 {
		t.Error("the cache was not asked")
	}
	b, err := os.ReadFile(root + "/bin/static")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root+"/bin/static", append(b, 0), 0o755); err != nil {
		t.Fatal(err)
	}
	if look() != 1 {
		t.Error("a changed file was not looked into")
	}
}

func TestParseMapping(t *testing.T) {
	for line, want := range map[string]string{
		"7f00-7f10 r-xp 00028000 fd:01 12      /usr/lib/x.so":                     "7f00 7f10 28000 true fd:01 12 true /usr/lib/x.so",
		"7f00-7f10 r-xp 00028000 fd:01 12      /a b/x.so (deleted)":               "7f00 7f10 28000 true fd:01 12 true /a b/x.so (deleted)",
		`7f00-7f10 r-xp 00028000 fd:01 12      /a\012b`:                           "7f00 7f10 28000 true fd:01 12 true /a\nb",
		"7f00-7f10 r--p 00028000 fd:01 12      /usr/lib/x.so":                     "7f00 7f10 28000 false fd:01 12 true /usr/lib/x.so",
		"7f00-7f10 r-xp 00000000 00:00 0       [vdso]":                            "7f00 7f10 0 true 00:00 0 false [vdso]",
		"7f00-7f10 r-xp 00000000 00:00 0 ":                                        "7f00 7f10 0 true 00:00 0 false ",
		"7f00-7f10 r-xp 00000000 00:0e 77      anon_inode:[io]":                   "7f00 7f10 0 true 00:0e 77 false anon_inode:[io]",
		"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0      [vsyscall]": "ffffffffff600000 ffffffffff601000 0 true 00:00 0 false [vsyscall]",
		"zz-7f10 r-xp 00000000 fd:01 12      /x":                                  "",
		"7f10-7f00 r-xp 00000000 fd:01 12      /x":                                "",
		"7f00-7f10 r-xp": "",
		"":               "",
	} {
		m, ok := ParseMapping(line)
		got := fmt.Sprintf("%x %x %x %v %s %d %v %s", m.Start, m.End, m.Offset, m.Code, m.Dev, m.Inode, m.OfFile(), m.Path)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%q: got %q, %v", line, got, ok)
		}
	}
}

// Links of a container stay inside it; pipes are not opened, which would wait
// for a writer.
func TestOpenInside(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: sudo -E go test ./internal/proc")
	}
	root := t.TempDir()
	os.Symlink("/real", filepath.Join(root, "link"))
	os.WriteFile(filepath.Join(root, "real"), []byte("inside"), 0o644)
	os.Symlink("../../../../../../../etc/passwd", filepath.Join(root, "out"))
	unix.Mkfifo(filepath.Join(root, "pipe"), 0o644)
	own := t.TempDir()
	os.MkdirAll(filepath.Join(own, "7"), 0o755)
	os.Symlink(root, filepath.Join(own, "7/root"))
	p := FS{Root: own}
	f, err := p.OpenInside(7, "/link")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := io.ReadAll(f); err != nil || string(b) != "inside" {
		t.Errorf("a link led to %q, %v", b, err)
	}
	for _, path := range []string{"/out", "/pipe", "/", "/none"} {
		if f, err := p.OpenInside(7, path); err == nil {
			t.Errorf("%s was opened", path)
			f.Close()
		}
	}
}

func TestOwnProcessUsesNoCUDA(t *testing.T) {
	found, err := FS{}.CUDA(os.Getpid())
	if err != nil || len(found) != 0 {
		t.Errorf("got %+v, %v", found, err)
	}
}

func TestIsCUDA(t *testing.T) {
	for name, want := range map[string]bool{
		"/usr/lib/libcudart.so": true, "libcudart.so.12": true, "libcudart.so.12.4.127": true, "libcudart-d0da41ae.so.11.0": true,
		"libcuda.so": true, "/x/libcuda.so.1": true, "libcuda.so.550.163.01": true,
		"libcudadebugger.so.1": false, "libcudnn.so.8": false, "libcudart_static.a": false,
		"libcudart": false, "xlibcuda.so.1": false, "libcudart.so/README": false, "": false,
	} {
		if IsCUDA(name) != want {
			t.Errorf("%q: got %v", name, !want)
		}
	}
}
