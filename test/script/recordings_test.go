package script

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ingero/internal/query"
	"ingero/internal/store"
)

// What recordings of an older ingero support, and no more: they have no time
// ledger, so nothing but what calls took can be told. The chains inside blame
// context switches that happened at the same time; ours must not.
func TestRecordings(t *testing.T) {
	files, err := filepath.Glob("../../../shared/recordings/*.db")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("the recordings are not here: shared/recordings beside the checkout")
	}
	cold := map[string]string{ // the slow first call of each
		"pytorch-dataloader-starvation":     "cudaLaunchKernel 25.8ms instead of",
		"pytorch-173382-empty-cache":        "cudaLaunchKernel 68.8ms instead of",
		"vllm-37343-logprobs-amplification": "cudaLaunchKernel 70.8ms instead of",
		"sample-gpu-node-01":                "",
		"sample-gpu-node-02":                "",
		"sample-gpu-node-03":                "",
		"sample-cluster":                    "",
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".db")
		t.Run(name, func(t *testing.T) {
			want, known := cold[name]
			if !known {
				t.Fatal("say what this recording supports")
			}
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			r, err := store.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			oldest, newest, err := r.Span(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			e, err := query.Explain(t.Context(), r, query.ExplainParams{Filter: store.Filter{From: oldest, To: newest + 1}})
			if err != nil {
				t.Fatal(err)
			}
			told := ""
			for _, c := range e.Chains {
				told += c.Cause.Summary + "\n"
				if c.Cause.Kind != "cold_start" || c.Severity != "LOW" || len(c.Cause.Culprits) != 0 {
					t.Errorf("more than the data supports: %s %s %s", c.Severity, c.Cause.Kind, c.Cause.Summary)
				}
			}
			if !strings.Contains(told, want) || (want == "" && told != "") {
				t.Errorf("told %q, want %q", told, want)
			}
			if e.Basis != "calls" || len(e.Notes) == 0 {
				t.Errorf("it does not say what it rests on: %q, %q", e.Basis, e.Notes)
			}
			if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
				t.Error("the recording was changed")
			}
		})
	}
}
