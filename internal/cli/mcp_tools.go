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
	"ingero/internal/demo"
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
	play := mcp.NewTool("run_demo", "Play a scenario, or run the simulated CUDA job under real probes, and explain what was seen. Scenarios are "+strings.Join(scenarioNames(), ", ")+". live needs root and no GPU, and takes as many seconds as asked for. The recording is removed.", d.run)
	play.Acts = true
	report := mcp.NewTool("get_test_report", "How right the verdicts are: the score of the fault suite, known causes injected into a simulated CUDA job, with machine and date.",
		func(context.Context, struct{}) (*accuracy.Report, error) { return accuracy.Committed() })
	many := mcp.NewTool("query_fleet", "Ask the dashboards of several nodes at once: findings, operations, overviews or SQL, each row with its node. Nodes that do not answer and clocks that are apart are warnings.",
		func(ctx context.Context, p fleetParams) (*fleet.Answer, error) {
			return askFleet(ctx, client, nodes, p)
		})
	many.Outside = true
	return []mcp.Tool{play, report, many}, nil
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
	Scenario string `json:"scenario,omitempty" jsonschema:"one of the scenarios (incident); with live none is a plain training-like job"`
	Live     bool   `json:"live,omitempty" jsonschema:"let it happen for real, to a job on a simulated CUDA library with real probes"`
	Seconds  int    `json:"seconds,omitempty" jsonschema:"how long live takes, 3 to 30 (5, with a scenario 20)"`
}

// demoAnswer is what a demo showed.
type demoAnswer struct {
	Scenario    string             `json:"scenario"`
	Note        string             `json:"note"`
	Counted     string             `json:"counted,omitempty"` // what was traced, held against the job's own count
	Explanation *query.Explanation `json:"explanation"`
}

const (
	playedNote = "A scenario from text, without probes: what a job did, second by second. What is said of it comes from the same rules as always."
	liveNote   = "A job on a simulated CUDA library with real probes, on this machine."
)

func (d *demoTool) run(ctx context.Context, p demoParams) (*demoAnswer, error) {
	if p.Scenario != "" || !p.Live {
		p.Scenario = cmp.Or(p.Scenario, demo.Scenarios[0].Name)
		chosen, err := chooseScenarios([]string{p.Scenario})
		if err != nil {
			return nil, mcp.WrongArgument{Err: err}
		}
		p.Scenario = chosen[0].Name
		if !p.Live {
			e, err := playScenario(ctx, d.env, chosen[0], replayOptions{quiet: true})
			return &demoAnswer{Scenario: p.Scenario, Note: playedNote, Explanation: e}, err
		}
		p.Seconds = cmp.Or(p.Seconds, 20)
	}
	return d.live(ctx, p)
}

func (d *demoTool) live(ctx context.Context, p demoParams) (a *demoAnswer, err error) {
	p.Seconds = cmp.Or(p.Seconds, 5)
	switch {
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
	began := time.Now()
	counted, err := runLiveDemo(ctx, inner, o, p.Scenario, false)
	if err != nil {
		return nil, fmt.Errorf("run the demo: %w", err)
	}
	a = &demoAnswer{Scenario: cmp.Or(p.Scenario, "live"), Note: liveNote, Counted: counted}
	a.Explanation, err = explainRecent(ctx, db, began)
	return a, err
}

// explainRecent explains what a database holds from a time on.
func explainRecent(ctx context.Context, path string, from time.Time) (*query.Explanation, error) {
	r, err := store.Open(path)
	if err != nil {
		return nil, err
	}
	return query.Explain(ctx, r, query.ExplainParams{Filter: store.Filter{From: from.UnixNano(), To: time.Now().UnixNano()}})
}
