package cli

import (
	"time"

	"github.com/spf13/pflag"

	"ingero/internal/query"
	"ingero/internal/store"
)

// readOptions are the flags of every command that reads a recording.
type readOptions struct{ db, since, from, to, pids string }

func (o *readOptions) flags(f *pflag.FlagSet) {
	f.StringVarP(&o.db, "db", "d", "", "database to read (default $INGERO_DB, then ~/.ingero/ingero.db)")
	f.StringVar(&o.since, "since", "", "the time up to now or --to, such as 1h30m, 2d or 1w")
	f.StringVar(&o.from, "from", "", `begin, such as "15:40", "2006-01-02 15:40" or RFC 3339`)
	f.StringVar(&o.to, "to", "", "end, as --from (default: now)")
	f.StringVarP(&o.pids, "pid", "p", "", "only these processes (comma-separated)")
}

// filter checks the flags and turns them into a filter; To stays 0 if no
// window was given.
func (o *readOptions) filter(now time.Time) (f store.Filter, err error) {
	if f.From, f.To, err = query.ParseWindow(o.since, o.from, o.to, now); err != nil {
		return f, usagef("%w", err)
	}
	if f.PIDs, err = query.ParsePIDs(o.pids); err != nil {
		return f, usagef("--pid: %w", err)
	}
	return f, nil
}
