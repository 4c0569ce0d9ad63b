package trace

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"testing"

	"ingero/internal/bpftest"
	"ingero/internal/demo"
	"ingero/internal/query"
	"ingero/test/workload"
)

// liveCulprits is who does it, in scenarios in which somebody does.
var liveCulprits = map[string]string{"incident": "logrotate", "cpu-contention": "cc1plus", "gpu-steal": "embedding-svc"}

// What happens for real to the simulated job is what is said to have happened.
// Other work on the machine takes its share of the job's CPU as well and is
// told too, so the cause need not be the only one, nor the first; in the second
// try it is not drowned by chance.
func TestLiveScenarios(t *testing.T) {
	bpftest.NeedBPF(t)
	if err := workload.Supported(); err != nil {
		t.Skip(err)
	}
	for _, s := range demo.Scenarios {
		t.Run(s.Name, func(t *testing.T) {
			var out []byte
			for range 2 {
				db := filepath.Join(t.TempDir(), "demo.db")
				var err error
				if out, err = exec.CommandContext(t.Context(), bin, "demo", "--live", s.Name, "--plain", "--duration", "12s", "--db", db).CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				// While it happened, and looked back at.
				for _, args := range [][]string{{"--chains"}, nil} {
					if tells(t, db, s.Kind, liveCulprits[s.Name], args...) {
						return
					}
				}
				t.Logf("%s is not told of:\n%s", s.Kind, out)
			}
			t.Errorf("%s is not told of, twice", s.Kind)
		})
	}
}

// tells reports whether explain has a finding of a kind, and who did it.
func tells(t *testing.T, db, kind, culprit string, args ...string) bool {
	t.Helper()
	text, err := exec.CommandContext(t.Context(), bin, append([]string{"explain", "--json", "-d", db}, args...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	var e query.Explanation
	if err := json.Unmarshal(text, &e); err != nil {
		t.Fatal(err)
	}
	for _, c := range e.Chains {
		if c.Cause.Kind == kind && culprit == "" {
			return true
		}
		for _, who := range c.Cause.Culprits {
			if c.Cause.Kind == kind && who.Comm == culprit && who.NS > 200e6 {
				return true
			}
		}
	}
	return false
}
