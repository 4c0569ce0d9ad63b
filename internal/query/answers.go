package query

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"ingero/internal/check"
	"ingero/internal/store"
)

// hour and recent are the windows of questions that are not told one.
const (
	hour   = time.Hour
	recent = 5 * time.Minute
)

// most is how many rows any answer has.
const most = 10_000

type noParams struct{}

func askCheck(ctx context.Context, a *Asked, _ noParams) (check.Report, error) {
	return a.Check(ctx), nil
}

// TimeAnswer is the clock of the machine that answers.
type TimeAnswer struct {
	Time time.Time `json:"time"`
	Unix int64     `json:"unix_ns"`
}

func askTime(_ context.Context, a *Asked, _ noParams) (TimeAnswer, error) {
	return TimeAnswer{a.Now.UTC(), a.Now.UnixNano()}, nil
}

type explainParams struct {
	Scope
	PerProcess bool `json:"per_process,omitempty" jsonschema:"also exact percentiles of every operation of each process"`
}

func askExplain(ctx context.Context, a *Asked, p explainParams) (*Explanation, error) {
	f, err := a.filter(ctx, p.Scope, nil, recent)
	if err != nil {
		return nil, err
	}
	return Explain(ctx, a.Data, ExplainParams{f, p.PerProcess})
}

type chainsParams struct {
	Scope
	Distinct bool `json:"distinct,omitempty" jsonschema:"of findings with the same cause, process and operation only the most harmful"`
	Limit    int  `json:"limit,omitempty" jsonschema:"at most so many (100)"`
	Offset   int  `json:"offset,omitempty" jsonschema:"leave out so many of the first"`
}

func askChains(ctx context.Context, a *Asked, p chainsParams) (*Explanation, error) {
	f, err := a.filter(ctx, p.Scope, nil, hour)
	if err != nil {
		return nil, err
	}
	e, err := StoredChains(ctx, a.Data, f)
	if err != nil {
		return nil, err
	}
	if p.Distinct {
		e.Chains = distinct(e.Chains)
	}
	e.Chains, e.Rest = page(e.Chains, p.Offset, limit(p.Limit, 100, most))
	return e, nil
}

type opsParams struct {
	Scope
	Ops        OpNames `json:"op,omitempty" jsonschema:"only these operations, such as cudaMemcpy, comma-separated"`
	PerProcess bool    `json:"per_process,omitempty" jsonschema:"one row for each process and operation"`
}

func askOps(ctx context.Context, a *Asked, p opsParams) (*OpsAnswer, error) {
	f, err := a.filter(ctx, p.Scope, p.Ops, hour)
	if err != nil {
		return nil, err
	}
	return Ops(ctx, a.Data, OpsParams{f, p.PerProcess})
}

type eventsParams struct {
	Scope
	Ops    OpNames `json:"op,omitempty" jsonschema:"only these operations, comma-separated"`
	Limit  int     `json:"limit,omitempty" jsonschema:"at most so many (20)"`
	Offset int     `json:"offset,omitempty" jsonschema:"leave out so many of the newest, or slowest"`
	Slow   bool    `json:"slowest,omitempty" jsonschema:"the slowest instead of the newest"`
}

// EventsAnswer is events of a window, in the order in which they began.
type EventsAnswer struct {
	Window Window      `json:"window"`
	Events []EventJSON `json:"events" rows:""`
	Rest               // older ones
}

func askEvents(ctx context.Context, a *Asked, p eventsParams) (*EventsAnswer, error) {
	f, err := a.filter(ctx, p.Scope, p.Ops, hour)
	if err != nil {
		return nil, err
	}
	n := limit(p.Limit, 20, most)
	ask := eventsPage
	if p.Slow {
		ask = slowPage
	}
	events, rest, err := ask(ctx, a.Data, f, p.Offset, n)
	if err != nil {
		return nil, err
	}
	return &EventsAnswer{newWindow(f.From, f.To), events, rest}, nil
}

// eventsPage leaves out so many of the newest. Of those before it is only known
// that there are some.
func eventsPage(ctx context.Context, s Data, f store.Filter, offset, n int) ([]EventJSON, Rest, error) {
	if offset > most {
		return nil, Rest{}, paramf("offset: at most %d; set an end with to instead", most)
	}
	events, err := Events(ctx, s, EventsParams{f, offset + n + 1})
	if err != nil {
		return nil, Rest{}, err
	}
	events = events[:len(events)-min(offset, len(events))]
	if len(events) > n {
		return events[len(events)-n:], Rest{len(events) - n}, nil
	}
	return events, Rest{}, nil
}

// slowPage leaves out so many of the slowest.
func slowPage(ctx context.Context, s Data, f store.Filter, offset, n int) ([]EventJSON, Rest, error) {
	if offset > most {
		return nil, Rest{}, paramf("offset: at most %d; ask for a shorter window instead", most)
	}
	slow, err := s.Slowest(ctx, f, offset+n+1)
	if err != nil {
		return nil, Rest{}, err
	}
	slow, rest := page(slow, offset, n)
	slices.SortStableFunc(slow, func(x, y store.Stored) int { return cmp.Compare(x.Start, y.Start) })
	events, err := encodeEvents(ctx, s, slow)
	return events, rest, err
}

type stacksParams struct {
	Scope
	Ops    OpNames `json:"op,omitempty" jsonschema:"only these operations, comma-separated"`
	Limit  int     `json:"limit,omitempty" jsonschema:"at most so many (50)"`
	Offset int     `json:"offset,omitempty" jsonschema:"leave out so many of the first"`
	Lost   bool    `json:"lost,omitempty" jsonschema:"most time of waiting first, instead of most time"`
}

func askStacks(ctx context.Context, a *Asked, p stacksParams) (*StacksAnswer, error) {
	f, err := a.filter(ctx, p.Scope, p.Ops, hour)
	if err != nil {
		return nil, err
	}
	out, err := ByStack(ctx, a.Data, StacksParams{Filter: f, Lost: p.Lost})
	if err != nil {
		return nil, err
	}
	out.Stacks, out.Rest = page(out.Stacks, p.Offset, limit(p.Limit, 50, most))
	return out, nil
}

type sqlParams struct {
	SQL   string `json:"sql" jsonschema:"the statement"`
	Limit int    `json:"limit,omitempty" jsonschema:"at most so many rows (1000)"`
}

// sqlTime is how long a statement may run on behalf of a surface that many
// can reach.
const sqlTime = 30 * time.Second

func askSQL(ctx context.Context, a *Asked, p sqlParams) (*Table, error) {
	if p.SQL == "" {
		return nil, paramf("sql is empty; give a statement such as SELECT count(*) FROM events")
	}
	t, err := SQL(ctx, a.Data, p.SQL, store.Limits{Timeout: cmp.Or(a.SQLTime, sqlTime), Rows: limit(p.Limit, 1000, most), Bytes: 8 << 20})
	if wrong := (store.StatementError{}); errors.As(err, &wrong) {
		return nil, ParamError{err}
	}
	return t, err
}

// Session is one run of the agent.
type Session struct {
	ID        int64      `json:"id"`
	Node      string     `json:"node"`
	Version   string     `json:"version"`
	Started   time.Time  `json:"started_at"`
	Stopped   *time.Time `json:"stopped_at"` // null while it records, or not known
	Recording bool       `json:"recording"`
	Killed    bool       `json:"killed"` // ended without closing the database
	Lost      uint64     `json:"lost"`   // events
	Overhead  *float64   `json:"overhead_share"`
	Gaps      []string   `json:"gaps"`
}

// SessionsAnswer is every run, the newest last.
type SessionsAnswer struct {
	Sessions []Session `json:"sessions" rows:""`
}

func askSessions(ctx context.Context, a *Asked, _ noParams) (*SessionsAnswer, error) {
	rows, err := a.Data.Sessions(ctx)
	if err != nil {
		return nil, err
	}
	inUse, err := a.Data.InUse()
	if err != nil {
		return nil, err
	}
	out := &SessionsAnswer{[]Session{}}
	for _, r := range rows {
		s := Session{
			ID: r.ID, Node: r.Node, Version: r.Version, Started: time.Unix(0, r.Started).UTC(), Recording: r.Stopped == 0 && inUse,
			Killed: r.Killed || r.Stopped == 0 && !inUse, Lost: r.Lost, Overhead: r.Overhead, Gaps: append([]string{}, r.Gaps...),
		}
		if r.Stopped != 0 {
			t := time.Unix(0, r.Stopped).UTC()
			s.Stopped = &t
		}
		out.Sessions = append(out.Sessions, s)
	}
	return out, nil
}
