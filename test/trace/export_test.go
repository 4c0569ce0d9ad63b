package trace

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A device that takes 20 ms for each kernel: go tool pprof names the wait for it
// as where the time was lost, with the program's function that waits.
func TestExportNamesTheFault(t *testing.T) {
	b := newBox(t)
	a := b.trace(append(b.libs(), "--plain")...)
	b.workload("--steps", "40", "--launches", "2", "--kernel-ns", "20000000")
	a.stop()
	out := filepath.Join(b.dir, "lost.pb.gz")
	if text, err := exec.Command(bin, "export", "--format", "pprof", "-d", b.db, "-o", out).CombinedOutput(); err != nil {
		t.Fatalf("%v, %s", err, text)
	}
	cmd := exec.Command("go", "tool", "pprof", "-top", "-nodecount=3", out)
	cmd.Env = append(os.Environ(), "PPROF_TMPDIR="+b.dir)
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v, %s", err, text)
	}
	_, table, _ := strings.Cut(string(text), "cum%\n")
	first, _, _ := strings.Cut(table, "\n")
	m := regexp.MustCompile(`^ *([0-9.]+)(m?)s +([0-9.]+)% .* cuStreamSynchronize$`).FindStringSubmatch(first)
	if m == nil {
		t.Fatalf("most time is lost by %q\n%s", first, text)
	}
	flat, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	if m[2] == "m" {
		flat /= 1000
	}
	// 40 steps of two kernels.
	if flat < 1.5 || flat > 2.5 {
		t.Errorf("%.2f s lost in it, of 1.6 at least\n%s", flat, text)
	}
}
