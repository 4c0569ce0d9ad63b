package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"ingero/internal/check"
	"ingero/internal/store"
)

func checkCommand(env *Env) *cobra.Command {
	var asJSON bool
	var db string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say whether this machine is ready to trace, and what to do if not",
		Long: "Look at the kernel, the NVIDIA driver, the CUDA libraries and the processes that\n" +
			"use them. Nothing is changed, and root is not needed. The exit status is 1 when\n" +
			"something is missing that tracing cannot do without.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := runCheck(cmd.Context(), env, db)
			show := showCheck
			if asJSON {
				show = encodeCheck
			}
			if err := show(env.Stdout, r); err != nil {
				return err
			}
			if !r.OK {
				return exitStatus(exitError)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().StringVarP(&db, "db", "d", "", "database that trace would record into (default $INGERO_DB, then ~/.ingero/ingero.db)")
	return cmd
}

func runCheck(ctx context.Context, env *Env, db string) check.Report {
	path, _, err := databasePath(env, db)
	return check.Run(ctx, check.Options{DB: path, DBError: err, DBWrong: cannotRecord(path, db != "")})
}

// cannotRecord says why trace would refuse the database, without touching it.
func cannotRecord(path string, named bool) error {
	info, err := os.Stat(path)
	if err != nil {
		if _, err := os.Stat(filepath.Dir(path)); named && err != nil {
			return fmt.Errorf("the directory %s does not exist", filepath.Dir(path))
		}
		return nil // it will be made
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return nil // the check says the first, and the second is as good as new
	}
	r, err := store.Open(path)
	if err == nil && r.Recording() {
		return store.ErrOld
	}
	return err
}

func encodeCheck(w io.Writer, r check.Report) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// showCheck prints [✓] for what is there, [✗] for what is required and
// missing, and [!] for what some jobs need.
func showCheck(w io.Writer, r check.Report) error {
	var b strings.Builder
	b.WriteString("\nIngero  -  System Readiness Check\n\n")
	for _, c := range r.Checks {
		mark := "✓"
		if !c.OK {
			mark = "!"
			if c.Required {
				mark = "✗"
			}
		}
		fmt.Fprintf(&b, "  [%s] %s: %s\n", mark, c.Name, c.Value)
		for line := range strings.Lines(c.Detail) {
			fmt.Fprintf(&b, "      %s\n", strings.TrimRight(line, "\n"))
		}
		if c.Remedy != "" {
			fmt.Fprintf(&b, "      → %s\n", c.Remedy)
		}
	}
	fmt.Fprintf(&b, "\n%s\n", r.Summary)
	_, err := io.WriteString(w, b.String())
	return err
}
