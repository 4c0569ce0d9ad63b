package export

import (
	"encoding/csv"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Perfetto's own reader finds nothing wrong with a timeline, in both its forms,
// and says of it what we say.
func TestTraceProcessor(t *testing.T) {
	program := os.Getenv("TRACE_PROCESSOR")
	if program == "" {
		t.Skip("needs trace_processor_shell of https://github.com/google/perfetto: TRACE_PROCESSOR=its path")
	}
	r := record(t)
	var want [][]string
	for _, row := range sqlRows(t, r, "SELECT o.name, CAST(count(*) AS TEXT) FROM events e JOIN ops o ON o.source_id = e.source AND o.op_id = e.op GROUP BY 1") {
		want = append(want, []string{strings.Replace(row[0].(string), "gap", "between calls", 1), row[1].(string)})
	}
	slices.SortFunc(want, slices.Compare)
	for _, format := range []string{"perfetto", "chrome"} {
		b, _ := exported(t, format, r, Options{})
		path := filepath.Join(t.TempDir(), "trace")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		ask := func(question string) [][]string {
			t.Helper()
			cmd := exec.CommandContext(t.Context(), program, "-Q", question, path)
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s: %s: %v", format, question, err)
			}
			rows, err := csv.NewReader(strings.NewReader(string(out))).ReadAll()
			if err != nil {
				t.Fatalf("%s: %v: %s", format, err, out)
			}
			return rows[min(1, len(rows)):] // below the names of the columns
		}
		for what, question := range map[string]string{
			"errors":                       "SELECT name, value FROM stats WHERE severity IN ('error', 'data_loss') AND value > 0",
			"slices that never end":        "SELECT name, ts FROM slice WHERE dur < 0 LIMIT 3",
			"slices outside of their own":  "SELECT s.name, s.ts FROM slice s JOIN slice p ON s.parent_id = p.id WHERE s.ts < p.ts OR s.ts + s.dur > p.ts + p.dur LIMIT 3",
			"slices that overlap":          "SELECT * FROM (SELECT name, ts, dur, lead(ts) OVER (PARTITION BY track_id, depth ORDER BY ts, id) AS next FROM slice WHERE dur > 0) WHERE next < ts + dur LIMIT 3",
			"arrows that point back":       "SELECT a.name, b.name FROM flow f JOIN slice a ON f.slice_out = a.id JOIN slice b ON f.slice_in = b.id WHERE b.ts < a.ts LIMIT 3",
			"holes between states":         "SELECT * FROM (SELECT track_id, ts + dur AS ends, lead(ts) OVER (PARTITION BY track_id ORDER BY ts) AS next FROM slice WHERE category = 'state') WHERE next != ends LIMIT 3",
			"processes without their name": "SELECT pid FROM process WHERE pid IN (100, 200) AND name NOT LIKE 'node-1 (rank %) python3'",
		} {
			if rows := ask(question); len(rows) > 0 {
				t.Errorf("%s: %s: %q", format, what, rows)
			}
		}
		got := ask("SELECT name, count(*) FROM slice WHERE category NOT IN ('state', 'place', 'wake', 'finding') GROUP BY 1 ORDER BY 1")
		if !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%s: it counts %q, want %q", format, got, want)
		}
		arrows := ask("SELECT count(*) FROM flow")
		if want := 2*testSeconds + 3*2; len(arrows) != 1 || arrows[0][0] != fmt.Sprint(want) {
			t.Errorf("%s: %q arrows, want %d", format, arrows, want)
		}
	}
}
