package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ingero/internal/check"
	"ingero/internal/query"
)

// questionCommand asks one question of the table.
func questionCommand(env *Env, q *query.Question) *cobra.Command {
	var db string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   q.Name,
		Short: strings.TrimSuffix(q.Doc, "."),
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
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
			if asJSON {
				return printJSON(env.Stdout, a)
			}
			return showAny(env.Stdout, a)
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
	return cmd
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
