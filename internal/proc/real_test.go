package proc_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ingero/internal/event"
	"ingero/internal/proc"
	"ingero/test/workload"
)

// unpacked returns a folder with the simulated CUDA and programs that use it.
func unpacked(t *testing.T) string {
	t.Helper()
	if err := workload.Supported(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	if err := workload.Unpack(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// started runs a program until the test ends, and returns when it has loaded
// its libraries.
func started(t *testing.T, name string, args ...string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	run, err := workload.StartCommand(ctx, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := run.Signal(syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		run.Wait() // killed, so there is nothing to say
	})
	if err := run.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return run.PID
}

// names returns what was found, without folders.
func names(found []proc.Binary) string {
	var all []string
	for _, b := range found {
		all = append(all, filepath.Base(b.Path))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestRealProcesses(t *testing.T) {
	dir := unpacked(t)
	p := proc.FS{Cache: &proc.Cache{}}
	for program, want := range map[string]string{
		"workload":        "libcuda.so.1 libcudart.so.12",
		"workload-static": "libcuda.so.1 workload-static",
	} {
		pid := started(t, filepath.Join(dir, program), "--wait-stdin", "--preload")
		found, err := p.CUDA(pid)
		if err != nil {
			t.Fatal(err)
		}
		if got := names(found); got != want {
			t.Errorf("%s: got %s, want %s", program, got, want)
		}
		for _, b := range found {
			sites, _, err := b.Sites(event.Calls)
			if err != nil || len(sites) < 20 {
				t.Errorf("%s: %d sites, %v", b.Path, len(sites), err)
			}
			if slices.Contains(b.Libs, event.LIBCUDA) && sites[0].Offset != sites[0].Func+10 {
				t.Errorf("%s: probe at +%d, not at the je of the stub", b.Path, sites[0].Offset-sites[0].Func)
			}
			if b.Open != b.Path {
				t.Errorf("%s is opened by %s", b.Path, b.Open)
			}
		}
		d, err := p.Describe(pid)
		if err != nil || d.Comm != program || d.PPID != uint32(os.Getpid()) {
			t.Errorf("%s: %+v, %v", program, d, err)
		}
	}
}

func TestNeededByRealProgram(t *testing.T) {
	dir := unpacked(t)
	for program, want := range map[string]string{
		"workload":        "libcuda.so.1 libcudart.so.12",
		"workload-static": "libcuda.so.1 workload-static",
	} {
		got := names(proc.Needed(filepath.Join(dir, program), []string{"LD_LIBRARY_PATH=" + dir}))
		if got != want {
			t.Errorf("%s: got %s, want %s", program, got, want)
		}
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: sudo -E go test ./internal/proc")
	}
}

// Before its first call a process has not loaded the driver: we know which
// one it will.
func TestRealProcessAwaitsDriver(t *testing.T) {
	dir := unpacked(t)
	for _, program := range []string{"workload", "workload-static"} {
		t.Setenv("LD_LIBRARY_PATH", "")
		if program == "workload-static" {
			t.Setenv("LD_LIBRARY_PATH", dir)
		}
		pid := started(t, filepath.Join(dir, program), "--wait-stdin")
		found, err := proc.FS{}.CUDA(pid)
		if err != nil || !strings.Contains(names(found), "libcuda.so.1") {
			t.Errorf("%s: got %+v, %v", program, found, err)
		}
	}
}

// An upgrade removes libraries under running programs.
func TestRealDeletedLibrary(t *testing.T) {
	needRoot(t)
	dir := unpacked(t)
	pid := started(t, filepath.Join(dir, "workload"), "--wait-stdin", "--preload")
	for _, lib := range []string{"libcuda.so.1", "libcudart.so.12"} {
		if err := os.Remove(filepath.Join(dir, lib)); err != nil {
			t.Fatal(err)
		}
	}
	found, err := proc.FS{}.CUDA(pid)
	if err != nil || names(found) != "libcuda.so.1 libcudart.so.12" {
		t.Fatalf("got %+v, %v", found, err)
	}
	for _, b := range found {
		if !strings.Contains(b.Open, "/map_files/") {
			t.Errorf("%s is opened by %s", b.Path, b.Open)
		}
		if sites, _, err := b.Sites(event.Calls); err != nil || len(sites) < 20 {
			t.Errorf("%s: %d sites, %v", b.Path, len(sites), err)
		}
	}
}

// Two containers of one image map the same files through two overlays, each
// in its own mount namespace. Probes go on the file below, so both must have
// one identity: else every call would be counted twice.
func TestRealContainers(t *testing.T) {
	needRoot(t)
	image, top := unpacked(t), t.TempDir()
	if err := syscall.Mount("tmpfs", top, "tmpfs", 0, ""); err != nil {
		t.Skipf("needs to mount, CAP_SYS_ADMIN: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(top, syscall.MNT_DETACH) })
	var ids [2]map[string]proc.FileID
	for i := range ids {
		c := filepath.Join(top, strconv.Itoa(i))
		for _, sub := range []string{"upper", "work", "root"} {
			if err := os.MkdirAll(filepath.Join(c, sub), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		const script = `mount --make-rprivate / && mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root" || { echo ready >&2; exit 77; }
			exec "$2/root/workload" --wait-stdin $3`
		pid := started(t, "unshare", "--mount", "sh", "-c", script, "sh", image, c, []string{"--preload", "--threads=1"}[i])
		found, err := proc.FS{}.CUDA(pid)
		if err != nil || names(found) != "libcuda.so.1 libcudart.so.12" {
			if fs, _ := os.ReadFile("/proc/filesystems"); !strings.Contains(string(fs), "overlay") {
				t.Skip("needs overlayfs: modprobe overlay")
			}
			t.Fatalf("got %+v, %v", found, err)
		}
		ids[i] = map[string]proc.FileID{}
		for _, b := range found {
			if !strings.HasPrefix(b.Open, "/proc/"+strconv.Itoa(pid)+"/") {
				t.Errorf("%s is opened by %s", b.Path, b.Open)
			}
			ids[i][filepath.Base(b.Path)] = b.ID
		}
	}
	if !maps.Equal(ids[0], ids[1]) || ids[0]["libcuda.so.1"] == ids[0]["libcudart.so.12"] {
		t.Errorf("files are told apart by %v and %v", ids[0], ids[1])
	}
}
