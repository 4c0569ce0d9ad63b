package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"ingero/internal/event"
	"ingero/internal/pipeline"
	"ingero/internal/query"
)

// output is what trace prints while it runs and when it ends: one of JSON
// lines, text lines, the live screen, or a line a second.
type output struct {
	t      *tracer
	queue  *pipeline.Async // nil unless calls are printed one by one
	screen bool
	lines  *printer
}

func newOutput(t *tracer) *output {
	o := &output{t: t}
	switch {
	case t.plan.json || t.plan.verbose:
		o.lines = &printer{t: t, w: bufio.NewWriterSize(t.env.Stdout, 1<<16)}
		o.lines.enc = json.NewEncoder(o.lines.w)
		o.lines.enc.SetEscapeHTML(false)
		o.queue = pipeline.NewAsync(o.lines, queueEvents, func(err error) {
			if !errors.Is(err, syscall.EPIPE) {
				t.status.say("print: %v", err)
			}
			if t.command != nil && t.recorder != nil {
				t.status.say("standard output was closed; recording goes on until the command ends")
				return
			}
			t.stop() // nobody reads any more
		})
	case (t.command == nil || t.plan.screen) && !t.plan.plain && screenFits(t.env):
		o.screen = true
	}
	return o
}

// screenFits reports whether there is a terminal for the live screen, with a
// keyboard.
func screenFits(env *Env) bool {
	return isTerminal(env.Stdin) && isTerminal(env.Stdout) && env.Getenv("TERM") != "dumb"
}

// Take hands a batch on. It never blocks.
func (o *output) Take(b *pipeline.Batch) error {
	if o.queue != nil {
		return o.queue.Take(&pipeline.Batch{Events: b.Events, Last: b.Last})
	}
	if o.screen || (o.t.command != nil && o.t.plan.commandOut == nil) {
		return nil
	}
	o.summary(b)
	return nil
}

// summary prints one line about the second that has passed.
func (o *output) summary(b *pipeline.Batch) {
	var calls, launches uint64
	any := false
	for _, c := range b.Calls {
		if !c.Op.IsCall() {
			continue
		}
		any = true
		n := c.Hist.Count() - c.Nested
		calls += n
		if c.Op.Class() == event.Launch {
			launches += n
		}
	}
	if !any {
		return
	}
	v := o.t.window.View()
	text := fmt.Sprintf("%s  %s calls/s  %s launches/s  total %s calls, %s recorded, %s lost",
		time.Unix(b.Second, 0).Format("15:04:05"), thousands(calls), thousands(launches), thousands(v.Calls),
		thousands(v.Recorded), thousands(v.Lost))
	if n := countOngoing(o.t.analyst.findings()); n > 0 {
		text += ", " + plural(n, "finding", "findings") + " now"
	}
	if _, err := fmt.Fprintln(o.t.env.Stdout, text); err != nil {
		o.t.stop() // nobody reads any more
	}
}

func countOngoing(chains []query.Chain) int {
	n := 0
	for i := range chains {
		if chains[i].Ongoing {
			n++
		}
	}
	return n
}

// finish prints what is to be said at the end.
func (o *output) finish(ctx context.Context) {
	if o.queue != nil {
		o.drain(ctx)
		return
	}
	w := o.t.env.Stdout
	if o.t.command != nil && o.t.plan.commandOut == nil {
		w = o.t.env.Stderr // standard output belongs to the command
	}
	v := o.t.window.View()
	col := paint(plain)
	if o.screen && colours(o.t.env) {
		col = sgr
	}
	fmt.Fprintln(w, strings.Join(append(o.t.header(v), body(v, latest(o.t.analyst.findings(), time.Now()), sheet{col: col})...), "\n"))
	if r := o.t.recorder; r != nil && !o.t.plan.scratch {
		fmt.Fprintf(w, "  Recorded in %s; ask with 'ingero query -d %s'\n", r.path, r.path)
	}
}

// drain waits until all is printed; when told to stop, not for ever: whoever
// reads may have stopped reading.
func (o *output) drain(ctx context.Context) {
	printed, late := make(chan struct{}), make(chan struct{})
	go func() { o.queue.Close(); close(printed) }()
	defer context.AfterFunc(ctx, func() { time.Sleep(2 * time.Second); close(late) })()
	select {
	case <-printed:
		if n := o.lines.dropped; n > 0 {
			o.t.status.say("%s not printed: they came faster than they were read", plural(int(n), "call", "calls"))
		}
	case <-late:
		o.t.status.say("not all calls were printed: nobody reads them")
	}
}

// colours reports whether colours are wanted (https://no-color.org).
func colours(env *Env) bool { return env.Getenv("NO_COLOR") == "" && env.Getenv("TERM") != "dumb" }

// show runs the live screen until ctx ends or the user quits.
func (o *output) show(ctx context.Context, quit func()) {
	if !o.screen {
		return
	}
	o.t.status.hold()
	defer o.t.status.release()
	if err := runScreen(ctx, o.t); err != nil && ctx.Err() == nil {
		o.t.status.say("live screen: %v", err)
	}
	quit()
}

// printer writes one line for each recorded event.
type printer struct {
	t   *tracer
	w   *bufio.Writer
	enc *json.Encoder

	dropped uint64 // events that the queue had no room for
}

// Take writes the events of a batch.
func (p *printer) Take(b *pipeline.Batch) error {
	for _, n := range b.Dropped {
		p.dropped += n
	}
	for i := range b.Events {
		if err := p.print(&b.Events[i]); err != nil {
			return err
		}
	}
	return p.w.Flush()
}

func (p *printer) print(e *event.Event) error {
	if p.t.plan.json {
		return p.enc.Encode(query.EncodeEvent(*e, p.t.plan.node, p.t.stacks.Frames(e.Stack)))
	}
	return printEvent(p.w, e)
}

// printEvent writes an event for people.
func printEvent(w io.Writer, e *event.Event) error {
	detail := ""
	if e.Bytes > 0 {
		detail += "  " + shortBytes(e.Bytes)
	}
	if e.Op.Class() == event.Copy && e.Dir < event.Unspecified {
		detail += "  " + [...]string{"host to host", "host to device", "device to host", "device to device"}[e.Dir]
	}
	if e.Ret != 0 {
		detail += fmt.Sprintf("  returned %d", e.Ret)
	}
	_, err := fmt.Fprintf(w, "%s  %-16s %7d/%-7d %s%-24s %10s%s\n", time.Unix(0, e.Start).Format("15:04:05.000000"),
		printable(e.Comm), e.PID, e.TID, strings.Repeat("  ", int(e.Depth)), e.Op, shortTime(uint64(e.Dur)), detail)
	return err
}

// hasTraceCapabilities reports whether a user without root may trace:
// CAP_BPF, CAP_PERFMON and, to see other processes' files, CAP_SYS_ADMIN.
func hasTraceCapabilities() bool {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	var caps uint64
	for line := range strings.SplitSeq(string(text), "\n") {
		if v, ok := strings.CutPrefix(line, "CapEff:"); ok {
			if _, err := fmt.Sscanf(strings.TrimSpace(v), "%x", &caps); err != nil {
				return false
			}
		}
	}
	const bpf, perfmon, admin = 1 << 39, 1 << 38, 1 << 21
	return caps&admin != 0 || caps&(bpf|perfmon) == bpf|perfmon
}
