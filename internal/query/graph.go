package query

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
	"ingero/internal/store"
)

// mostGraphCalls is how many calls of graphs an answer looks at, the newest.
const mostGraphCalls = 200_000

var graphOps = func() (all []event.Op) {
	for _, c := range event.Calls {
		if c.ID.Source() == event.Graph {
			all = append(all, c.ID)
		}
	}
	return all
}()

type graphParams struct {
	Scope
	Limit  int `json:"limit,omitempty" jsonschema:"at most so many (50)"`
	Offset int `json:"offset,omitempty" jsonschema:"leave out so many of the first, or of the newest where rows are in the order of time"`
}

type graphMetricsParams struct {
	Scope
	Points int `json:"points,omitempty" jsonschema:"steps over time, at most so many (120)"`
}

// GraphMetrics are counts that are exact. What the runtime passes on to the
// driver counts once.
type GraphMetrics struct {
	Window       Window      `json:"window"`
	Captures     uint64      `json:"captures"` // that ended
	Instantiated uint64      `json:"instantiations"`
	Updates      uint64      `json:"updates"`
	Launches     uint64      `json:"launches"`
	Destroyed    uint64      `json:"destroyed"`
	CaptureRate  float64     `json:"captures_per_s"`
	LaunchRate   float64     `json:"launches_per_s"`
	Ops          []Op        `json:"ops"` // the calls, with their durations
	Step         int64       `json:"step_seconds"`
	Series       []GraphStep `json:"series" rows:""` // steps without calls are left out
}

// GraphStep is one step over time.
type GraphStep struct {
	At           time.Time `json:"at"`
	Captures     uint64    `json:"captures"`
	Instantiated uint64    `json:"instantiations"`
	Launches     uint64    `json:"launches"`
}

func askGraphMetrics(ctx context.Context, a *Asked, p graphMetricsParams) (*GraphMetrics, error) {
	f, err := a.filter(ctx, p.Scope, graphOps, hour)
	if err != nil {
		return nil, err
	}
	ops, err := Ops(ctx, a.Data, OpsParams{Filter: f})
	if err != nil {
		return nil, err
	}
	books, err := a.Data.Books(ctx, f)
	if err != nil {
		return nil, err
	}
	m := &GraphMetrics{Window: ops.Window, Ops: ops.Ops, Step: stepOf(f.From, f.To, limit(p.Points, points, most)), Series: []GraphStep{}}
	steps := map[int64]*GraphStep{}
	for i := range books {
		for k := range books[i].Seconds {
			s := &books[i].Seconds[k]
			at := floorDiv(s.At, m.Step) * m.Step
			for j := range s.Calls {
				if c := &s.Calls[j]; c.Op.Source() == event.Graph {
					if steps[at] == nil {
						steps[at] = &GraphStep{At: time.Unix(at, 0).UTC()}
					}
					m.add(steps[at], c)
				}
			}
		}
	}
	for _, s := range steps {
		m.Series = append(m.Series, *s)
	}
	slices.SortFunc(m.Series, func(x, y GraphStep) int { return x.At.Compare(y.At) })
	m.CaptureRate, m.LaunchRate = float64(m.Captures)/m.Window.Seconds, float64(m.Launches)/m.Window.Seconds
	return m, nil
}

func (m *GraphMetrics) add(s *GraphStep, c *stats.Calls) {
	n := c.Hist.Count() - c.Nested
	switch graphStage(c.Op) {
	case stageCaptured:
		m.Captures += n
		s.Captures += n
	case stageInstantiated:
		m.Instantiated += n
		s.Instantiated += n
	case stageUpdated:
		m.Updates += n
	case stageLaunched:
		m.Launches += n
		s.Launches += n
	case stageDestroyed:
		m.Destroyed += n
	}
}

// stage is a step in the life of a graph.
type stage int

const (
	stageCapturing stage = iota
	stageCaptured
	stageInstantiated
	stageUpdated
	stageLaunched
	stageDestroyed
)

func graphStage(op event.Op) stage { return stages[op] }

// stages are read off the names of the calls.
var stages = func() map[event.Op]stage {
	m := map[event.Op]stage{}
	for _, op := range graphOps {
		switch name := op.String(); {
		case strings.Contains(name, "BeginCapture"):
			m[op] = stageCapturing
		case strings.Contains(name, "EndCapture"):
			m[op] = stageCaptured
		case strings.Contains(name, "Instantiate"):
			m[op] = stageInstantiated
		case strings.Contains(name, "Update"):
			m[op] = stageUpdated
		case strings.Contains(name, "Launch"):
			m[op] = stageLaunched
		case strings.Contains(name, "Destroy"):
			m[op] = stageDestroyed
		default:
			panic("query: what does " + name + " do to a graph?")
		}
	}
	return m
}()

func askGraphEvents(ctx context.Context, a *Asked, p graphParams) (*EventsAnswer, error) {
	f, err := a.filter(ctx, p.Scope, graphOps, hour)
	if err != nil {
		return nil, err
	}
	events, rest, err := eventsPage(ctx, a.Data, f, p.Offset, limit(p.Limit, 50, most))
	if err != nil {
		return nil, err
	}
	return &EventsAnswer{newWindow(f.From, f.To), events, rest}, nil
}

// GraphsAnswer is the life of each graph, in the order in which they were
// first seen.
type GraphsAnswer struct {
	Window    Window  `json:"window"`
	Graphs    []Graph `json:"graphs" rows:""`
	Truncated string  `json:"truncated,omitempty"` // what is missing
	Rest              // older graphs
}

// Graph is one executable graph. Times are null when they are outside the
// window.
type Graph struct {
	Exec         string     `json:"exec"` // handle, hexadecimal
	PID          uint32     `json:"pid"`
	Comm         string     `json:"comm"`
	Node         string     `json:"node"`
	Captured     *time.Time `json:"captured_at"`
	Capture      int64      `json:"capture_ns"` // from its begin to its end
	Instantiated *time.Time `json:"instantiated_at"`
	Instantiate  int64      `json:"instantiate_ns"`
	FirstLaunch  *time.Time `json:"first_launch_at"`
	LastLaunch   *time.Time `json:"last_launch_at"`
	Launches     uint64     `json:"launches"`
	LaunchNS     int64      `json:"launch_ns"` // of all launches, on the CPU
	Updates      uint64     `json:"updates"`
	Destroyed    *time.Time `json:"destroyed_at"`
	Errors       uint64     `json:"errors"` // calls that failed
}

func askGraphLifecycle(ctx context.Context, a *Asked, p graphParams) (*GraphsAnswer, error) {
	f, err := a.filter(ctx, p.Scope, graphOps, hour)
	if err != nil {
		return nil, err
	}
	g, err := graphs(ctx, a.Data, f)
	if err != nil {
		return nil, err
	}
	g.Graphs = g.Graphs[:len(g.Graphs)-min(p.Offset, len(g.Graphs))]
	if n := limit(p.Limit, 50, most); len(g.Graphs) > n {
		g.More = len(g.Graphs) - n
		g.Truncated = strconv.Itoa(g.More) + " older graphs are left out"
		g.Graphs = g.Graphs[g.More:]
	}
	return g, nil
}

// graphs puts the life of each graph together from its calls, which are
// always recorded.
func graphs(ctx context.Context, s Source, f store.Filter) (*GraphsAnswer, error) {
	events, err := s.Events(ctx, f, mostGraphCalls)
	if err != nil {
		return nil, err
	}
	out := &GraphsAnswer{Window: newWindow(f.From, f.To), Graphs: []Graph{}}
	if len(events) == mostGraphCalls {
		out.Truncated = "calls before " + time.Unix(0, events[0].Start).UTC().Format(time.RFC3339Nano)
	}
	b := graphBook{captures: map[graphThread]capture{}, live: map[graphKey]*Graph{}}
	for i := range events {
		if events[i].Depth == 0 { // what the runtime passes on to the driver was seen already
			b.add(&events[i])
		}
	}
	for _, g := range b.all {
		out.Graphs = append(out.Graphs, *g)
	}
	return out, nil
}

type graphThread struct {
	node string
	tid  uint32
}

type graphKey struct {
	node   string
	pid    uint32
	handle uint64
}

type capture struct{ begun, ended int64 }

type graphBook struct {
	captures map[graphThread]capture // the last of each thread
	live     map[graphKey]*Graph     // handles are used again
	all      []*Graph
}

func (b *graphBook) add(e *store.Stored) {
	thread, at := graphThread{e.Node, e.TID}, time.Unix(0, e.Start).UTC()
	what := graphStage(e.Op)
	switch what {
	case stageCapturing:
		b.captures[thread] = capture{begun: e.Start}
		return
	case stageCaptured:
		c := b.captures[thread]
		c.ended = e.Start + e.Dur
		b.captures[thread] = c
		return
	}
	key := graphKey{e.Node, e.PID, e.Handle}
	g := b.live[key]
	if g == nil || what == stageInstantiated {
		g = &Graph{Exec: "0x" + strconv.FormatUint(e.Handle, 16), PID: e.PID, Comm: e.Comm, Node: e.Node}
		b.live[key] = g
		b.all = append(b.all, g)
	}
	if e.Ret != 0 {
		g.Errors++
	}
	switch what {
	case stageInstantiated:
		g.Instantiated, g.Instantiate = &at, e.Dur
		if c := b.captures[thread]; c.begun != 0 && c.ended != 0 {
			begun := time.Unix(0, c.begun).UTC()
			g.Captured, g.Capture = &begun, c.ended-c.begun
			delete(b.captures, thread)
		}
	case stageUpdated:
		g.Updates++
	case stageLaunched:
		if g.FirstLaunch == nil {
			g.FirstLaunch = &at
		}
		g.LastLaunch = &at
		g.Launches++
		g.LaunchNS += e.Dur
	case stageDestroyed:
		g.Destroyed = &at
		delete(b.live, key)
	}
}
