package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"ingero/internal/demo"
)

// demoOptions is the command line of demo.
type demoOptions struct {
	traceOptions // of a job that is traced for real
	live         bool
	gpu          bool
	noGPU        bool
	replay       replayOptions
}

// conflict finds options that exclude each other.
func (o demoOptions) conflict(given func(flag string) bool) error {
	switch {
	case o.live && o.gpu:
		return usagef("--live and --gpu exclude each other: the device is simulated or real")
	case o.noGPU && o.gpu:
		return usagef("--gpu and --no-gpu exclude each other")
	case o.noGPU && o.live:
		return usagef("--live and --no-gpu exclude each other; neither needs a GPU")
	case (o.live || o.gpu) && given("speed"):
		return usagef("--speed does not go with --live or --gpu")
	}
	for _, flag := range []string{"verbose", "plain", "debug"} {
		if !o.live && !o.gpu && given(flag) {
			return usagef("--%s goes with --live and --gpu only", flag)
		}
	}
	return nil
}

func demoCommand(env *Env) *cobra.Command {
	var o demoOptions
	var names []string
	for _, s := range demo.Scenarios {
		line := fmt.Sprintf("  %-18s %s", s.Name, s.Title)
		if len(s.Aliases) > 0 {
			line += " (also: " + strings.Join(s.Aliases, ", ") + ")"
		}
		names = append(names, line)
	}
	cmd := &cobra.Command{
		Use:   "demo [scenario ...]",
		Short: "See it work, with or without a GPU: scenarios, or a job traced for real",
		Long: `See what it says of six scenarios, each what a job did second by second, told by
the same rules as always. Neither root nor a GPU is needed.

` + strings.Join(names, "\n") + `

--live starts a small training-like job on a simulated CUDA library that is
part of this program, sets real probes on it and shows what they see. With the
name of a scenario, its real cause happens to the job: busy processes on its
CPU, slow copies, a second job on the device. It needs root, like 'ingero
trace', and no GPU. --gpu does the same on the GPU of this machine: the job's
CUDA calls go to NVIDIA's driver.

Databases are written to a temporary directory and removed, unless --db says
where to keep one.`,
		Example: `  ingero demo
  ingero demo incident
  sudo ingero demo --live
  sudo ingero demo --live incident
  sudo ingero demo --gpu gpu-steal`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.conflict(cmd.Flags().Changed); err != nil {
				return err
			}
			if o.live || o.gpu {
				return runLive(cmd.Context(), env, o.traceOptions, args, o.gpu)
			}
			o.replay.duration, o.replay.db, o.replay.json = o.duration, o.db, o.json
			return runReplay(cmd.Context(), env, o.replay, args)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.live, "live", false, "run the simulated job and trace it")
	f.BoolVar(&o.gpu, "gpu", false, "run the job on the GPU of this machine and trace it")
	f.BoolVar(&o.noGPU, "no-gpu", false, "scenarios from text (this is the default)")
	f.Float64Var(&o.replay.speed, "speed", 5, "seconds of a scenario to show in one; 0: all at once")
	f.StringVar(&o.duration, "duration", "", "stop after this time (--live, --gpu: 10s, with a scenario 20s)")
	f.StringVarP(&o.db, "db", "d", "", "keep the recording here")
	f.BoolVar(&o.json, "json", false, "print one JSON object for each scenario; with --live and --gpu for each recorded call")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print one line for each recorded call")
	f.BoolVar(&o.plain, "plain", false, "no live screen: one line a second, and the tables at the end")
	f.BoolVar(&o.debug, "debug", false, "say on standard error what is attached, and why not")
	return cmd
}

// runLive runs the job, and lets the scenario that is named happen to it.
func runLive(ctx context.Context, env *Env, o traceOptions, args []string, gpu bool) error {
	name, lasts := "", "10s"
	switch len(args) {
	case 0:
	case 1:
		chosen, err := chooseScenarios(args)
		if err != nil {
			return err
		}
		name, lasts = chosen[0].Name, "20s"
	default:
		return usagef("--live and --gpu show one scenario: leave out %q", args[1])
	}
	o.duration = cmp.Or(o.duration, lasts)
	o.stack, o.samples = true, true
	_, err := runLiveDemo(ctx, env, o, name, gpu)
	return err
}
