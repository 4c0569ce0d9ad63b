package surface

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/tiktoken-go/tokenizer"

	"ingero/internal/query"
)

// leastSaving is what the telegraphic form must save of the tokens of JSON, in
// all that an investigation may ask of a database.
const leastSaving = 0.6

// What the telegraphic form saves, counted with the vocabulary of a real
// tokenizer (o200k_base), on a database of ours and on recordings from GPUs.
// With -v it lists each tool; INGERO_TEST_DB adds a database.
func TestTokens(t *testing.T) {
	files, err := filepath.Glob("../../../shared/recordings/*.db")
	if err != nil {
		t.Fatal(err)
	}
	codec, err := tokenizer.Get(tokenizer.O200kBase)
	if err != nil {
		t.Fatal(err)
	}
	count := func(r *sdk.CallToolResult) (n int) {
		for _, c := range r.Content {
			k, err := codec.Count(c.(*sdk.TextContent).Text)
			if err != nil {
				t.Fatal(err)
			}
			n += k
		}
		return n
	}
	groups := map[string][]string{"own": {record(t)}}
	if given := os.Getenv("INGERO_TEST_DB"); given != "" {
		groups["given"] = []string{given}
	}
	if len(files) == 0 {
		t.Log("the recordings are not here: shared/recordings beside the checkout")
	} else {
		groups["recordings"] = files
	}
	for name, group := range groups {
		var short, long int
		for _, db := range group {
			c := connect(t, "", "mcp", "-d", db)
			for i := range query.Questions {
				q := &query.Questions[i]
				if q.Bare() {
					continue // not of what was recorded
				}
				args := map[string]any{}
				if q.Name == "sql" {
					args["sql"] = "SELECT op, count(*) AS n, avg(duration) AS avg_ns, max(duration) AS max_ns FROM events GROUP BY op"
				}
				var got [2]int
				for i, tsc := range []bool{true, false} {
					r, err := c.CallTool(t.Context(), &sdk.CallToolParams{Name: q.Tool, Arguments: with(args, "tsc", tsc)})
					if err != nil || r.IsError {
						t.Fatal(q.Tool, ": ", err, r)
					}
					got[i] = count(r)
				}
				short, long = short+got[0], long+got[1]
				t.Logf("%-36s %-20s %6d tokens of %6d: %3.0f %% saved", strings.TrimSuffix(filepath.Base(db), ".db"), q.Tool, got[0], got[1], 100*(1-float64(got[0])/float64(got[1])))
			}
		}
		saved := 1 - float64(short)/float64(long)
		t.Logf("%s: %d tokens of %d: %.1f %% saved", name, short, long, 100*saved)
		if saved < leastSaving {
			t.Errorf("%s: %.1f %% saved", name, 100*saved)
		}
	}
}
