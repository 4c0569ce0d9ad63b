package proc

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ingero/internal/event"
)

var id64 = strings.Repeat("0123456789abcdef", 4)

func TestDescribe(t *testing.T) {
	f := newFakeProc(t)
	f.write("42/stat", "42 (tricky) (name) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 1000 200 18446744073709551615\n")
	f.write("42/status", "Name:\ttricky) (name\nUid:\t0\t1000\t0\t0\nGid:\t0\t0\t0\t0\n")
	f.write("42/cmdline", "python3\x00train.py\x00--lr 1\x00")
	f.write("42/cgroup", "4:memory:/other\n0::/system.slice/docker-"+id64+".scope\n")
	f.write("42/environ", "HOME=/root\x00RANK=3\x00LOCAL_RANK=1\x00WORLD_SIZE=8\x00SLURM_PROCID=9\x00")
	group := filepath.Join(f.root, "cg roup", "system.slice/docker-"+id64+".scope")
	if err := os.MkdirAll(group, 0o755); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(group)
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.fs().Describe(42)
	if err != nil {
		t.Fatal(err)
	}
	want := event.Process{
		PID: 42, PPID: 7, Start: (1700000000 + 1234) * 1e9, SinceBoot: 1234.56e9, Comm: "tricky) (name", Cmdline: "python3 train.py --lr 1", UID: 1000,
		Cgroup: inode(st), Container: id64, Rank: event.Rank{Rank: 3, Local: 1, World: 8},
	}
	want.Start += 560e6
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	f.write("stat", "cpu  1 2 3\nbtime 1700003600\n") // the wall clock was set
	if later, err := f.fs().Describe(42); err != nil || later.Start == got.Start || later.SinceBoot != got.SinceBoot {
		t.Errorf("after a step of the clock: %+v, %v", later, err)
	}
	if _, err := f.fs().Describe(43); !errors.Is(err, ErrGone) {
		t.Errorf("a process that ended: %v", err)
	}
}

func TestDescribeSelf(t *testing.T) {
	got, err := FS{}.Describe(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if got.PPID != uint32(os.Getppid()) || got.UID != uint32(os.Geteuid()) || !strings.Contains(got.Cmdline, "proc.test") {
		t.Errorf("got %+v", got)
	}
	if age := time.Since(time.Unix(0, got.Start)); age < -time.Second || age > time.Hour {
		t.Errorf("started %v ago", age)
	}
	pids, err := FS{}.Processes()
	if err != nil || !slices.Contains(pids, os.Getpid()) || !slices.IsSorted(pids) {
		t.Errorf("processes %v, %v", pids, err)
	}
}

func TestGone(t *testing.T) {
	c := exec.Command("/bin/true")
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	pid := c.Process.Pid
	if _, err := (FS{}).Describe(pid); !errors.Is(err, ErrGone) {
		t.Errorf("describe: %v", err)
	}
	if _, err := (FS{}).CUDA(pid); !errors.Is(err, ErrGone) {
		t.Errorf("CUDA: %v", err)
	}
}

func TestContainerID(t *testing.T) {
	for what, c := range map[string]struct{ text, want string }{
		"docker, v1":         {"12:pids:/docker/" + id64 + "\n0::/\n", id64},
		"docker, systemd":    {"0::/system.slice/docker-" + id64 + ".scope\n", id64},
		"containerd":         {"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id64 + ".scope\n", id64},
		"containerd, colons": {"0::/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:" + id64 + "\n", id64},
		"cri-o":              {"0::/kubepods.slice/crio-" + id64 + ".scope/container\n", id64},
		"cri-o monitor":      {"0::/kubepods.slice/crio-conmon-" + id64 + ".scope\n", ""},
		"podman":             {"0::/machine.slice/libpod-" + id64 + ".scope\n", id64},
		"kubelet, cgroupfs":  {"0::/kubepods/burstable/pod0a1b/" + id64 + "\n", id64},
		"nested":             {"0::/docker/" + strings.Repeat("f", 64) + "/docker/" + id64 + "\n", id64},
		"login session":      {"0::/user.slice/user-1000.slice/session-3.scope\n", ""},
		"65 digits":          {"0::/x/" + id64 + "0\n", ""},
		"empty":              {"", ""},
	} {
		if got := containerID(c.text); got != c.want {
			t.Errorf("%s: got %q, want %q", what, got, c.want)
		}
	}
}

func TestPodUID(t *testing.T) {
	const uid = "3c6f1a2b-77de-4b1c-9a5e-0f1e2d3c4b5a"
	id := strings.Repeat("ab12", 16)
	for text, want := range map[string]string{
		"": "", "0::/user.slice/user-1000.slice\n": "", "0::/docker/" + id + "\n": "",
		"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice/cri-containerd-" + id + ".scope\n": uid,
		"12:memory:/kubepods/besteffort/pod" + uid + "/" + id + "\n0::/system.slice\n":                                                                        uid,
		"0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice\n":                                      uid,
		"0::/kubepods/pod0123456789abcdef0123456789abcdef/x\n":                                                                                                "0123456789abcdef0123456789abcdef",
		"0::/user/pod" + uid + "/x\n": "", // it only calls itself so
	} {
		if got := podUID(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestRankOf(t *testing.T) {
	for env, want := range map[string]event.Rank{
		"":                                  event.NoRank,
		"RANK=x":                            event.NoRank,
		"RANK=-1":                           event.NoRank,
		"LOCAL_RANK=2":                      event.NoRank,
		"RANK=2 WORLD_SIZE=4":               {Rank: 2, Local: -1, World: 4},
		"SLURM_PROCID=5 SLURM_LOCALID=1":    {Rank: 5, Local: 1, World: -1},
		"SLURM_PROCID=0 SLURM_NTASKS=1 A=B": {Rank: 0, Local: -1, World: 1},
		"OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_LOCAL_RANK=0 OMPI_COMM_WORLD_SIZE=2": {Rank: 1, Local: 0, World: 2},
		"PMI_RANK=6 PMI_SIZE=16 MPI_LOCALRANKID=2":                                   {Rank: 6, Local: 2, World: 16},
	} {
		if got := rankOf([]byte(strings.ReplaceAll(env, " ", "\x00"))); got != want {
			t.Errorf("%q: got %v, want %v", env, got, want)
		}
	}
}
