// Package bpftest says what a test needs of the machine, or skips saying why.
package bpftest

import (
	"os"
	"os/exec"
	"testing"
)

// NeedBPF skips the test unless eBPF programs can be loaded and attached.
// With REQUIRE_BPF set it fails instead, so that CI cannot skip in silence.
func NeedBPF(t testing.TB) {
	t.Helper()
	why := ""
	switch {
	case os.Geteuid() != 0:
		why = "needs root: sudo -E make test-bpf"
	case !exists("/sys/kernel/btf/vmlinux"):
		why = "needs a kernel with BTF (CONFIG_DEBUG_INFO_BTF=y)"
	default:
		return
	}
	if os.Getenv("REQUIRE_BPF") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// NeedPrometheus skips the test unless prometheus and promtool are installed.
// With REQUIRE_PROMETHEUS set it fails instead.
func NeedPrometheus(t testing.TB) {
	t.Helper()
	for _, program := range []string{"prometheus", "promtool"} {
		if _, err := exec.LookPath(program); err == nil {
			continue
		}
		why := "needs " + program + ": apt-get install prometheus"
		if os.Getenv("REQUIRE_PROMETHEUS") != "" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
