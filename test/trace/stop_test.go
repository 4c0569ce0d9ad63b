package trace

import (
	"bufio"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// pipe starts the agent with its standard output in a pipe.
func (b *box) pipe(args ...string) (*exec.Cmd, *os.File) {
	b.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(bin, append([]string{"trace", "--db", b.db}, args...)...)
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); r.Close() })
	return cmd, r
}

// Whoever reads what is printed may go away (| head -1): the command is not
// disturbed, and its exit status is still ours.
func TestReaderGoesAway(t *testing.T) {
	b := newBox(t)
	cmd, out := b.pipe("--json", "--", "sh", "-c", b.sim("workload")+" --steps 300 >/dev/null; exit 7")
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("%v, want exit status 7", err)
	}
	if n := b.sql("SELECT count(*) FROM sessions WHERE stopped_at > 0"); n != 1 {
		t.Error("the session was not closed")
	}
}

// Whoever reads may also stop reading: we still end when told to.
func TestReaderStopsReading(t *testing.T) {
	b := newBox(t)
	cmd, _ := b.pipe("--json", "--record-all", "--", b.sim("workload"), "--steps", "0", "--launches", "100", "--kernel-ns", "0")
	b.until("a full pipe", func() bool { return b.try("SELECT count(*) FROM events") > 10_000 })
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("took %v to end", took)
	}
}
