package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ingero/internal/export"
	"ingero/internal/query"
	"ingero/internal/store"
)

// exportOptions is the command line of export.
type exportOptions struct {
	readOptions
	format, out, value string
}

func exportCommand(env *Env) *cobra.Command {
	var o exportOptions
	var formats []string
	for _, f := range export.Formats {
		formats = append(formats, fmt.Sprintf("  %-11s %-24s %s", f.Name, f.File, f.Doc))
	}
	cmd := &cobra.Command{
		Use:   "export [flags]",
		Short: "Write what was recorded for other tools: Perfetto, pprof, flame graphs, sqlite3",
		Long: `Write what was recorded for other tools. The formats, and where they go if -o
does not say:

` + strings.Join(formats, "\n") + `

Without a window, it is all that was recorded. A file appears under its name
when it is complete; a name that ends in .gz is compressed.`,
		Example: `  ingero export --format perfetto -o trace.pftrace         # open in ui.perfetto.dev
  ingero export --format perfetto -d cluster.db -o trace.json --since 5m
  ingero export --format pprof -o lost.pb.gz && go tool pprof -top lost.pb.gz
  ingero export --format folded -o - | flamegraph.pl > lost.svg
  ingero export --format sqlite --from 15:40 --to 15:45 -o events.db`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("value") && o.format != "folded" {
				return usagef("--value goes with --format folded; pprof and speedscope have all values")
			}
			return runExport(cmd.Context(), env, o)
		},
	}
	f := cmd.Flags()
	o.flags(f)
	f.StringVar(&o.format, "format", "perfetto", "perfetto, chrome, pprof, folded, speedscope or sqlite")
	f.StringVarP(&o.out, "output", "o", "", "file to write; - is standard output")
	f.StringVar(&o.value, "value", string(export.Lost), "of folded stacks: lost (time waited) or time (all of it)")
	return cmd
}

func runExport(ctx context.Context, env *Env, o exportOptions) error {
	format, opts, err := o.check(time.Now())
	if err != nil {
		return err
	}
	path, who, err := databasePath(env, o.db)
	if err != nil {
		return err
	}
	r, err := store.Open(path)
	if err != nil {
		return err
	}
	if err := window(ctx, r, opts); err != nil {
		return err
	}
	if o.out == "" {
		o.out = format.File
	}
	out, err := newOutputFile(env, o.out, path, who)
	if err != nil {
		return err
	}
	defer out.discard()
	if out.stream { // whoever should read may not: the second Ctrl+C ends us
		stop := context.AfterFunc(ctx, func() { signal.Reset() })
		defer stop()
	}
	show := newProgress(env.Stderr, opts.Begin, opts.End)
	opts.Progress = show.at
	result, err := writeExport(ctx, r, format, *opts, out)
	show.done()
	switch {
	case ctx.Err() != nil && out.stream:
		return fmt.Errorf("export to %s: interrupted", out.name)
	case ctx.Err() != nil:
		return fmt.Errorf("export to %s: interrupted; nothing was written", out.name)
	case errors.Is(err, syscall.EPIPE):
		return exitStatus(exitOK) // whoever read it has seen enough
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, store.ErrDiskFull):
		return fmt.Errorf("export to %s: the disk is full; give -o a path on another disk, a name that ends in .gz, or a shorter window with --since", out.name)
	case errors.Is(err, syscall.EFBIG):
		return fmt.Errorf("export to %s: the file would be larger than allowed (ulimit -f); give a name that ends in .gz, or a shorter window with --since", out.name)
	case err != nil:
		return fmt.Errorf("export to %s: %w", out.name, err)
	case result.Events == 0 && result.Chains == 0:
		return nothingIn(ctx, r, opts)
	}
	if err := out.finish(); err != nil {
		return fmt.Errorf("export to %s: %w", out.name, err)
	}
	return sayExported(env, result, out)
}

// check turns the command line into what to export.
func (o *exportOptions) check(now time.Time) (*export.Format, *export.Options, error) {
	format, err := export.Find(o.format)
	if err != nil {
		return nil, nil, usagef("--format: %w", err)
	}
	plain := strings.TrimSuffix(o.out, ".gz")
	if o.format == "perfetto" && strings.HasSuffix(plain, ".json") {
		if format, err = export.Find("chrome"); err != nil {
			return nil, nil, err
		}
	}
	if format.NeedsFile() && (o.out == "-" || plain != o.out) {
		return nil, nil, usagef("-o %s: %s is a file that is not written from begin to end; give the name of a file", o.out, format.Name)
	}
	value := export.Value(o.value)
	if !slices.Contains([]export.Value{export.Lost, export.Time}, value) {
		return nil, nil, usagef("--value %q: give lost or time", o.value)
	}
	filter, err := o.filter(now)
	if err != nil {
		return nil, nil, err
	}
	return format, &export.Options{Filter: filter, Value: value}, nil
}

// window finds the time that the filter comes to.
func window(ctx context.Context, r *store.Reader, o *export.Options) error {
	oldest, newest, err := r.Span(ctx)
	if err != nil {
		return err
	}
	if newest == 0 {
		return errors.New("export: nothing has been recorded yet; record with 'sudo ingero trace'")
	}
	o.Begin, o.End = oldest, newest+1
	if o.To == 0 { // all, whatever the clocks say
		return nil
	}
	o.Begin, o.End = max(o.From, oldest), min(o.To, newest+1)
	if o.Begin >= o.End {
		return nothingIn(ctx, r, o)
	}
	return nil
}

func nothingIn(ctx context.Context, r *store.Reader, o *export.Options) error {
	hint, err := whereDataIs(ctx, r)
	if err != nil {
		return err
	}
	what := "nothing to export"
	if o.To != 0 {
		what = fmt.Sprintf("nothing to export from %s to %s", localTime(time.Unix(0, o.From)), localTime(time.Unix(0, o.To)))
	}
	if o.PIDs != nil {
		what += fmt.Sprintf(" of PID %s", strings.Trim(strings.ReplaceAll(fmt.Sprint(o.PIDs), " ", ", "), "[]"))
	}
	return fmt.Errorf("%s. %s", what, hint)
}

func writeExport(ctx context.Context, r query.Streamed, format *export.Format, o export.Options, out *outputFile) (export.Result, error) {
	if format.NeedsFile() {
		path, err := out.path()
		if err != nil {
			return export.Result{}, err
		}
		return format.WriteFile(ctx, r, o, path)
	}
	w, err := out.writer(!format.Gzip)
	if err != nil {
		return export.Result{}, err
	}
	return format.Write(ctx, r, o, w)
}

func sayExported(env *Env, r export.Result, out *outputFile) error {
	var w io.Writer = env.Stdout
	text := fmt.Sprintf("  Exported %s + %s", plural(int(r.Events), "event", "events"), plural(r.Chains, "chain", "chains"))
	if out.stream {
		w = env.Stderr
	} else {
		info, err := os.Stat(out.name)
		if err != nil {
			return err
		}
		text += fmt.Sprintf(" → %s (%s)", out.name, shortBytes(uint64(info.Size())))
	}
	if r.Cut > 0 {
		text += fmt.Sprintf("\n  %s shortened to lie within others: clocks differ by a little", plural(int(r.Cut), "call was", "calls were"))
	}
	_, err := fmt.Fprintln(w, text)
	return err
}
