package sysinfo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"ingero/internal/event"
)

// Files named N/path are put into a fake tree before step N, where "(gone)"
// removes what is there. Lines of procs are PID and start in ticks.
func TestAccounts(t *testing.T) {
	cases, err := filepath.Glob("testdata/account/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatal(cases, err)
	}
	for _, path := range cases {
		t.Run(filepath.Base(path), func(t *testing.T) {
			ar, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			root := t.TempDir()
			steps := map[int]map[string]string{}
			order := map[int][]string{}
			last, want := 0, ""
			for _, f := range ar.Files {
				number, name, ok := strings.Cut(f.Name, "/")
				if !ok {
					want = string(f.Data)
					continue
				}
				n, err := strconv.Atoi(number)
				if err != nil {
					t.Fatal(err)
				}
				if steps[n] == nil {
					steps[n] = map[string]string{}
				}
				order[n] = append(order[n], name)
				steps[n][name] = strings.ReplaceAll(string(f.Data), "$ROOT", root)
				last = max(last, n)
			}
			var a *Accounts
			var got strings.Builder
			for n := range last + 1 {
				for _, name := range order[n] {
					text := steps[n][name]
					if text == "(gone)\n" {
						if err := os.RemoveAll(filepath.Join(root, name)); err != nil {
							t.Fatal(err)
						}
						continue
					}
					write(t, root, map[string]string{name: text})
				}
				if a == nil {
					if a, err = OpenAccounts(root); err != nil {
						t.Fatal(err)
					}
					defer a.Close()
					a.born = 6000 * int64(tick)
				}
				describeAccounts(&got, n, a.Take(listed(t, root)))
			}
			if d := cmp.Diff(want, got.String()); d != "" {
				t.Error(d)
			}
		})
	}
}

func listed(t *testing.T, root string) (procs []event.Process) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "procs"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var p event.Process
		if _, err := fmt.Sscan(line, &p.PID, &p.SinceBoot); err != nil {
			t.Fatal(err)
		}
		p.SinceBoot *= int64(tick)
		procs = append(procs, p)
	}
	return procs
}

func describeAccounts(w *strings.Builder, step int, all []Account) {
	for _, a := range all {
		m := a.Memory
		fmt.Fprintf(w, "%d %d: throttled %d in %v, faults %d, memory %d of %d, oom %d high %d max %d\n",
			step, a.PID, a.ThrottledPeriods, a.Throttled, a.MajorFaults, m.Current, m.Limit, m.OOMKills, m.High, m.Max)
		for _, c := range a.AppendCalls(nil) {
			h := c.Hist
			fmt.Fprintf(w, "%d %d: %v %d sum %v max %v\n", step, a.PID, c.Op, h.Count(), time.Duration(h.Sum()), time.Duration(h.Max()))
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("1 (a) b) S 1 1 1 0 -1 1 1 1 3 1 5 6 7 8 20 0 9 0 5000 123 456"))
	f.Add([]byte("1 (a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		parseStat(b)
		parseThrottle(b)
		for _, m := range parseMounts(string(b)) {
			m.below(string(b))
		}
		find([]cgroupMount{{root: "/", point: "/x"}}, string(b), "cpu")
	})
}

// A real quota is seen, whichever version of cgroups rules the CPU here.
func TestThrottledHere(t *testing.T) {
	dir, quota := "/sys/fs/cgroup/ingero-test", map[string]string{"cpu.max": "10000 100000"}
	if exists("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") || exists("/sys/fs/cgroup/cpu/tasks") {
		dir, quota = "/sys/fs/cgroup/cpu/ingero-test", map[string]string{"cpu.cfs_quota_us": "10000"}
	}
	inner := dir + "/inner"
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Skip("needs root and a writable cgroupfs: ", err)
	}
	t.Cleanup(func() { os.Remove(inner); os.Remove(dir) })
	for name, text := range quota {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Skip("needs the cpu controller: ", err)
		}
	}
	cmd := exec.Command("sh", "-c", "echo $$ > "+inner+"/cgroup.procs && echo && while :; do :; done")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if n, err := out.Read(make([]byte, 1)); n != 1 {
		t.Skip("needs to move a process into a cgroup: ", err)
	}
	a, err := OpenAccounts("")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	me := []event.Process{{PID: uint32(cmd.Process.Pid)}}
	began := time.Now()
	a.Take(me)
	var sum Account
	for {
		time.Sleep(20 * time.Millisecond) // between looks at a counter that has no event
		all := a.Take(me)
		if len(all) != 1 {
			t.Fatal("the process is gone")
		}
		sum.ThrottledPeriods += all[0].ThrottledPeriods
		sum.Throttled += all[0].Throttled
		if n := sum.ThrottledPeriods; n >= 5 { // the first one may be the end of a period only
			// One thread in a tenth of every 100 ms.
			if mean := sum.Throttled / time.Duration(n); mean < 20*time.Millisecond || mean > 300*time.Millisecond {
				t.Errorf("%d periods in %v", n, sum.Throttled)
			}
			t.Logf("%d periods, %v", n, sum.Throttled)
			return
		}
		if time.Since(began) > 10*time.Second {
			t.Fatalf("throttled in %d periods only", sum.ThrottledPeriods)
		}
	}
}

// BenchmarkAccounts reads 200 real processes, as once a second: all in our
// own group, and each in one of its own (where we may make some).
func BenchmarkAccounts(b *testing.B) {
	var procs []event.Process
	for range 200 {
		cmd := exec.Command("sleep", "600")
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		procs = append(procs, event.Process{PID: uint32(cmd.Process.Pid)})
	}
	run := func(b *testing.B) {
		a, err := OpenAccounts("")
		if err != nil {
			b.Fatal(err)
		}
		defer a.Close()
		for b.Loop() {
			if len(a.Take(procs)) != len(procs) {
				b.Fatal("processes are missing")
			}
		}
	}
	b.Run("together", run)
	b.Run("apart", func(b *testing.B) {
		for _, p := range procs {
			for _, tree := range []string{"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/memory"} {
				dir := fmt.Sprintf("%s/ingero-bench-%d", tree, p.PID)
				if err := os.Mkdir(dir, 0o755); err != nil {
					b.Skip("needs root and cgroups of version 1: ", err)
				}
				pid := []byte(strconv.Itoa(int(p.PID)))
				if err := os.WriteFile(dir+"/cgroup.procs", pid, 0o644); err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() {
					os.WriteFile(tree+"/cgroup.procs", pid, 0o644)
					os.Remove(dir)
				})
			}
		}
		run(b)
	})
}
