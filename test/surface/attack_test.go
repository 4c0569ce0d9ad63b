package surface

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"ingero/internal/hostile"
)

// The command line refuses what HTTP and MCP refuse, in the same words, with
// status 1 and nothing on standard output. The database stays as it is.
func TestAttacks(t *testing.T) {
	db := record(t)
	before, err := ingero(t, "query", "sessions", "--json", "-d", db).Output()
	if err != nil {
		t.Fatal(err)
	}
	for want, all := range hostile.SQL {
		for _, sql := range all {
			args := []string{"query", "-d", db, sql}
			if want == hostile.Endless {
				args = append(args, "--timeout", "300ms")
			}
			out, err := ingero(t, args...).Output()
			var failed *exec.ExitError
			if !errors.As(err, &failed) || failed.ExitCode() != 1 || len(out) > 0 || !strings.Contains(string(failed.Stderr), want) {
				t.Errorf("%s: %v, %d bytes", sql, err, len(out))
			}
		}
	}
	for _, sql := range hostile.Huge {
		out, err := ingero(t, "query", "-d", db, sql).Output()
		if err != nil || !strings.Contains(string(out[max(len(out)-200, 0):]), "only the first") {
			t.Errorf("%s: %v, %d bytes", sql, err, len(out))
		}
	}
	after, err := ingero(t, "query", "sessions", "--json", "-d", db).Output()
	if err != nil || string(after) != string(before) {
		t.Errorf("%v: %s", err, after)
	}
}
