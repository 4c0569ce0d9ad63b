package demo

import (
	"strings"
	"testing"

	"ingero/internal/rule"
)

// What the rules say of each scenario: the cause that it is about comes
// first, and nothing else is called harmful.
func TestVerdicts(t *testing.T) {
	for _, s := range Scenarios {
		x, err := s.Read()
		if err != nil {
			t.Fatal(err)
		}
		found := rule.Find(rule.Window{Processes: x.Processes, GPU: x.GPU, To: x.To, Place: func(uint32) (string, string) { return "", "" }})
		if len(found) == 0 || found[0].Kind != s.Kind {
			t.Errorf("%s: %+v", s.Name, found)
			continue
		}
		for _, f := range found {
			t.Logf("%s: %s %s %s", s.Name, f.Severity, f.Kind, f.Summary)
			if f.Kind != s.Kind && f.Severity != rule.Low {
				t.Errorf("%s: %s %s: %s", s.Name, f.Severity, f.Kind, f.Summary)
			}
		}
		// Seconds last a second, so that the ledger adds up.
		for _, p := range x.Processes {
			for _, sec := range p.Seconds {
				var ns uint64
				for i := range sec.Ledger {
					ns += sec.Ledger[i].Total()
				}
				if ns < 998e6 || ns > 1002e6 {
					t.Errorf("%s: second %d of %s lasts %d ns", s.Name, sec.At, p.Comm, ns)
				}
			}
		}
	}
}

func TestFind(t *testing.T) {
	for _, name := range []string{"gpu-steal", "gpu-contention", "contention"} {
		if s, ok := Find(name); !ok || s.Name != "gpu-steal" {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if s, ok := Find("nothing"); ok {
		t.Errorf("%+v", s)
	}
	for _, s := range Scenarios {
		if strings.HasSuffix(s.Title, ".") || s.Title == "" {
			t.Errorf("%+v", s)
		}
	}
}
