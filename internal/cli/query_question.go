package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ingero/internal/check"
	"ingero/internal/query"
	"ingero/internal/rows"
)

// questionCommand asks one question of the table.
func questionCommand(env *Env, q *query.Question) *cobra.Command {
	var db string
	var asJSON bool
	var format, file string
	cmd := &cobra.Command{
		Use:   q.Name,
		Short: strings.TrimSuffix(q.Doc, "."),
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				if cmd.Flags().Changed("format") {
					return usagef("--json and --format exclude each other")
				}
				format = "json"
			}
			write := formats[format]
			if write == nil {
				return usagef("--format %s: there are text, json, csv and parquet", format)
			}
			params := q.New()
			for _, p := range q.Params() {
				f := cmd.Flags().Lookup(flagOf(p.Name))
				if !f.Changed {
					continue
				}
				if err := q.Set(params, p.Name, f.Value.String()); err != nil {
					return usagef("--%w", err)
				}
			}
			a, err := ask(cmd.Context(), env, q, params, db)
			if err != nil {
				return err
			}
			return writeAnswer(env, db, a, file, write)
		},
	}
	f := cmd.Flags()
	for _, p := range q.Params() {
		name, short := flagOf(p.Name), ""
		if name == "pid" {
			short = "p"
		}
		if p.Bool {
			f.BoolP(name, short, false, p.Doc)
		} else {
			f.StringP(name, short, "", p.Doc)
		}
	}
	f.StringVarP(&db, "db", "d", "", "database to read (default $INGERO_DB, then ~/.ingero/ingero.db)")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	f.StringVar(&format, "format", "text", "text, json, csv or parquet; the last two are the answer's rows, for notebooks")
	f.StringVarP(&file, "output", "o", "", "write to this file, which appears when it is whole")
	return cmd
}

// formats are the forms of an answer.
var formats = map[string]func(io.Writer, any) error{
	"text": showAny,
	"json": printJSON,
	"csv":  func(w io.Writer, a any) error { return writeRows(w, a, rows.CSV) },
	"parquet": func(w io.Writer, a any) error {
		if isTerminal(w) {
			return usagef("--format parquet is not for a terminal; give a file with -o")
		}
		return writeRows(w, a, rows.Parquet)
	},
}

// writeAnswer writes to standard output, or to a file that appears when it is
// whole.
func writeAnswer(env *Env, db string, a any, file string, write func(io.Writer, any) error) error {
	if file == "" {
		return write(env.Stdout, a)
	}
	path, who, err := databasePath(env, db)
	if err != nil {
		return err
	}
	out, err := newOutputFile(env, file, path, who)
	if err != nil {
		return err
	}
	defer out.discard()
	w, err := out.writer(true)
	if err == nil {
		err = write(w, a)
	}
	if err == nil {
		err = out.finish()
	}
	if err != nil {
		return fmt.Errorf("write the answer to %s: %w", file, err)
	}
	return nil
}

func writeRows(w io.Writer, answer any, write func(io.Writer, *query.Rows) error) error {
	r, err := query.RowsOf(answer)
	if err != nil {
		return err
	}
	return write(w, r)
}

func flagOf(param string) string { return strings.ReplaceAll(param, "_", "-") }

// ask opens the database and asks.
func ask(ctx context.Context, env *Env, q *query.Question, params any, db string) (any, error) {
	a, err := newAsked(env, db)
	if err != nil && !q.Bare() {
		return nil, err
	}
	answer, err := q.Ask(ctx, a, params)
	if _, wrong := err.(query.ParamError); wrong {
		return nil, usagef("%w", err)
	}
	return answer, err
}

// newAsked is what questions are asked of, also if there is no database.
func newAsked(env *Env, db string) (*query.Asked, error) {
	a := &query.Asked{Now: time.Now(), Check: func(ctx context.Context) check.Report { return runCheck(ctx, env, db) }}
	r, err := openDatabase(env, db)
	if err == nil {
		a.Data = r
	}
	return a, err
}
