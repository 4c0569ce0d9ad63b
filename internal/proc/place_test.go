package proc

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func statText(comm string, flags int) string {
	return "7 (" + comm + ") S 2 0 0 0 -1 " + strconv.Itoa(flags) + " 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0\n"
}

func TestPlace(t *testing.T) {
	id := strings.Repeat("ab", 32)
	other := strings.Repeat("cd", 32)
	f := newFakeProc(t)
	f.write("7/stat", statText("kworker/0:1", pfKthread|64))
	f.write("8/stat", statText("a) b (", 4194304))
	f.write("8/cgroup", "4:memory:/m\n1:cpu,cpuacct:/docker/"+id+"\n0::/\n")
	f.write("9/stat", statText("py", 4194304))
	f.write("9/cgroup", "0::/kubepods.slice/pod1/cri-containerd-"+other+".scope\n")
	f.write("10/stat", statText("sh", 4194304)) // no cgroup file: gone in between
	now := time.Unix(1700000000, 0)
	p := Placer{FS: f.fs(), Now: func() time.Time { return now }}
	check := func(pid uint32, comm string, want Place, found bool) {
		t.Helper()
		if got, ok := p.Place(pid, comm); got != want || ok != found {
			t.Errorf("%d: got %+v %v, want %+v %v", pid, got, ok, want, found)
		}
	}
	eight := Place{Cgroup: "/docker/" + id, Container: id}
	nine := Place{Cgroup: "/kubepods.slice/pod1/cri-containerd-" + other + ".scope", Container: other}
	check(7, "kworker/0:1", Place{Cgroup: "/", Kernel: true}, true)
	check(8, "a", eight, true)
	check(9, "py", nine, true)
	check(10, "sh", Place{}, false)
	check(11, "x", Place{}, false)

	// It moved: seen after a while, or at once under another name.
	f.write("8/cgroup", "0::/two\n")
	check(8, "a", eight, true)
	check(8, "renamed", Place{Cgroup: "/two"}, true)
	now = now.Add(placeFresh)
	check(8, "a", Place{Cgroup: "/two"}, true)

	// It ended: still known.
	if err := os.RemoveAll(filepath.Join(f.root, "9")); err != nil {
		t.Fatal(err)
	}
	check(9, "py", nine, true)
	check(9, "another", Place{}, false)
}

func TestPlacerIsBounded(t *testing.T) {
	f := newFakeProc(t)
	now := time.Unix(1700000000, 0)
	p := Placer{FS: f.fs(), Now: func() time.Time { return now }}
	for i := range uint32(3 * maxPlaces) {
		p.Place(i, "x")
		if i == maxPlaces {
			now = now.Add(placeFresh)
		}
		if len(p.known) > maxPlaces {
			t.Fatal(len(p.known))
		}
	}
}

func TestPlaceHere(t *testing.T) {
	var p Placer
	if got, ok := p.Place(uint32(os.Getpid()), "proc.test"); !ok || got.Kernel || got.Cgroup == "" {
		t.Errorf("we are at %+v %v", got, ok)
	}
	if b, err := os.ReadFile("/proc/2/stat"); err == nil && strings.Contains(string(b), "(kthreadd)") {
		if got, ok := p.Place(2, "kthreadd"); !ok || !got.Kernel {
			t.Errorf("kthreadd is at %+v %v", got, ok)
		}
	}
}
