package rule

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"ingero/internal/event"
	"ingero/internal/stats"
)

var update = flag.Bool("update", false, "rewrite the findings in testdata")

// Each testdata file is named after a rule and holds cases in pairs:
// "NAME seconds" and "NAME findings". A line of seconds is one of
//
//	second 10 [to 20]
//	ledger TID PLACE STATE TIME [STATE TIME ...]
//	thief PID COMM TIME in COUNT
//
// and speaks of the second, or all the seconds, named last. PLACE is a call
// or "between".
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
				p, err := parse(string(a.Files[i].Data))
				if err != nil {
					t.Fatal(err)
				}
				got := show(Find(p))
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
	for _, r := range rules {
		if tested[r.kind+" fires"] == 0 || tested[r.kind+" is silent"] == 0 {
			t.Errorf("%s needs a case in which it fires and one in which it is silent", r.kind)
		}
	}
}

func parse(text string) (Process, error) {
	p := Process{Process: event.Process{PID: 1, Comm: "python3"}}
	var current []int
	for line := range strings.Lines(text) {
		w := strings.Fields(line)
		if len(w) == 0 || w[0] == "#" {
			continue
		}
		if w[0] == "second" {
			first, err := strconv.ParseInt(w[1], 10, 64)
			if err != nil {
				return p, err
			}
			last := first
			if len(w) == 4 {
				if last, err = strconv.ParseInt(w[3], 10, 64); err != nil {
					return p, err
				}
			}
			current = nil
			for at := first; at <= last; at++ {
				current = append(current, len(p.Seconds))
				p.Seconds = append(p.Seconds, Second{At: at})
			}
			continue
		}
		for _, i := range current {
			if err := parseLine(&p.Seconds[i], w); err != nil {
				return p, fmt.Errorf("%q: %w", line, err)
			}
		}
	}
	return p, nil
}

func parseLine(s *Second, w []string) error {
	number := func(text string) uint32 {
		n, _ := strconv.ParseUint(text, 10, 32)
		return uint32(n)
	}
	switch w[0] {
	case "ledger":
		l := stats.Ledger{PID: 1, TID: number(w[1])}
		if w[2] != "between" {
			ops := event.FindOps(w[2])
			if len(ops) == 0 {
				return fmt.Errorf("no operation %s", w[2])
			}
			l.Place = ops[0]
		}
		for i := 3; i+1 < len(w); i += 2 {
			d, err := time.ParseDuration(w[i+1])
			if err != nil {
				return err
			}
			state := event.State(0)
			for state.String() != w[i] {
				if state++; state == event.States {
					return fmt.Errorf("no state %s", w[i])
				}
			}
			l.NS[state] = uint64(d)
		}
		s.Ledger = append(s.Ledger, l)
	case "thief":
		d, err := time.ParseDuration(w[3])
		if err != nil {
			return err
		}
		s.Pairs = append(s.Pairs, stats.Pair{
			PID: 1, State: event.Runnable, OtherPID: number(w[1]), OtherComm: w[2], NS: uint64(d), Count: uint64(number(w[5])),
		})
	default:
		return fmt.Errorf("not understood")
	}
	return nil
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
			fmt.Fprintf(&b, "  %s (%d) %s %.0f%%\n", c.Comm, c.PID, time.Duration(c.NS), 100*c.Share)
		}
		for _, x := range f.Fixes {
			fmt.Fprintf(&b, "  fix: %s: %s\n", x.Text, x.Command)
		}
	}
	return b.String()
}
