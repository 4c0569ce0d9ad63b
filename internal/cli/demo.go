package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"ingero/internal/demo"
	"ingero/internal/event"
	"ingero/internal/pipeline"
	"ingero/test/workload"
)

func demoCommand(env *Env) *cobra.Command {
	var live bool
	var o traceOptions
	var replay replayOptions
	var noGPU bool
	var names []string
	for _, s := range demo.Scenarios {
		names = append(names, fmt.Sprintf("  %-18s %s", strings.Join(append([]string{s.Name}, s.Aliases...), ", "), s.Title))
	}
	cmd := &cobra.Command{
		Use:   "demo [scenario ...]",
		Short: "See it work without a GPU: scenarios, or a simulated CUDA job traced for real",
		Long: `See what it says of six scenarios, each what a job did second by second, told by
the same rules as always. Neither root nor a GPU is needed.

` + strings.Join(names, "\n") + `

--live starts a small training-like job on a simulated CUDA library that is
part of this program, sets real probes on it and shows what they see. It needs
root, like 'ingero trace', and no GPU.

Databases are written to a temporary directory and removed, unless --db says
where to keep one.`,
		Example: `  ingero demo
  ingero demo incident
  sudo ingero demo --live`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !live {
				for _, name := range []string{"verbose", "plain", "debug"} {
					if cmd.Flags().Changed(name) {
						return usagef("--%s goes with --live only", name)
					}
				}
				replay.duration, replay.db, replay.json = o.duration, o.db, o.json
				return runReplay(cmd.Context(), env, replay, args)
			}
			switch {
			case len(args) > 0:
				return usagef("--live has one scenario only: leave out %q", args[0])
			case noGPU:
				return usagef("--live and --no-gpu exclude each other; neither needs a GPU")
			case cmd.Flags().Changed("speed"):
				return usagef("--speed does not go with --live")
			case o.duration == "":
				o.duration = "10s"
			}
			o.stack, o.samples = true, true
			return runLiveDemo(cmd.Context(), env, o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&live, "live", false, "run the simulated job and trace it")
	f.BoolVar(&noGPU, "no-gpu", false, "scenarios from text (this is the default)")
	f.Float64Var(&replay.speed, "speed", 5, "seconds of a scenario to show in one; 0: all at once")
	f.StringVar(&o.duration, "duration", "", "stop after this time (--live: 10s)")
	f.StringVarP(&o.db, "db", "d", "", "keep the recording here")
	f.BoolVar(&o.json, "json", false, "print one JSON object for each scenario; with --live for each recorded call")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print one line for each recorded call")
	f.BoolVar(&o.plain, "plain", false, "no live screen: one line a second, and the tables at the end")
	f.BoolVar(&o.debug, "debug", false, "say on standard error what is attached, and why not")
	return cmd
}

// runLiveDemo unpacks the simulated job, starts it and traces it.
func runLiveDemo(ctx context.Context, env *Env, o traceOptions) (err error) {
	if err := workload.Supported(); err != nil {
		return err
	}
	d, err := optionalDuration("--duration", o.duration)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ingero-demo-")
	if err != nil {
		return fmt.Errorf("unpack the demo: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // the job runs as the user who called sudo
		return fmt.Errorf("unpack the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := workload.Unpack(dir); err != nil {
		return fmt.Errorf("unpack the demo: %w", err)
	}
	if o.db == "" {
		o.db, o.scratch = filepath.Join(dir, "demo.db"), true
	}
	o.record, o.maxDB, o.node = true, "1g", "demo"
	var truth bytes.Buffer
	o.screen, o.commandOut = true, &truth
	o.command = []string{
		filepath.Join(dir, "workload"), "--steps", "0", "--duration-s", fmt.Sprint(d.Seconds()),
		"--launches", "40", "--kernel-ns", "80000", "--copy-bytes", "4194304", "--alloc-bytes", "1048576", "--gap-us", "500",
	}
	o.duration = ""
	counted := map[string]uint64{}
	o.atEnd = func(v pipeline.View) {
		for _, op := range v.Ops {
			counted[op.Op.Symbol()] = op.Hist.Count()
		}
	}
	if err := runTrace(ctx, env, o); err != nil || o.json || o.verbose {
		return err
	}
	return compare(env, truth.Bytes(), counted)
}

// compare holds what was traced against what the job itself counted.
func compare(env *Env, report []byte, counted map[string]uint64) error {
	var truth workload.Truth
	if err := json.Unmarshal(report, &truth); err != nil {
		return fmt.Errorf("read the job's own count: %w", err)
	}
	var calls, functions uint64
	for _, c := range event.Calls {
		symbol := c.ID.Symbol()
		if truth.Calls[symbol] != counted[symbol] {
			return fmt.Errorf("the job made %d calls of %s, %d were traced", truth.Calls[symbol], symbol, counted[symbol])
		}
		if n := counted[symbol]; n > 0 {
			calls, functions = calls+n, functions+1
		}
	}
	_, err := fmt.Fprintf(env.Stdout, "  The job counted its own calls: %s of %d functions, the same as traced.\n", thousands(calls), functions)
	return err
}
