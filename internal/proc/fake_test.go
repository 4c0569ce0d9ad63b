package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeProc is a procfs tree in a temporary folder.
type fakeProc struct {
	t    *testing.T
	root string
}

func newFakeProc(t *testing.T) fakeProc {
	f := fakeProc{t, t.TempDir()}
	f.write("stat", "cpu  1 2 3\nbtime 1700000000\nprocesses 5\n")
	f.write("self/mountinfo", "30 23 0:26 / "+filepath.Join(f.root, `cg\040roup`)+" rw,nosuid - cgroup2 cgroup2 rw\n")
	return f
}

func (f fakeProc) fs() FS { return FS{Root: f.root} }

func (f fakeProc) write(name, text string) {
	f.t.Helper()
	path := filepath.Join(f.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f fakeProc) link(name, to string) {
	f.t.Helper()
	path := filepath.Join(f.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Symlink(to, path); err != nil {
		f.t.Fatal(err)
	}
}

// process adds a process whose program and libraries are files of ours,
// below the folder root as seen from that process.
func (f fakeProc) process(pid int, root string, files ...string) {
	f.t.Helper()
	dir := fmt.Sprint(pid)
	f.link(dir+"/root", root)
	var maps strings.Builder
	for i, path := range files {
		st, err := os.Stat(filepath.Join(root, path))
		if err != nil {
			f.t.Fatal(err)
		}
		start := 0x400000 + i*0x10000
		escaped := strings.ReplaceAll(path, "\n", `\012`)
		fmt.Fprintf(&maps, "%08x-%08x r--p 00000000 fd:01 %d    %s\n", start, start+0x1000, inode(st), escaped)
		fmt.Fprintf(&maps, "%08x-%08x r-xp 00001000 fd:01 %d    %s\n", start+0x1000, start+0x2000, inode(st), escaped)
		fmt.Fprintf(&maps, "%08x-%08x rw-p 00002000 00:00 0 \n", start+0x2000, start+0x3000)
		f.link(fmt.Sprintf("%s/map_files/%x-%x", dir, start+0x1000, start+0x2000), filepath.Join(root, path))
	}
	maps.WriteString("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n")
	f.write(dir+"/maps", maps.String())
	if len(files) > 0 {
		f.link(dir+"/exe", files[0])
	}
}
