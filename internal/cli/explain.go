package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"ingero/internal/query"
	"ingero/internal/store"
)

// explainOptions is the command line of explain.
type explainOptions struct {
	readOptions
	last       int
	chains     bool
	perProcess bool
	json       bool
}

func explainCommand(env *Env) *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain [flags]",
		Short: "Say what took a job's time, who did it and what to do",
		Long: `Say what took a job's time, who did it and what to do, from what 'ingero trace'
recorded: where the time of the threads that feed the device went, and findings
with cause, evidence and fix. A healthy job has no findings.

Without a window, it is the last five minutes, or the last session if that was
earlier. What is normal is learnt from up to ten minutes before it as well.`,
		Example: `  ingero explain --since 1h30m
  ingero explain --from 15:40 --to 15:45 --pid 4821
  ingero explain --per-process
  ingero explain --chains --since 2d
  ingero explain --json | jq '.chains[0].cause'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("last") && o.last <= 0 {
				return usagef("--last %d: give a number of events above 0", o.last)
			}
			return runExplain(cmd.Context(), env, o)
		},
	}
	f := cmd.Flags()
	o.flags(f)
	f.IntVar(&o.last, "last", 0, "the time of the newest N recorded events")
	f.BoolVar(&o.chains, "chains", false, "show the findings stored while it was recorded, without a new analysis")
	f.BoolVar(&o.perProcess, "per-process", false, "also exact totals and percentiles of each process")
	f.BoolVar(&o.json, "json", false, "print one JSON object")
	return cmd
}

func runExplain(ctx context.Context, env *Env, o explainOptions) error {
	f, err := o.filter(time.Now())
	if err != nil {
		return err
	}
	if o.last > 0 && f.To != 0 {
		return usagef("--last goes without --since, --from and --to")
	}
	if o.chains && o.perProcess {
		return usagef("--chains and --per-process exclude each other")
	}
	r, err := openDatabase(env, o.db)
	if err != nil {
		return err
	}
	why := ""
	switch {
	case o.last > 0:
		f.From, f.To, err = query.LastEvents(ctx, r, f, o.last)
		why = fmt.Sprintf("the newest %s", plural(o.last, "event", "events"))
	case f.To == 0:
		f.From, f.To, why, err = query.DefaultWindow(ctx, r, time.Now(), 5*time.Minute)
	}
	if err != nil {
		return err
	}
	e, err := explanation(ctx, r, f, o)
	if err != nil {
		return err
	}
	if o.json {
		return printJSON(env.Stdout, e)
	}
	if len(e.Processes)+len(e.Chains) == 0 && !o.chains {
		hint, err := whereDataIs(ctx, r)
		if err != nil {
			return err
		}
		e.Notes = append(e.Notes, hint)
	}
	return showExplanation(env, r.Path(), e, why, o)
}

func explanation(ctx context.Context, r *store.Reader, f store.Filter, o explainOptions) (*query.Explanation, error) {
	if o.chains {
		return query.StoredChains(ctx, r, f)
	}
	return query.Explain(ctx, r, query.ExplainParams{Filter: f, PerProcess: o.perProcess})
}
