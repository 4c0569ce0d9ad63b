package cli

import (
	"sync"

	"ingero/internal/event"
	"ingero/internal/pipeline"
	"ingero/internal/probe"
	"ingero/internal/query"
	"ingero/internal/symbol"
)

// stacks says which calls have their stacks taken.
func (p *tracePlan) stacks() probe.Stacks {
	switch {
	case !p.stack || p.emit == probe.EmitNone:
		return probe.StacksNone
	case !p.samples:
		return probe.StacksOfRare
	}
	return probe.StacksOfAll
}

// namer gives the addresses of stacks names.
type namer struct {
	t       *tracer
	symbols *symbol.Resolver
	meeting sync.Map // of event.ProcessID: a channel, closed when its maps are known
}

func (n *namer) name(raw event.RawStack) []event.Frame {
	if met, ok := n.meeting.LoadAndDelete(raw.ProcessID); ok {
		<-met.(chan struct{})
	}
	native := n.symbols.Resolve(int(raw.PID), n.start(raw), raw.IPs)
	return n.t.pythons.among(native, raw)
}

// meet looks up what the addresses of a process mean, while it lives. It does
// not wait: the next process may live as shortly.
func (n *namer) meet(raw event.RawStack) {
	done := make(chan struct{})
	n.meeting.Store(raw.ProcessID, done)
	go func() {
		defer close(done)
		if err := n.symbols.Process(int(raw.PID), n.start(raw)); err != nil {
			n.t.status.debugf("%v", err)
		}
	}()
}

func (n *namer) start(raw event.RawStack) int64 {
	start, err := n.t.fs.StartOf(raw.StartBoot)
	if err != nil {
		n.t.status.debugf("%v", err)
	}
	return start
}

// newStacks starts what turns addresses into names.
func newStacks(t *tracer) *pipeline.Stacks {
	n := &namer{t: t, symbols: symbol.New(symbol.Options{})}
	cfg := pipeline.StacksConfig{Read: t.pythons.read, Resolve: n.name, Meet: n.meet, Forget: t.probe.ForgetStack, Keep: t.plan.record}
	if t.plan.debug {
		cfg.Told = func(s *event.Stack) {
			for _, line := range query.StackLines(s) {
				t.status.debugf("%s", line)
			}
		}
	}
	return pipeline.NewStacks(cfg)
}

// lostStacks says how often a call's stack could not be told.
func (t *tracer) lostStacks() {
	n, err := t.probe.StacksLost()
	if err != nil {
		t.status.debugf("%v", err)
	}
	if n += t.stacks.Dropped(); n > 0 {
		t.gap("%s not taken: too many new ones at once", plural(int(n), "call stack", "call stacks"))
	}
}
