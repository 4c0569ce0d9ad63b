package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/charmbracelet/x/ansi"

	"ingero/internal/demo"
	"ingero/internal/event"
	"ingero/internal/query"
	"ingero/internal/rule"
	"ingero/internal/scenario"
	"ingero/internal/stats"
	"ingero/internal/store"
	"ingero/internal/sysinfo"
)

// replayOptions is the command line of demo without real probes.
type replayOptions struct {
	speed    float64 // seconds of the scenario in one of ours; 0: at once
	duration string  // stop after this time
	db       string
	json     bool
	quiet    bool // print nothing
}

func scenarioNames() []string {
	var all []string
	for _, s := range demo.Scenarios {
		all = append(all, s.Name)
	}
	return all
}

// chooseScenarios finds those that were named, all if none was.
func chooseScenarios(names []string) ([]demo.Scenario, error) {
	if len(names) == 0 {
		return demo.Scenarios, nil
	}
	var chosen []demo.Scenario
	for _, name := range names {
		s, ok := demo.Find(name)
		if !ok {
			return nil, usagef("no scenario %q; there are %s", name, strings.Join(scenarioNames(), ", "))
		}
		chosen = append(chosen, s)
	}
	return chosen, nil
}

// runReplay shows scenarios one after another.
func runReplay(ctx context.Context, env *Env, o replayOptions, names []string) error {
	// Whoever stops reading (| head) ends the demo, which tidies up.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGPIPE)
	defer stop()
	chosen, err := chooseScenarios(names)
	if err != nil {
		return err
	}
	if !(o.speed >= 0) {
		return usagef("--speed %v: give a number from 0 on", o.speed)
	}
	if o.db != "" && len(chosen) > 1 {
		return usagef("--db keeps one scenario: name it")
	}
	d, err := optionalDuration("--duration", o.duration)
	if err != nil {
		return err
	}
	if d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	if !o.json {
		fmt.Fprintf(env.Stdout, "\n  GPU: %s\n  These are scenarios from text, without probes and without a GPU. What is said\n  of them comes from the same rules as always.\n", gpuName(ctx))
	}
	for _, s := range chosen {
		e, err := playScenario(ctx, env, s, o)
		if err != nil {
			return err
		}
		if err := showScenario(env, s, o, e); errors.Is(err, syscall.EPIPE) {
			return nil
		} else if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil // the time is up, or Ctrl+C: what was shown is explained
		}
	}
	if !o.json {
		fmt.Fprint(env.Stdout, "\n  It can happen for real, without a GPU: sudo ingero demo --live incident\n  On a machine with a GPU: sudo ingero trace\n")
	}
	return nil
}

func gpuName(ctx context.Context) string {
	m := sysinfo.Describe(ctx)
	if len(m.GPUs) == 0 {
		return "none found on this machine"
	}
	return fmt.Sprintf("%s, driver %s", m.GPUs[0].Model, m.Driver.Version)
}

// replay is a scenario on its way into a database.
type replay struct {
	env     *Env
	o       replayOptions
	s       *scenario.Scenario
	w       *store.Writer
	r       *store.Reader
	base    int64 // unix s of the scenario's second 0
	now     int64 // unix ns
	told    map[string]bool
	machine string // what was shown of it last
}

// playScenario writes a scenario to a database, shows it as it goes, and
// explains it.
func playScenario(ctx context.Context, env *Env, d demo.Scenario, o replayOptions) (e *query.Explanation, err error) {
	s, err := d.Read()
	if err != nil {
		return nil, err
	}
	path := o.db
	if path == "" {
		dir, err := os.MkdirTemp("", "ingero-demo-")
		if err != nil {
			return nil, fmt.Errorf("play the demo: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		path = filepath.Join(dir, d.Name+".db")
	}
	p := &replay{env: env, o: o, s: s, base: time.Now().Unix() - s.To, told: map[string]bool{}}
	p.now = p.base * 1e9
	p.w, err = store.Create(path, store.Options{
		Node: "demo", Now: func() time.Time { return time.Unix(0, p.now) },
		Session: store.Session{Version: versionText(), Flags: "demo " + d.Name, Rank: event.NoRank},
	})
	if err != nil {
		return nil, err
	}
	if p.r, err = store.Open(path); err != nil {
		return nil, errors.Join(err, p.w.Close())
	}
	if p.shows() {
		fmt.Fprintf(env.Stdout, "\n  %s: %s\n\n", d.Name, d.Title)
	}
	e, err = p.end(ctx, p.play(ctx))
	return e, errors.Join(err, p.w.Close())
}

// end explains what was played, and keeps what was found, as a trace does.
func (p *replay) end(ctx context.Context, err error) (*query.Explanation, error) {
	if err != nil {
		return nil, err
	}
	e, err := p.look(context.WithoutCancel(ctx)) // also when the time was up
	if err != nil {
		return nil, err
	}
	for _, c := range e.Chains {
		p.w.Chain(storedChain(c))
	}
	return e, nil
}

func (p *replay) shows() bool { return !p.o.json && !p.o.quiet }

// play writes and shows second by second.
func (p *replay) play(ctx context.Context) error {
	p.describe()
	tick := time.NewTimer(0)
	defer tick.Stop()
	any := false // there is something to explain
	for at := int64(0); at < p.s.To && (ctx.Err() == nil || !any); at++ {
		p.now = (p.base + at + 1) * 1e9
		shown := p.second(at)
		if err := p.w.Flush(); err != nil {
			return err
		}
		if !shown {
			continue // nothing happened yet
		}
		any = true
		if p.shows() {
			fmt.Fprint(p.env.Stdout, p.lines(at))
			if err := p.news(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		}
		if p.o.speed > 0 {
			tick.Reset(time.Duration(float64(time.Second) / p.o.speed))
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// describe stores what does not change: processes and stacks.
func (p *replay) describe() {
	for i := range p.s.Processes {
		q := &p.s.Processes[i]
		if len(q.Seconds) == 0 {
			continue
		}
		if q.Start == 0 {
			q.Start = -3600e9 // there for an hour
		}
		q.Start += p.base * 1e9
		p.w.Process(store.ProcessRow{Process: q.Process})
	}
	for _, s := range p.s.Stacks {
		p.w.Stack(s)
	}
}

// second stores one second; false: nothing happened in it.
func (p *replay) second(at int64) bool {
	any := false
	for i := range p.s.Processes {
		q := &p.s.Processes[i]
		for k := range q.Seconds {
			s := &q.Seconds[k]
			if s.At != at {
				continue
			}
			any = true
			for j := range s.Calls {
				s.Calls[j].Start = q.Start
			}
			for j := range s.Ledger {
				s.Ledger[j].Start = q.Start
				s.Ledger[j].Comm = q.Comm
			}
			p.w.Stats(p.base+at, s.Calls)
			p.w.Books(p.base+at, s.Ledger, s.Pairs)
		}
	}
	if any {
		p.w.Drained(p.base+at, 1e9)
	}
	for _, e := range p.s.Events {
		if e.Start/1e9 == at {
			e.Start += p.base * 1e9
			p.w.Append([]event.Event{e})
		}
	}
	for _, s := range p.s.Snapshots {
		if s.Time/1e9 == at {
			s.Time += p.base * 1e9
			p.w.Snapshot(s)
		}
	}
	for _, g := range p.s.GPU {
		if g.Time/1e9 == at {
			g.Time += p.base * 1e9
			p.w.GPU(g)
		}
	}
	return any
}

// lines show one second within 80 columns: how busy the machine was, if that has
// changed, and the job's calls.
func (p *replay) lines(at int64) string {
	col := p.paint()
	begin := "  " + time.Unix(p.base+at, 0).Local().Format("15:04:05")
	var b strings.Builder
	for _, s := range p.s.Snapshots {
		if s.Time/1e9 != at {
			continue
		}
		machine := fmt.Sprintf("  CPU %s %3.0f%%  Mem %s %3.0f%%  Load %4.1f  Swap %d MB", bar(s.CPU, 10, col), s.CPU, bar(s.Mem, 10, col), s.Mem, s.Load, s.Swap)
		if machine != p.machine {
			p.machine = machine
			b.WriteString(begin + machine + "\n")
		}
	}
	for i := range p.s.Processes {
		for k := range p.s.Processes[i].Seconds {
			if s := &p.s.Processes[i].Seconds[k]; s.At == at {
				b.WriteString(begin + "  " + p.s.Processes[i].Comm + " " + did(s) + "\n")
			}
		}
	}
	return b.String()
}

// did is what a process did in a second: its launches, and its slowest call.
func did(s *stats.Second) string {
	var launches, most uint64
	slowest := ""
	for i := range s.Calls {
		c := &s.Calls[i]
		if c.Op.Class() == event.Launch {
			launches += c.Hist.Count() - c.Nested
		}
		if c.Op.IsCall() && c.Hist.Max() > most {
			most, slowest = c.Hist.Max(), c.Op.String()
		}
	}
	return fmt.Sprintf("%s launches, slowest call %s %s", thousands(launches), slowest, shortTime(most))
}

// news tells findings as they are made.
func (p *replay) news(ctx context.Context) error {
	e, err := p.look(ctx)
	if err != nil {
		return err
	}
	for i := range e.Chains {
		c := &e.Chains[i]
		if key := c.Severity + c.Cause.Kind + fmt.Sprint(c.PID, c.Started); !p.told[key] && c.Severity != string(rule.Low) {
			p.told[key] = true
			text := fmt.Sprintf("⚠ %s %s: %s", c.Severity, c.Cause.Kind, printable(c.Cause.Summary))
			fmt.Fprintf(p.env.Stdout, "  %s\n", strings.ReplaceAll(ansi.Wordwrap(text, 76, ""), "\n", "\n    "))
		}
	}
	return nil
}

func (p *replay) look(ctx context.Context) (*query.Explanation, error) {
	return query.Explain(ctx, p.r, query.ExplainParams{Filter: store.Filter{From: p.base * 1e9, To: p.now}})
}

// showScenario prints what was said of it.
func showScenario(env *Env, d demo.Scenario, o replayOptions, e *query.Explanation) error {
	if o.json {
		return printJSON(env.Stdout, struct {
			Scenario    string             `json:"scenario"`
			Title       string             `json:"title"`
			Explanation *query.Explanation `json:"explanation"`
		}{d.Name, d.Title, e})
	}
	fmt.Fprintln(env.Stdout)
	name := d.Name
	if o.db != "" {
		name = o.db
	}
	return showExplanation(env, name, e, "", explainOptions{})
}

func (p *replay) paint() paint {
	if isTerminal(p.env.Stdout) && colours(p.env) {
		return sgr
	}
	return plain
}
