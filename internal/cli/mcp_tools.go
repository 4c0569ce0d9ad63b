package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"ingero/internal/accuracy"
	"ingero/internal/fleet"
	"ingero/internal/mcp"
	"ingero/internal/query"
	"ingero/internal/store"
	"ingero/test/workload"
)

// mcpTools are the tools that are not questions to a database.
func mcpTools(env *Env, o mcpOptions) ([]mcp.Tool, error) {
	nodes := o.nodes
	if v := env.Getenv("INGERO_NODES"); len(nodes) == 0 && v != "" {
		nodes = strings.Split(v, ",")
	}
	client, err := fleet.New(fleet.Options{
		Token: cmp.Or(env.Getenv("INGERO_FLEET_TOKEN"), env.Getenv("INGERO_TOKEN")), Trusted: nodes, CA: env.Getenv("INGERO_FLEET_CA"),
	})
	if err != nil {
		return nil, err
	}
	d := &demoTool{env: env}
	demo := mcp.NewTool("run_demo", "Run the simulated CUDA job under real probes and explain what was seen. It needs root and no GPU, and takes as many seconds as asked for. Its recording is removed.", d.run)
	demo.Acts = true
	report := mcp.NewTool("get_test_report", "How right the verdicts are: the score of the fault suite, known causes injected into a simulated CUDA job, with machine and date.",
		func(context.Context, struct{}) (*accuracy.Report, error) { return accuracy.Committed() })
	many := mcp.NewTool("query_fleet", "Ask the dashboards of several nodes at once: findings, operations, overviews or SQL, each row with its node. Nodes that do not answer and clocks that are apart are warnings.",
		func(ctx context.Context, p fleetParams) (*fleet.Answer, error) {
			return askFleet(ctx, client, nodes, p)
		})
	many.Outside = true
	return []mcp.Tool{demo, report, many}, nil
}

type fleetParams struct {
	Action string   `json:"action" jsonschema:"chains, ops, overview or sql"`
	Nodes  []string `json:"nodes,omitempty" jsonschema:"dashboards, host:port; left out: those that the server was started with"`
	SQL    string   `json:"sql,omitempty" jsonschema:"the statement, with action sql"`
	Since  string   `json:"since,omitempty" jsonschema:"the time up to now, such as 5m or 2d; not with sql"`
	PID    string   `json:"pid,omitempty" jsonschema:"only these processes, comma-separated; not with sql"`
	Limit  int      `json:"limit,omitempty" jsonschema:"findings in all (10), or operations (20) or rows (100) of each node"`
}

func askFleet(ctx context.Context, c *fleet.Client, usual []string, p fleetParams) (*fleet.Answer, error) {
	nodes := p.Nodes
	if len(nodes) == 0 {
		nodes = usual
	}
	if p.Limit < 0 {
		return nil, mcp.WrongArgument{Err: fmt.Errorf("limit: %d is not a number from 0 on", p.Limit)}
	}
	a, err := c.Do(ctx, nodes, fleet.Params{Action: p.Action, SQL: p.SQL, Since: p.Since, PID: p.PID, Limit: p.Limit})
	if errors.Is(err, fleet.ErrParams) {
		return nil, mcp.WrongArgument{Err: err}
	}
	return a, err
}

// demoTool runs one demo at a time.
type demoTool struct {
	env *Env
	mu  sync.Mutex
}

type demoParams struct {
	Scenario string `json:"scenario,omitempty" jsonschema:"live (the only one yet): a training-like job on a simulated CUDA library"`
	Seconds  int    `json:"seconds,omitempty" jsonschema:"how long, 3 to 30 (5)"`
}

// demoAnswer is what a demo showed.
type demoAnswer struct {
	Scenario    string             `json:"scenario"`
	Note        string             `json:"note"`
	Counted     string             `json:"counted"` // what was traced, held against the job's own count
	Explanation *query.Explanation `json:"explanation"`
}

const (
	liveScenario = "live"
	demoNote     = "A simulated CUDA library with real probes, on this machine. The scenarios incident, cold-start, memcpy-bottleneck, periodic-spike, cpu-contention and gpu-steal are not in this version."
)

func (d *demoTool) run(ctx context.Context, p demoParams) (a *demoAnswer, err error) {
	p.Scenario, p.Seconds = cmp.Or(p.Scenario, liveScenario), cmp.Or(p.Seconds, 5)
	switch {
	case p.Scenario != liveScenario:
		return nil, mcp.WrongArgument{Err: fmt.Errorf("scenario %q is not in this version; there is: %s", p.Scenario, liveScenario)}
	case p.Seconds < 3 || p.Seconds > 30:
		return nil, mcp.WrongArgument{Err: fmt.Errorf("seconds: %d is not from 3 to 30", p.Seconds)}
	case os.Geteuid() != 0:
		return nil, errors.New("the demo sets probes, which needs root, and this server does not run as root. Ask the user to run: sudo ingero demo --live")
	}
	if err := workload.Supported(); err != nil {
		return nil, err
	}
	if !d.mu.TryLock() {
		return nil, errors.New("a demo is running already; ask again in half a minute")
	}
	defer d.mu.Unlock()
	dir, err := os.MkdirTemp("", "ingero-demo-")
	if err != nil {
		return nil, fmt.Errorf("make room for the recording: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	db := filepath.Join(dir, "demo.db")
	var out bytes.Buffer
	inner := &Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Getenv: d.env.Getenv}
	var o traceOptions
	o.db, o.duration, o.stack, o.samples = db, fmt.Sprintf("%ds", p.Seconds), true, true
	if err := runLiveDemo(ctx, inner, o); err != nil {
		return nil, fmt.Errorf("run the demo: %w", err)
	}
	a = &demoAnswer{Scenario: p.Scenario, Note: demoNote, Counted: lastLine(out.String())}
	a.Explanation, err = explainAll(ctx, db)
	return a, err
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// explainAll explains all that a database holds.
func explainAll(ctx context.Context, path string) (*query.Explanation, error) {
	r, err := store.Open(path)
	if err != nil {
		return nil, err
	}
	q, _ := query.Find("explain")
	from, to, err := r.Span(ctx)
	if err != nil {
		return nil, err
	}
	params := q.New()
	for name, ns := range map[string]int64{"from": from, "to": to + 1} {
		if err := q.Set(params, name, time.Unix(0, ns).UTC().Format(time.RFC3339Nano)); err != nil {
			return nil, err
		}
	}
	got, err := q.Ask(ctx, &query.Asked{Data: r, Now: time.Now()}, params)
	if err != nil {
		return nil, err
	}
	return got.(*query.Explanation), nil
}
