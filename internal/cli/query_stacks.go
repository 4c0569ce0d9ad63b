package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"ingero/internal/query"
	"ingero/internal/store"
)

// runByStack says which places in the code the time of recorded calls went to.
func runByStack(ctx context.Context, env *Env, r *store.Reader, f store.Filter, why string, o queryOptions) error {
	a, err := query.ByStack(ctx, r, query.StacksParams{Filter: f, Limit: o.limit})
	if err != nil {
		return err
	}
	if o.json {
		return printJSON(env.Stdout, a)
	}
	hint := ""
	if len(a.Stacks) == 0 {
		if hint, err = whereDataIs(ctx, r); err != nil {
			return err
		}
	}
	return showStacks(env.Stdout, r, a, why, hint)
}

func showStacks(w io.Writer, r *store.Reader, a *query.StacksAnswer, why, hint string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s to %s", r.Path(), localTime(a.Window.From), localTime(a.Window.To))
	if why != "" {
		fmt.Fprintf(&b, ": %s", why)
	}
	b.WriteString("\n\n")
	if hint != "" {
		b.WriteString(hint + "\n")
	}
	for _, s := range a.Stacks {
		fmt.Fprintf(&b, "%s in %s of %s, at most %s", shortTime(uint64(s.Total)), plural(int(s.Count), "recorded event", "recorded events"), s.Op, shortTime(uint64(s.Max)))
		if s.Runnable > 0 || s.Blocked > 0 {
			fmt.Fprintf(&b, "; %s waiting for a CPU, %s blocked", shortTime(uint64(s.Runnable)), shortTime(uint64(s.Blocked)))
		}
		if n := len(s.Processes); n > 1 {
			fmt.Fprintf(&b, "; %d processes", n)
		}
		b.WriteString("\n" + framesText(s.Stack))
	}
	if len(a.Stacks) > 0 {
		b.WriteString("  " + coverageText(a.Coverage) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// framesText is a stack on lines of its own, innermost first.
func framesText(stack []query.Frame) string {
	if len(stack) == 0 {
		return "    (no stack)\n"
	}
	var b strings.Builder
	for _, l := range query.StackText(stack) {
		b.WriteString("    " + printable(l) + "\n")
	}
	return b.String()
}
