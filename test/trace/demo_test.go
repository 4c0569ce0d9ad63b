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
// Other work on the machine takes its share of the job's CPU as well and is
// told too, so the culprit need not be the only one, nor the first.
func TestLiveScenario(t *testing.T) {
	bpftest.NeedBPF(t)
	if err := workload.Supported(); err != nil {
		t.Skip(err)
	}
	db := filepath.Join(t.TempDir(), "demo.db")
	out, err := exec.CommandContext(t.Context(), bin, "demo", "--live", "incident", "--plain", "--duration", "12s", "--db", db).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := exec.CommandContext(t.Context(), bin, "explain", "--json", "-d", db).Output()
	if err != nil {
		t.Fatal(err)
	}
	var e query.Explanation
	if err := json.Unmarshal(text, &e); err != nil {
		t.Fatal(err)
	}
	for _, c := range e.Chains {
		for _, who := range c.Cause.Culprits {
			if c.Cause.Kind == "cpu_contention" && who.Comm == "logrotate" && who.NS > 200e6 {
				return
			}
		}
	}
	t.Errorf("logrotate is not told of:\n%s", out)
}
