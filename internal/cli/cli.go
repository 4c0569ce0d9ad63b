// Package cli is the command line: one file per command, each of which reads
// its options, asks one question and prints the answer.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Env is the world a command runs in; tests bring their own.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
}

// OSEnv is the environment of the process.
func OSEnv() *Env {
	return &Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}
}

// commands lists every command, in the order of the help text.
var commands = []func(*Env) *cobra.Command{
	checkCommand,
	traceCommand,
	explainCommand,
	queryCommand,
	dashboardCommand,
	mcpCommand,
	exportCommand,
	demoCommand,
	versionCommand,
}

// Exit statuses.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// usageError is a mistake in the command line: exit status 2.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitStatus ends the program with a status of its own and prints nothing.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// Main runs one command line and returns the exit status.
func Main(args []string, env *Env) int {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	root := rootCommand(env)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var usage usageError
	var status exitStatus
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &usage):
		fmt.Fprintf(env.Stderr, "ingero: %s\n", oneLine(err))
		return exitUsage
	}
	fmt.Fprintf(env.Stderr, "ingero: %s\n", oneLine(err))
	return exitError
}

func rootCommand(env *Env) *cobra.Command {
	root := &cobra.Command{
		Use:           "ingero",
		Short:         "Say why a GPU job is slow or stuck, without touching the job",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q; 'ingero --help' lists the commands", args[0])
			}
			return nil
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return noEmptyFlags(cmd) },
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Version:           versionText(),
	}
	root.SetVersionTemplate("ingero {{.Version}}\n")
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see '%s --help'", err, cmd.CommandPath())
	})
	for _, c := range commands {
		root.AddCommand(c(env))
	}
	return root
}

// noEmptyFlags refuses --pid "" and the like: an unset variable in a script
// must not come to mean "all".
func noEmptyFlags(cmd *cobra.Command) error {
	var err error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if text := f.Value.String(); err == nil && (text == "" || text == "[]") {
			err = usagef("--%s is empty; give it a value or leave it out", f.Name)
		}
	})
	return err
}

// noArgs refuses arguments that a command does not take.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unexpected argument %q; see '%s --help'", args[0], cmd.CommandPath())
	}
	return nil
}

func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
