// Package export writes what was recorded in the formats of other tools:
// timelines for Perfetto and Chrome, profiles for pprof and flame graphs. It
// encodes the answers of package query and keeps little in memory.
package export

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"ingero/internal/query"
)

// Options say what to export.
type Options struct {
	query.Filter
	Begin, End int64 // unix ns: the time that the filter comes to in this recording
	Value      Value // of folded stacks
	// Progress is called now and then with the time, in unix ns, up to which
	// events are written, and their number; nil: not wanted.
	Progress func(at int64, events uint64)
}

// Result is what was written.
type Result struct {
	Events uint64 // recorded ones
	Chains int    // findings
	Cut    uint64 // calls that were shortened so that they lie within each other
}

// Format is a way to write a recording.
type Format struct {
	Name string
	Doc  string // one line
	File string // a name to write to when none is given
	// Gzip says that the format is compressed by itself, under any name.
	Gzip  bool
	write func(context.Context, query.Streamed, *Options, io.Writer) (Result, error)
	// copyTo writes a file that is not written from begin to end.
	copyTo func(ctx context.Context, s query.Streamed, o *Options, path string) (Result, error)
}

// Formats is the table of all formats.
var Formats = []Format{
	{"perfetto", "timeline for ui.perfetto.dev; -o NAME.json as chrome", "trace.pftrace", false, writePerfetto, nil},
	{"chrome", "the same as JSON, for speedscope and chrome://tracing", "trace.json", false, writeChrome, nil},
	{"pprof", "lost time by stack: go tool pprof, Pyroscope, Parca", "profile.pb.gz", true, writePprof, nil},
	{"folded", "lost time by stack: flamegraph.pl", "stacks.folded", false, writeFolded, nil},
	{"speedscope", "lost time by stack: speedscope.app", "profile.speedscope.json", false, writeSpeedscope, nil},
	{"sqlite", "database with plain rows, for any sqlite3", "events.db", false, nil, copySQLite},
}

// Find returns the format of a name.
func Find(name string) (*Format, error) {
	var known []string
	for i := range Formats {
		if Formats[i].Name == name {
			return &Formats[i], nil
		}
		known = append(known, Formats[i].Name)
	}
	return nil, fmt.Errorf("unknown format %q; there are %s", name, strings.Join(known, ", "))
}

// NeedsFile reports whether the format cannot be written to a stream.
func (f *Format) NeedsFile() bool { return f.copyTo != nil }

// WriteFile writes what o chooses of s to a file that is missing or empty. It is for formats that
// need one.
func (f *Format) WriteFile(ctx context.Context, s query.Streamed, o Options, path string) (Result, error) {
	return f.copyTo(ctx, s, &o, path)
}

func copySQLite(ctx context.Context, s query.Streamed, o *Options, path string) (Result, error) {
	progress := o.Progress
	if progress == nil {
		progress = func(int64, uint64) {}
	}
	events, chains, err := s.CopyRows(ctx, path, o.Filter, progress)
	return Result{Events: events, Chains: chains}, err
}

// Write writes what o chooses of s to w.
func (f *Format) Write(ctx context.Context, s query.Streamed, o Options, w io.Writer) (Result, error) {
	b := bufio.NewWriterSize(w, 256<<10)
	r, err := f.write(ctx, s, &o, b)
	if err == nil {
		err = b.Flush()
	}
	return r, err
}
