package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ingero/internal/check"
	"ingero/internal/query"
	"ingero/internal/serve"
	"ingero/internal/web"
)

// serveOptions are the flags of every command that listens.
type serveOptions struct {
	cert, key string
	noTLS     bool
	tokenFile string
	insecure  bool
	hosts     []string
}

func (o *serveOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.cert, "tls-cert", "", "certificate, a PEM file (default: one of our own, valid for 24 hours)")
	f.StringVar(&o.key, "tls-key", "", "its key, a PEM file")
	f.StringVar(&o.tokenFile, "token-file", "", "answer only who bears the token in this file (default $INGERO_TOKEN)")
	f.BoolVar(&o.insecure, "insecure", false, "answer others on the network without a token")
	f.StringSliceVar(&o.hosts, "allow-host", nil, "also answer to this name (comma-separated)")
}

// listen opens the address and says where it is.
func (o *serveOptions) listen(env *Env, addr, path string) (*serve.Server, error) {
	token, err := serve.Token(o.tokenFile, env.Getenv)
	if err != nil {
		return nil, usagef("%w", err)
	}
	s, err := serve.Listen(serve.Options{
		Addr: addr, Cert: o.cert, Key: o.key, NoTLS: o.noTLS, Token: token, Insecure: o.insecure, Hosts: o.hosts,
	})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(env.Stderr, "listening on %s%s\n", s.URL(), path)
	if s.Note != "" {
		fmt.Fprintf(env.Stderr, "%s: --token-file FILE, or --insecure\n", s.Note)
	}
	if s.Fingerprint != "" {
		fmt.Fprintf(env.Stderr, "SHA-256 fingerprint of the certificate: %s\n", s.Fingerprint)
	}
	return s, nil
}

func dashboardCommand(env *Env) *cobra.Command {
	var o serveOptions
	var addr, db string
	cmd := &cobra.Command{
		Use:   "dashboard",
		Short: "Serve what was recorded to a browser, and as an HTTP API",
		Long: `Serve a dashboard that answers from what was recorded, also while it is being
recorded, and the same answers as JSON under /api/v1. Root is not needed.

From another machine, through ssh: ssh -L 8080:localhost:8080 user@gpu-vm, then
open https://localhost:8080.`,
		Example: `  ingero dashboard
  ingero dashboard --addr :9090 -d run.db
  ingero dashboard --addr :8080 --token-file /etc/ingero/token`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDashboard(cmd.Context(), env, o, addr, db) },
	}
	f := cmd.Flags()
	f.StringVar(&addr, "addr", ":8080", "host:port, or :port for all addresses if a token is set and this machine only if not")
	f.StringVarP(&db, "db", "d", "", "database to read (default $INGERO_DB, then ~/.ingero/ingero.db)")
	f.BoolVar(&o.noTLS, "no-tls", false, "plain HTTP, for trusted networks")
	o.flags(f)
	return cmd
}

func runDashboard(ctx context.Context, env *Env, o serveOptions, addr, db string) error {
	r, err := openDatabase(env, db)
	if err != nil {
		return err
	}
	s, err := o.listen(env, addr, "/")
	if err != nil {
		return err
	}
	look := func(ctx context.Context) check.Report { return runCheck(ctx, env, db) }
	return s.Serve(ctx, web.New(func() *query.Asked { return &query.Asked{Data: r, Now: time.Now(), Check: look} }), web.Open)
}
