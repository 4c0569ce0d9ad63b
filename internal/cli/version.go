package cli

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Set by the linker in releases: -X ingero/internal/cli.version=v1.2.3.
var (
	version = "dev"
	commit  = ""
	built   = ""
)

// versionText is what version prints and what sessions in the store carry.
func versionText() string {
	b := built
	if b == "" {
		b = setting("vcs.time")
	}
	return fmt.Sprintf("%s (commit: %s, built: %s)", version, revision(), b)
}

// revision is the commit that this was built from, or "unknown".
func revision() string {
	if commit != "" {
		return commit
	}
	c := setting("vcs.revision")
	return c[:min(len(c), 7)]
}

// setting is what the Go toolchain noted when it built this, or "unknown".
func setting(key string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == key {
				return s.Value
			}
		}
	}
	return "unknown"
}

func versionCommand(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(env.Stdout, "ingero %s\n", versionText())
			return err
		},
	}
}
