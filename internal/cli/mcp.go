package cli

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"ingero/internal/check"
	"ingero/internal/mcp"
	"ingero/internal/query"
	"ingero/internal/store"
)

// mcpOptions are the flags of mcp.
type mcpOptions struct {
	serveOptions
	http, db   string
	structured string
	nodes      []string
}

func mcpCommand(env *Env) *cobra.Command {
	var o mcpOptions
	cmd := &cobra.Command{
		Use:   "mcp",
		Short: "Let an AI assistant ask, by the Model Context Protocol",
		Long: `Offer every question to AI assistants as tools of the Model Context Protocol, and
the prompt /investigate. On standard input and output, for one client that starts
this command, or with --http on an address, at /mcp, over TLS 1.3. Root is not
needed. Answers are in telegraphic form, unless a call says {"tsc": false}.`,
		Example: `  claude mcp add ingero -- ingero mcp
  ingero mcp -d run.db
  ingero mcp --http :8080
  ingero mcp --nodes gpu-1:8080,gpu-2:8080`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.http == "" {
				for _, name := range []string{"tls-cert", "tls-key", "token-file", "insecure", "allow-host"} {
					if cmd.Flags().Changed(name) {
						return usagef("--%s goes with --http only", name)
					}
				}
			}
			return runMCP(cmd.Context(), env, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.http, "http", "", "listen on host:port, or on :port for all addresses if a token is set and this machine only if not")
	f.StringVarP(&o.db, "db", "d", "", "database to read (default $INGERO_DB, then ~/.ingero/ingero.db)")
	f.StringVar(&o.structured, "structured", string(mcp.Auto), "structured content beside the text: on, off, or auto: on, but for clients that drop the text for it")
	f.StringSliceVar(&o.nodes, "nodes", nil, "dashboards that query_fleet asks, host:port (comma-separated; default $INGERO_NODES)")
	o.flags(f)
	return cmd
}

func runMCP(ctx context.Context, env *Env, o mcpOptions) error {
	switch mcp.Structured(o.structured) {
	case mcp.Auto, mcp.Always, mcp.Never:
	default:
		return usagef("--structured %q: on, off or auto", o.structured)
	}
	tools, err := mcpTools(env, o)
	if err != nil {
		return err
	}
	d := &database{env: env, flag: o.db}
	options := mcp.Options{Asked: d.asked, Version: version, Tools: tools, Structured: mcp.Structured(o.structured), Log: env.Stderr}
	if o.http == "" {
		return mcp.Stdio(ctx, options, env.Stdin, env.Stdout)
	}
	s, err := o.listen(env, o.http, mcp.Path)
	if err != nil {
		return err
	}
	return s.Serve(ctx, mcp.Handler(options), nil)
}

// database is opened when the first question needs it, and again as long as
// that fails: an assistant may start us before anything was recorded.
type database struct {
	env  *Env
	flag string

	mu sync.Mutex
	r  *store.Reader
}

// asked is what questions are asked of; why there is no database, if so.
func (d *database) asked() (*query.Asked, error) {
	look := func(ctx context.Context) check.Report { return runCheck(ctx, d.env, d.flag) }
	a := &query.Asked{Now: time.Now(), Check: look}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.r == nil {
		r, err := openDatabase(d.env, d.flag)
		if err != nil {
			return a, errors.Join(err, errNothing)
		}
		d.r = r
	}
	a.Data = d.r
	return a, nil
}

var errNothing = errors.New("record something with 'sudo ingero trace', or start this server with --db PATH; get_check says whether this machine is ready")
