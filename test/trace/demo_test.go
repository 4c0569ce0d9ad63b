package trace

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"testing"

	"ingero/internal/bpftest"
	"ingero/internal/query"
	"ingero/test/workload"
)

// What happens for real to the simulated job is what is said to have happened.
// Other work on the machine takes its share of the job's CPU and is told as
// well, so that the cause need not be the first.
func TestLiveScenarios(t *testing.T) {
	bpftest.NeedBPF(t)
	if err := workload.Supported(); err != nil {
		t.Skip(err)
	}
	for name, want := range map[string]struct{ kind, culprit string }{
		"incident":          {"cpu_contention", "logrotate"},
		"memcpy-bottleneck": {"memcpy_bound", ""},
		"gpu-steal":         {"gpu_contention", "embedding-svc"},
	} {
		db := filepath.Join(t.TempDir(), "demo.db")
		out, err := exec.CommandContext(t.Context(), bin, "demo", "--live", name, "--plain", "--duration", "12s", "--db", db).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		text, err := exec.CommandContext(t.Context(), bin, "explain", "--json", "-d", db).Output()
		if err != nil {
			t.Fatal(err)
		}
		var e query.Explanation
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatal(err)
		}
		found := false
		for _, c := range e.Chains {
			right := c.Cause.Kind == want.kind && c.Severity != "LOW"
			if want.culprit != "" {
				right = right && len(c.Cause.Culprits) > 0 && c.Cause.Culprits[0].Comm == want.culprit
			}
			found = found || right
		}
		if !found {
			t.Errorf("%s: no finding of %v:\n%s", name, want, out)
		}
	}
}
