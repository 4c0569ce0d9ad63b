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
	c, b := commit, built
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && c == "" && len(s.Value) >= 7:
				c = s.Value[:7]
			case s.Key == "vcs.time" && b == "":
				b = s.Value
			}
		}
	}
	if c == "" {
		c = "unknown"
	}
	if b == "" {
		b = "unknown"
	}
	return fmt.Sprintf("%s (commit: %s, built: %s)", version, c, b)
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
