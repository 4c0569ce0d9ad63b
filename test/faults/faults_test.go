package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"ingero/internal/bpftest"
	"ingero/test/workload"
)

func TestMain(m *testing.M) {
	runHelper() // does not return if this is one
	os.Exit(m.Run())
}

// The short suite: a few cases, on a short timeline. The whole of it is
// 'make faults'.
func TestFaults(t *testing.T) {
	bpftest.NeedBPF(t)
	if testing.Short() {
		t.Skip("takes a minute")
	}
	if err := workload.Supported(); err != nil {
		t.Skip(err)
	}
	l, err := newLab("", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	if !hasExplain(l.bin) {
		t.Skip("needs 'ingero explain --json', which this build does not have")
	}
	l.retries = 1
	if err := renice(-15); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases() {
		if !c.CI {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			c.Healthy, c.Fault, c.After = 5*time.Second, 5*time.Second, time.Second
			r := l.runCase(c)
			if r.Uncovered != "" {
				t.Skip(r.Uncovered)
			}
			// Other tests run beside this one. Then figures mean little, but
			// the cause must be right all the same.
			if r.Foreign > maxForeign && r.Error == "" && (r.KindRight || !r.Fault) {
				t.Log(r)
				return
			}
			for _, p := range r.problems() {
				t.Error(p)
			}
			if t.Failed() {
				t.Log(r)
			}
		})
	}
}

func hasExplain(bin string) bool {
	out, err := exec.Command(bin, "explain", "--help").CombinedOutput()
	return err == nil && strings.Contains(string(out), "--json")
}
