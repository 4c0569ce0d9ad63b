package rule

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"ingero/internal/scenario"
)

var update = flag.Bool("update", false, "rewrite the findings in testdata")

// Each testdata file is named after a kind and holds cases in pairs:
// "NAME seconds", as package scenario reads them, and "NAME findings".
func TestRules(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	tested := map[string]int{}
	for _, file := range files {
		kind := strings.TrimSuffix(filepath.Base(file), ".txtar")
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(a.Files); i += 2 {
			name := strings.TrimSuffix(a.Files[i].Name, " seconds")
			t.Run(kind+"/"+strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
				w, err := parse(string(a.Files[i].Data))
				if err != nil {
					t.Fatal(err)
				}
				got := show(Find(*w))
				if *update {
					a.Files[i+1].Data = []byte(got)
				} else if want := string(a.Files[i+1].Data); got != want {
					t.Errorf("got\n%swant\n%s", got, want)
				}
				if strings.Contains(got, kind) {
					tested[kind+" fires"]++
				} else {
					tested[kind+" is silent"]++
				}
			})
		}
		if *update {
			if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, k := range Kinds {
		if tested[k+" fires"] == 0 || tested[k+" is silent"] == 0 {
			t.Errorf("%s needs a case in which it fires and one in which it is silent", k)
		}
	}
}

func parse(text string) (*Window, error) {
	s, err := scenario.Parse(text)
	if err != nil {
		return nil, err
	}
	return &Window{Processes: s.Processes, GPU: s.GPU, To: s.To, Place: func(pid uint32) (string, string) {
		if pid >= 900 { // by convention of the test data
			return "/pods", fmt.Sprintf("container%d", pid/100)
		}
		return "", ""
	}}, nil
}

func show(all []Finding) string {
	var b strings.Builder
	for _, f := range all {
		ongoing := ""
		if f.Ongoing {
			ongoing = " ongoing"
		}
		fmt.Fprintf(&b, "%s %s %d to %d%s: %s\n", f.Severity, f.Kind, f.Start.Unix(), f.End.Unix(), ongoing, f.Summary)
		for _, c := range f.Culprits {
			fmt.Fprintf(&b, "  %s (%d) %s %.0f%%\n", c.Comm, c.PID, time.Duration(c.NS).Round(100*time.Microsecond), 100*c.Share)
		}
		if f.Before != nil {
			fmt.Fprintf(&b, "  %.0f units/s, normally %.0f; explained %.0f%%\n", f.Rate, *f.Before, 100*f.Explained)
		}
		if f.Limit != "" {
			fmt.Fprintf(&b, "  limited: %s\n", f.Limit)
		}
	}
	return b.String()
}
