package cli

import (
	"ingero/internal/event"
	"ingero/internal/pipeline"
	"ingero/internal/probe"
	"ingero/internal/query"
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

// newStacks starts what turns addresses into names.
func newStacks(t *tracer) *pipeline.Stacks {
	cfg := pipeline.StacksConfig{Resolve: t.pythons.resolve, Forget: t.probe.ForgetStack, Keep: t.plan.record}
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
