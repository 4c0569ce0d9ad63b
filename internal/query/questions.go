package query

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"ingero/internal/check"
	"ingero/internal/event"
	"ingero/internal/store"
)

// Data is what every question is asked of: a database.
type Data interface {
	Books
	Timed
	Asker
	// Chains returns the incidents that touch the window, the newest first.
	Chains(ctx context.Context, f store.Filter) ([]store.Chain, error)
	// Recording reports whether the data was recorded by an older ingero.
	Recording() bool
	// InUse reports whether an agent records into it now.
	InUse() (bool, error)
}

// Asked is all that an answer may depend on.
type Asked struct {
	Data    Data
	Now     time.Time
	Check   func(context.Context) check.Report // looks at the machine
	SQLTime time.Duration                      // how long a statement may run; 0: 30 s
}

// Question is a row of the table of everything that can be asked. Each surface
// offers all of them, under the same name, with the same parameters and answer.
type Question struct {
	Name string // as in 'ingero query NAME' and GET /api/v1/NAME
	Tool string // of MCP; empty where another tool serves
	Doc  string // one sentence

	params, answer reflect.Type
	ask            func(ctx context.Context, a *Asked, params any) (any, error)
}

func row[P, A any](name, tool, doc string, ask func(context.Context, *Asked, P) (A, error)) Question {
	return Question{name, tool, doc, reflect.TypeFor[P](), reflect.TypeFor[A](), func(ctx context.Context, a *Asked, params any) (any, error) {
		return ask(ctx, a, *params.(*P))
	}}
}

// Questions is the table.
var Questions = []Question{
	row("check", "get_check", "Is this machine ready to trace: kernel, privileges, NVIDIA driver, CUDA libraries, processes.", askCheck),
	row("overview", "get_overview", "The state of things at a glance: how much was recorded, findings, the machine, GPUs and the worst finding.", askOverview),
	row("explain", "explain", "What took the time in the window: findings with cause, culprit, lost time and fixes, and where the time of each thread went.", askExplain),
	row("chains", "get_causal_chains", "The findings that were made while recording, the most harmful first.", askChains),
	row("ops", "get_trace_stats", "Exact counts and percentiles of every operation.", askOps),
	row("history", "get_history", "Exact counts and percentiles of every operation over time.", askHistory),
	row("events", "get_events", "The newest recorded events, or the slowest, in the order in which they began. They are a sample: totals are in ops.", askEvents),
	row("ledger", "get_ledger", "Where every nanosecond of the threads that feed the GPU went, in total and over time.", askLedger),
	row("thieves", "get_thieves", "Who cost the traced processes time: thieves of the CPU, rivals on a disk, and the threads that ended their waits.", askThieves),
	row("stacks", "get_stacks", "Recorded calls and gaps by the place in the code that made them.", askStacks),
	row("snapshots", "get_snapshots", "CPU, memory, swap, load and pressure of the machine over time, and what the driver says of the GPUs.", askSnapshots),
	row("graph-metrics", "graph_metrics", "CUDA graphs: rates of captures and launches, and how long instantiation takes.", askGraphMetrics),
	row("graph-events", "graph_events", "The newest calls of CUDA graphs, with handles and durations, the newest last.", askGraphEvents),
	row("graph-lifecycle", "graph_lifecycle", "Each CUDA graph of the processes: when it was captured, instantiated, launched and destroyed.", askGraphLifecycle),
	row("graph-frequency", "graph_frequency", "How often each CUDA graph is launched, which are hot, which are not used, and how full the pool is.", askGraphFrequency),
	row("sessions", "get_sessions", "The runs of the agent that are in the database, and what each could not see.", askSessions),
	row("capabilities", "get_capabilities", "What this tool measures and, for what it does not, which tool does.", askCapabilities),
	row("time", "get_time", "The clock of this machine.", askTime),
	row("sql", "run_sql", "One statement of SQL that reads. The table events holds the recorded events, call_stats exact counts by second; 'SELECT name, sql FROM sqlite_schema' lists all.", askSQL),
}

// Find returns a question by its name.
func Find(name string) (*Question, bool) {
	for i := range Questions {
		if Questions[i].Name == name {
			return &Questions[i], true
		}
	}
	return nil, false
}

// New returns a pointer to empty parameters.
func (q *Question) New() any { return reflect.New(q.params).Interface() }

// AnswerType is the type of answers.
func (q *Question) AnswerType() reflect.Type { return q.answer }

// Ask answers. Params come from New. A mistake in them is a ParamError.
func (q *Question) Ask(ctx context.Context, a *Asked, params any) (any, error) {
	return q.ask(ctx, a, params)
}

// Bare reports whether the question is about the machine, not about what was
// recorded: it can be asked without a database.
func (q *Question) Bare() bool { return q.Name == "check" || q.Name == "time" }

// ParamError is a mistake in the parameters of a question, which whoever
// asked can correct.
type ParamError struct{ err error }

func (e ParamError) Error() string { return e.err.Error() }
func (e ParamError) Unwrap() error { return e.err }

func paramf(format string, args ...any) error { return ParamError{fmt.Errorf(format, args...)} }

// Scope is the part of the data that a question is about.
type Scope struct {
	Since string `json:"since,omitempty" jsonschema:"the time up to now or to, such as 5m, 1h30m or 2d"`
	From  string `json:"from,omitempty" jsonschema:"begin, such as 15:40, 2006-01-02 15:40 or RFC 3339"`
	To    string `json:"to,omitempty" jsonschema:"end, written as from; left out: now"`
	PIDs  PIDs   `json:"pid,omitempty" jsonschema:"only these processes, comma-separated"`
}

// filter reads the scope. Without a window it is what DefaultWindow says.
func (a *Asked) filter(ctx context.Context, s Scope, ops OpNames, span time.Duration) (store.Filter, error) {
	f := store.Filter{PIDs: s.PIDs, Ops: []event.Op(ops)}
	var err error
	if f.From, f.To, err = ParseWindow(s.Since, s.From, s.To, a.Now); err != nil {
		return f, ParamError{err}
	}
	if f.To == 0 {
		f.From, f.To, _, err = DefaultWindow(ctx, a.Data, a.Now, span)
	}
	return f, err
}
