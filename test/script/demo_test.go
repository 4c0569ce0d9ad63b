package script

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"ingero/internal/demo"
	"ingero/internal/query"
)

// nobody is a user who owns nothing.
const nobody = 65534

// Each scenario ends with its verdict within 40 s, for a user who may do
// nothing and has no home.
func TestDemoOfAnOrdinaryUser(t *testing.T) {
	program := copyOfSelf(t)
	for _, s := range demo.Scenarios {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			cmd := exec.CommandContext(t.Context(), program, "demo", s.Name, "--no-gpu", "--json")
			cmd.Env = []string{"RUN_INGERO=1", "PATH=" + os.Getenv("PATH")}
			cmd.Stdout, cmd.Stderr, cmd.Dir = &stdout, &stderr, "/"
			if os.Geteuid() == 0 {
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			}
			began := time.Now()
			if err := cmd.Run(); err != nil || stderr.Len() > 0 {
				t.Fatalf("%v: %s", err, &stderr)
			}
			if took := time.Since(began); took > 40*time.Second {
				t.Errorf("it took %v", took)
			}
			var said struct {
				Scenario    string
				Explanation query.Explanation
			}
			if err := json.Unmarshal(stdout.Bytes(), &said); err != nil {
				t.Fatal(err)
			}
			chains := said.Explanation.Chains
			if said.Scenario != s.Name || len(chains) == 0 || chains[0].Cause.Kind != s.Kind {
				t.Errorf("the verdict is %+v, want %s first", chains, s.Kind)
			}
		})
	}
}

// copyOfSelf is this program where everybody may run it.
func copyOfSelf(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "ingero-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "ingero")
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
