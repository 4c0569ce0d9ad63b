package cli

import (
	"strings"
	"testing"

	"ingero/internal/query"
)

// A finding says what its stack is: a gap has that of the call which ended it.
func TestStackOfFinding(t *testing.T) {
	stack := []query.Frame{{Symbol: "cudaLaunchKernel+0x0", File: "libcudart.so.13"}, {File: "python3.12"}, {PyFile: "/home/me/job.py", PyFunc: "step\x1b[2J", PyLine: 8}}
	for _, c := range []struct {
		symptom query.Symptom
		want    string
	}{
		{query.Symptom{Op: "between calls", Class: "gap"}, "Most time between calls was before this call:"},
		{query.Symptom{Op: "cudaStreamSync", Class: "sync"}, "Most time in cudaStreamSync came from here:"},
	} {
		got := chainText(&query.Chain{Symptom: c.symptom, Stack: stack}, plain)
		want := "  " + c.want + "\n    cudaLaunchKernel (libcudart.so.13)\n    [Python] /home/me/job.py:8 in step·[2J()\n\n"
		if !strings.Contains(got, want) {
			t.Errorf("got %q\nwant %q", got, want)
		}
	}
}
