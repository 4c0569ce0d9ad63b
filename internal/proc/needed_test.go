package proc

import (
	"debug/elf"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// cacheFile writes entries {flags, name, path} as ldconfig does.
func cacheFile(before string, entries ...[3]string) []byte {
	b := append([]byte{}, cacheMagic...)
	b = le.AppendUint32(b, uint32(len(entries)))
	b = append(b, make([]byte, cacheHeader-len(b))...)
	strings := []byte{}
	base := uint32(cacheHeader + cacheEntry*len(entries))
	add := func(s string) uint32 {
		strings = append(append(strings, s...), 0)
		return base + uint32(len(strings)-len(s)-1)
	}
	for _, e := range entries {
		flags := map[string]uint32{"amd64": 0x0303, "arm64": 0x0a03}[e[0]]
		b = le.AppendUint32(b, flags)
		b = le.AppendUint32(b, add(e[1]))
		b = le.AppendUint32(b, add(e[2]))
		b = append(b, make([]byte, cacheEntry-12)...)
	}
	return slices.Concat([]byte(before), b, strings)
}

func TestParseLDCache(t *testing.T) {
	here, other := runtime.GOARCH, "arm64"
	if here == other {
		other = "amd64"
	}
	entries := [][3]string{
		{here, "libcuda.so.1", "/usr/lib/libcuda.so.1"},
		{other, "libcuda.so.1", "/usr/lib32/libcuda.so.1"},
		{here, "libcuda.so.1", "/opt/libcuda.so.1"},
		{here, "libc.so.6", "/lib/libc.so.6"},
	}
	for _, before := range []string{"", "ld.so-1.7.0\x00\x00\x00\x00\x00"} {
		c := parseLDCache(cacheFile(before, entries...))
		if got := strings.Join(c["libcuda.so.1"], " "); got != "/usr/lib/libcuda.so.1 /opt/libcuda.so.1" || len(c) != 2 {
			t.Errorf("after %q: %v", before, c)
		}
	}
}

func FuzzParseLDCache(f *testing.F) {
	f.Add(cacheFile("", [3]string{"amd64", "libcuda.so.1", "/x"}))
	f.Add([]byte("ld.so-1.7.0"))
	f.Fuzz(func(t *testing.T, b []byte) { parseLDCache(b) })
}

// The system's own cache, where there is one, names the C library.
func TestReadLDCache(t *testing.T) {
	if _, err := os.Stat("/etc/ld.so.cache"); err != nil {
		t.Skip("needs /etc/ld.so.cache: run ldconfig")
	}
	if c := readLDCache("/etc/ld.so.cache"); len(c["libc.so.6"]) == 0 {
		t.Errorf("no libc.so.6 among %d names", len(c))
	}
}

func TestNeeded(t *testing.T) {
	root := buildRoot(t)
	at := func(p string) string { return filepath.Join(root, p) }
	needs := func(run string, libs ...string) layout {
		return layout{hash: elf.DT_HASH, needed: libs, runpath: run, funcs: []testFunc{{"main", push}}}
	}
	needs("", "libmid.so").build(t, at("bin/app"))
	needs("$ORIGIN/../lib", "libmid.so").build(t, at("bin/runpath"))
	needs("$ORIGIN/sub", "libcudart.so.12").build(t, at("lib/libmid.so"))
	runtimeLib.build(t, at("lib/sub/libcudart.so.12"))
	needs("", "libpython3.11.so.1.0").build(t, at("bin/renamed"))
	program.build(t, at("venv/bin/python"))
	runtimeLib.build(t, at("venv/lib/python3.11/site-packages/nvidia/cuda_runtime/lib/libcudart.so.12"))
	runtimeLib.build(t, at("conda/lib/libcudart.so.11.0"))
	program.build(t, at("conda/bin/python3.9"))
	for name, text := range map[string]string{
		"venv/pyvenv.cfg": "home = /usr/bin\ninclude-system-site-packages = false\n",
		"bin/script":      "#!" + at("venv/bin/python") + " -u\nprint()\n",
		"bin/by-env":      "#!/usr/bin/env -S FOO=1 app\n",
		"bin/loop":        "#!" + at("bin/loop") + "\n",
		"bin/shell":       "#!" + at("bin/python2") + "\n",
	} {
		if err := os.WriteFile(at(name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(at("conda/lib/python3.9/site-packages"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := &system{cache: func() ldCache { return ldCache{"libcuda.so.1": {at("lib/libcuda.so.550.163.01")}} }}
	const driver, wheel = " lib/libcuda.so.550.163.01", "venv/lib/python3.11/site-packages/nvidia/cuda_runtime/lib/libcudart.so.12"
	path, libs := "PATH="+at("none")+":"+at("bin"), "LD_LIBRARY_PATH="+at("lib")
	for _, c := range []struct {
		command, env, want string
	}{
		{at("bin/app"), path, ""},
		{at("bin/app"), path + " " + libs, "lib/sub/libcudart.so.12" + driver},
		{"app", path + " " + libs, "lib/sub/libcudart.so.12" + driver},
		{"app", libs, ""},
		{at("bin/runpath"), "", "lib/sub/libcudart.so.12" + driver},
		{at("bin/static"), "", "bin/static" + driver},
		{at("bin/script"), "", wheel + driver},
		{at("venv/bin/python"), "", wheel + driver},
		{at("conda/bin/python3.9"), "", "conda/lib/libcudart.so.11.0" + driver},
		{at("bin/renamed"), "", strings.TrimSpace(driver)},
		{"by-env", path + " " + libs, "lib/sub/libcudart.so.12" + driver},
		{"true", "PATH=/bin LD_PRELOAD=" + at("lib/libtorch_cuda.so"), "lib/libtorch_cuda.so" + driver},
		{at("bin/loop"), "", ""},
		{at("bin/shell"), "", ""},
		{at("bin/missing"), "", ""},
		{"", path, ""},
	} {
		var got []string
		for _, b := range s.needed(c.command, strings.Fields(c.env)) {
			got = append(got, strings.TrimPrefix(b.Path, root+"/"))
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s with %s:\ngot  %s\nwant %s", c.command, c.env, text, c.want)
		}
	}
}

func TestInstalled(t *testing.T) {
	root := buildRoot(t)
	for link, to := range map[string]string{
		"lib/libcuda.so.1": "libcuda.so.550.163.01", "lib/libcuda.so": "libcuda.so.1", "lib/libcudart.so.12": "libcudart.so.12.4.127",
	} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(root+"/lib/libcudart.so.9", []byte("INPUT(x)"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := &system{cache: func() ldCache { return ldCache{"libcudart.so.12": {root + "/lib/libcudart.so.12"}} }, cuda: []string{root + "/my*/odd*"}}
	var got []string
	for _, b := range s.installed(root+"/lib", root+"/none") {
		got = append(got, strings.TrimPrefix(b.Path, root)+" "+b.Build)
	}
	want := []string{
		"/lib/libcudart.so.12 12.4.127", "/my libs/odd\nname/libcudart.so.11.0 11.0",
		"/lib/libcuda.so.1 550.163.01", "/lib/libcudart-d0da41ae.so.11.0 11.0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
