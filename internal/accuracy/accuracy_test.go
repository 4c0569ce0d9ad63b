package accuracy

import (
	"os"
	"strings"
	"testing"
)

// The report that the program carries and the page for people are of one run.
func TestCommitted(t *testing.T) {
	r, err := Committed()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/accuracy.md")
	if err != nil {
		t.Fatal(err)
	}
	if r.Schema != Schema || r.Note != Note || len(r.Faults) == 0 || len(r.Healthy) == 0 || len(r.Summary) == 0 {
		t.Errorf("%+v", r)
	}
	lines := []string{"| date | " + r.Date + " |", "| machine | " + r.Machine + " |"}
	for _, l := range r.Summary {
		lines = append(lines, "| "+l.Name+" | "+l.Value+" |")
	}
	for _, f := range r.Faults {
		lines = append(lines, "| "+f.Case+" | "+f.Injected+" | "+f.Said+" | "+f.Culprit+" | ", " | "+f.Error+" | "+f.Found+" | "+f.Remarks)
	}
	for _, h := range r.Healthy {
		lines = append(lines, "| "+h.Case+" | "+h.What+" | ")
	}
	for _, l := range lines {
		if !strings.Contains(string(page), l) {
			t.Errorf("docs/accuracy.md has no %q: run make faults", l)
		}
	}
	if n := strings.Count(string(page), "\n| healthy/"); n != len(r.Healthy) {
		t.Errorf("%d healthy cases, the page has %d", len(r.Healthy), n)
	}
}
