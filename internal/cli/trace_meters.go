package cli

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"ingero/internal/event"
	"ingero/internal/metric"
	"ingero/internal/otlp"
	"ingero/internal/prom"
	"ingero/internal/query"
	"ingero/internal/rule"
	"ingero/internal/serve"
)

// meterOptions say who is told what was measured while it is measured.
type meterOptions struct {
	prometheus string // address to answer scrapers on
	otlp       otlpOptions
}

func (o *meterOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.prometheus, "prometheus", "", "answer Prometheus at /metrics of this address: :9090 for this machine only, 0.0.0.0:9090 for all")
	o.otlp.flags(f)
}

// meters adds up what is measured and tells it. A nil one tells nobody and
// costs nothing.
type meters struct {
	collector *metric.Collector
	server    *serve.Server // nil without --prometheus
	otlp      *otlp.Config  // nil without --otlp

	end  context.CancelFunc
	done sync.WaitGroup
}

// openMeters takes the address and checks what can be before anything is
// traced. It is nil if nobody wants to be told.
func openMeters(env *Env, o meterOptions, st *status) (*meters, error) {
	push, err := o.otlp.parse(env, st)
	if err != nil || push == nil && o.prometheus == "" {
		return nil, err
	}
	m := &meters{otlp: push}
	if o.prometheus == "" {
		return m, nil
	}
	host, _, err := net.SplitHostPort(o.prometheus)
	if err != nil {
		return nil, usagef("--prometheus %q: give host:port or :port", o.prometheus)
	}
	// Scrapers speak plain HTTP, and come from elsewhere; that needs a word: an address.
	if m.server, err = serve.Listen(serve.Options{Addr: o.prometheus, NoTLS: true, Insecure: host != "", AnyHost: true}); err != nil {
		return nil, fmt.Errorf("--prometheus: %w", err)
	}
	st.say("metrics at %s/metrics: %s", m.server.URL(), whoIsAnswered(m.server, host))
	return m, nil
}

func whoIsAnswered(s *serve.Server, host string) string {
	switch {
	case !s.Local():
		return "everybody who can reach this address can read names of processes and what they did"
	case host == "":
		return "only this machine is answered; 0.0.0.0:PORT answers all"
	}
	return "only this machine is answered"
}

// start begins to add up and to answer.
func (m *meters) start(t *tracer) {
	if m == nil {
		return
	}
	m.collector = metric.NewCollector(metric.Options{
		Node: t.plan.node, Version: version, Commit: revision(), Kinds: rule.Kinds, Now: time.Now, Self: t.self,
	})
	until, end := context.WithCancel(context.Background())
	m.end = end
	source := metric.Source(m.collector)
	if m.otlp != nil {
		e := &exported{Collector: m.collector}
		e.to = otlp.New(m.otlp, version, e, t.status.say, t.status.debugf)
		source = e
		m.done.Go(func() { e.to.Run(until) })
	}
	if m.server != nil {
		m.done.Go(func() {
			if err := m.server.Serve(until, prom.Handler(source), nil); err != nil {
				t.status.say("metrics: %s", oneLine(err))
			}
		})
	}
}

// stop lets answers on their way finish, and pushes what is new.
func (m *meters) stop() {
	if m != nil && m.end != nil {
		m.end()
		m.done.Wait()
	}
}

// close gives the address up, if it was never served.
func (m *meters) close() {
	if m != nil && m.end == nil && m.server != nil {
		_ = m.server.Close()
	}
}

func (m *meters) system(s event.Snapshot) {
	if m != nil {
		m.collector.System(s)
	}
}

func (m *meters) dropped(events map[event.Op]uint64) {
	if m != nil {
		m.collector.Drop(events)
	}
}

func (m *meters) finding(c query.Chain) {
	if m == nil {
		return
	}
	f := metric.Finding{
		ID: c.ID, Kind: c.Cause.Kind, Severity: c.Severity, PID: c.PID, Comm: c.Comm, Summary: c.Cause.Summary, Op: c.Symptom.Op,
		Started: c.Started, Lost: time.Duration(c.Impact.Lost), Share: c.Impact.Share,
	}
	if c.Ended != nil {
		f.Ended = *c.Ended
	}
	if len(c.Cause.Culprits) > 0 {
		x := c.Cause.Culprits[0]
		f.Culprit, f.CulpritPID, f.Container = x.Comm, x.PID, x.Container
	}
	if len(c.Fixes) > 0 {
		f.Fix = c.Fixes[0].Text
		if c.Fixes[0].Command != "" {
			f.Fix += ": " + c.Fixes[0].Command
		}
	}
	m.collector.Finding(f)
}

// self is what the agent knows of itself, while it traces.
func (t *tracer) self() metric.Self {
	s := metric.Self{
		CallProbes: t.probe.Sites(), HostProbes: t.probe.HostSites(), Call: t.cost.Call, Stack: t.cost.Stack,
		Overhead: t.window.Overhead(t.cost.Call, t.cost.Stack), Database: -1, Memory: -1, Read: -1, Written: -1,
	}
	t.found.mu.Lock()
	s.Gaps = len(t.found.gaps)
	t.found.mu.Unlock()
	if t.recorder != nil {
		s.Database = fileSize(t.recorder.path) + fileSize(t.recorder.path+"-wal")
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err == nil {
		s.User, s.System = time.Duration(u.Utime.Nano()), time.Duration(u.Stime.Nano())
	}
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if f := bytes.Fields(b); len(f) > 1 {
			if pages, err := strconv.ParseInt(string(f[1]), 10, 64); err == nil {
				s.Memory = pages * int64(os.Getpagesize())
			}
		}
	}
	if b, err := os.ReadFile("/proc/self/io"); err == nil {
		s.Read, s.Written = ioBytes(b, "read_bytes:"), ioBytes(b, "write_bytes:")
	}
	return s
}

func fileSize(path string) int64 {
	if info, err := os.Stat(path); err == nil {
		return info.Size()
	}
	return 0
}

// ioBytes finds a line of /proc/PID/io; -1 if it is not there.
func ioBytes(text []byte, name string) int64 {
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
			if n, err := strconv.ParseInt(string(bytes.TrimSpace(rest)), 10, 64); err == nil {
				return n
			}
		}
	}
	return -1
}
