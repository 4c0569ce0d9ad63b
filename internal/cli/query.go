package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ingero/internal/event"
	"ingero/internal/query"
	"ingero/internal/store"
)

// queryOptions is the command line of query.
type queryOptions struct {
	readOptions
	ops        string
	limit      int
	perProcess bool
	byStack    bool
	json       bool
	timeout    string
	sql        string
}

// oneWord is what a question is called; SQL has more words.
var oneWord = regexp.MustCompile(`^[a-z][a-z-]*$`)

func queryCommand(env *Env) *cobra.Command {
	var o queryOptions
	cmd := &cobra.Command{
		Use:   "query [flags] [SQL]",
		Short: "Answer from what was recorded: totals, newest events, SQL, or a question by its name",
		Long: `Answer from what was recorded: exact totals and percentiles of every operation
and the newest events of a window of time, or a question in SQL. The commands
below are the same questions that the dashboard and AI assistants ask.

Without a window, it is the last hour, or the last session if that was
earlier. SQL is read-only; the table "events" holds the recorded events,
"call_stats" the exact counts of each second.`,
		Example: `  ingero query --since 1h30m
  ingero query --from 15:40 --to 15:45 --pid 4821,5032 --per-process
  ingero query --since 30m --op cudaMemcpy --json
  ingero query --by-stack --op cudaMalloc
  ingero query thieves --since 10m
  ingero query "SELECT node, source, count(*) FROM events GROUP BY node, source"`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("unexpected argument %q; put the SQL in quotes", args[1])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				for _, name := range []string{"since", "from", "to", "pid", "op", "limit", "per-process", "by-stack"} {
					if cmd.Flags().Changed(name) {
						return usagef("--%s does not go with SQL; use WHERE", name)
					}
				}
				if oneWord.MatchString(args[0]) {
					return usagef("no question %q: 'ingero query --help' lists them; anything else is SQL, such as \"SELECT * FROM events\"", args[0])
				}
				o.sql = args[0]
				return runSQL(cmd.Context(), env, o)
			}
			if cmd.Flags().Changed("timeout") {
				return usagef("--timeout goes with SQL only")
			}
			return runQuery(cmd.Context(), env, o)
		},
	}
	f := cmd.Flags()
	o.flags(f)
	f.StringVar(&o.ops, "op", "", "only these operations, such as cudaMemcpy (comma-separated)")
	f.IntVar(&o.limit, "limit", 20, "show at most this many events or stacks; 0 shows none")
	f.BoolVar(&o.perProcess, "per-process", false, "one row for each process and operation")
	f.BoolVar(&o.byStack, "by-stack", false, "add up recorded calls by the place in the code that made them")
	f.BoolVar(&o.json, "json", false, "print one JSON object")
	f.StringVar(&o.timeout, "timeout", "30s", "stop SQL after this time")
	for i := range query.Questions {
		cmd.AddCommand(questionCommand(env, &query.Questions[i]))
	}
	return cmd
}

func runQuery(ctx context.Context, env *Env, o queryOptions) error {
	filter, err := o.filter(time.Now())
	if err != nil {
		return err
	}
	r, err := openDatabase(env, o.db)
	if err != nil {
		return err
	}
	why := ""
	if filter.To == 0 {
		if filter.From, filter.To, why, err = query.DefaultWindow(ctx, r, time.Now(), time.Hour); err != nil {
			return err
		}
	}
	if o.byStack {
		return runByStack(ctx, env, r, filter, why, o)
	}
	a, err := query.Overview(ctx, r, query.OpsParams{Filter: filter, PerProcess: o.perProcess}, o.limit)
	if err != nil {
		return err
	}
	if o.json {
		return printJSON(env.Stdout, a)
	}
	hint := ""
	if len(a.Ops)+len(a.Events) == 0 {
		if hint, err = whereDataIs(ctx, r); err != nil {
			return err
		}
	}
	return showAnswer(env.Stdout, r, a, why, hint)
}

// filter checks the flags and turns them into a filter; To stays 0 if no
// window was given.
func (o queryOptions) filter(now time.Time) (f store.Filter, err error) {
	if f, err = o.readOptions.filter(now); err != nil {
		return f, err
	}
	if o.byStack && o.perProcess {
		return f, usagef("--by-stack and --per-process exclude each other")
	}
	if o.limit < 0 {
		return f, usagef("--limit %d: give a number that is not negative", o.limit)
	}
	if o.ops != "" {
		for name := range strings.SplitSeq(o.ops, ",") {
			found := event.FindOps(strings.TrimSpace(name))
			if len(found) == 0 {
				return f, usagef("--op %q: no such operation; 'ingero query \"SELECT name FROM ops\"' lists them", name)
			}
			f.Ops = append(f.Ops, found...)
		}
	}
	return f, nil
}

func openDatabase(env *Env, flag string) (*store.Reader, error) {
	path, _, err := databasePath(env, flag)
	if err != nil {
		return nil, err
	}
	return store.Open(path)
}

// whereDataIs tells an empty answer from an empty database.
func whereDataIs(ctx context.Context, r *store.Reader) (string, error) {
	oldest, newest, err := r.Span(ctx)
	if err != nil || newest == 0 {
		return "Nothing has been recorded yet.", err
	}
	return fmt.Sprintf("Nothing matches. The database covers %s to %s.", localTime(time.Unix(0, oldest)), localTime(time.Unix(0, newest))), nil
}

func localTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

func runSQL(ctx context.Context, env *Env, o queryOptions) error {
	timeout, err := query.ParseDuration(o.timeout)
	if err != nil || timeout == 0 {
		return usagef("--timeout %q: give a time such as 30s or 5m", o.timeout)
	}
	r, err := openDatabase(env, o.db)
	if err != nil {
		return err
	}
	t, err := query.SQL(ctx, r, o.sql, store.Limits{Timeout: timeout})
	if err != nil {
		return err
	}
	if o.json {
		return printJSON(env.Stdout, t)
	}
	return showTable(env.Stdout, t)
}

// showTable prints rows as text, aligned, with their number below.
func showTable(w io.Writer, t *query.Table) error {
	g := grid{heads: t.Columns}
	for _, row := range t.Rows {
		cells := make([]string, len(row))
		for i, v := range row {
			cells[i] = cellText(v)
		}
		g.rows = append(g.rows, cells)
	}
	text := g.String() + "\n  " + count(len(t.Rows), "row")
	if t.Truncated != "" {
		text += " (" + t.Truncated + ")"
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

// printJSON prints v on one line, with names like <module> as they are.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
