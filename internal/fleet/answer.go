package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"ingero/internal/query"
)

// Actions are what a fleet can be asked.
var Actions = []string{"chains", "ops", "overview", "sql"}

// Params say what to ask.
type Params struct {
	Action string
	SQL    string // of action sql
	Since  string
	PID    string
	Limit  int // findings, operations of each node, or rows of each node; 0: 10, 20, 100
}

// Answer is what a fleet answers. Of the lists, that of the action is set.
type Answer struct {
	Action    string       `json:"action"`
	Nodes     []Node       `json:"nodes"`
	Warnings  []string     `json:"warnings"`
	Chains    []Chain      `json:"chains,omitempty"` // the most harmful first
	Ops       []Op         `json:"ops,omitempty"`
	Overviews []Overview   `json:"overviews,omitempty"`
	Table     *query.Table `json:"table,omitempty"` // with the column node prepended
	Windows   []NodeWindow `json:"windows,omitempty"`
	More      int          `json:"more,omitempty"` // rows that were left out
}

// Chain is a finding and the node that told it.
type Chain struct {
	From string `json:"from"`
	query.Chain
}

// Op is an operation on a node.
type Op struct {
	From string `json:"from"`
	query.Op
}

// Overview is the state of a node.
type Overview struct {
	From string `json:"from"`
	query.OverviewAnswer
}

// NodeWindow is the time that a node's part is about.
type NodeWindow struct {
	From   string       `json:"from"`
	Window query.Window `json:"window"`
}

// ErrParams is a mistake of who asks.
var ErrParams = errors.New("wrong parameters")

// Do asks all nodes.
func (c *Client) Do(ctx context.Context, nodes []string, p Params) (*Answer, error) {
	switch {
	case len(nodes) == 0:
		return nil, fmt.Errorf("%w: no nodes: name them as [\"host:port\"], or start the server with --nodes", ErrParams)
	case !slices.Contains(Actions, p.Action):
		return nil, fmt.Errorf("%w: action %q: it is one of %v", ErrParams, p.Action, Actions)
	case (p.Action == "sql") != (p.SQL != ""):
		return nil, fmt.Errorf("%w: action sql needs sql, and no other action takes it", ErrParams)
	}
	for _, n := range nodes {
		if _, err := parseAddress(n); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrParams, err)
		}
	}
	switch p.Action {
	case "chains":
		return c.chains(ctx, nodes, p)
	case "ops":
		return c.ops(ctx, nodes, p)
	case "overview":
		return c.overviews(ctx, nodes, p)
	}
	return c.sql(ctx, nodes, p)
}

// scope is the window and the processes, as texts.
func (p Params) scope() map[string]string {
	m := map[string]string{}
	if p.Since != "" {
		m["since"] = p.Since
	}
	if p.PID != "" {
		m["pid"] = p.PID
	}
	return m
}

func (c *Client) chains(ctx context.Context, nodes []string, p Params) (*Answer, error) {
	params := p.scope()
	params["distinct"] = "true"
	r, err := Ask[query.Explanation](ctx, c, nodes, "chains", params)
	if err != nil {
		return nil, err
	}
	a := &Answer{Action: p.Action, Nodes: r.Nodes, Warnings: r.Warnings, Chains: []Chain{}}
	for _, reply := range r.Replies {
		a.Windows = append(a.Windows, NodeWindow{reply.Node, reply.Answer.Window})
		for _, x := range reply.Answer.Chains {
			a.Chains = append(a.Chains, Chain{reply.Node, x})
		}
		a.More += reply.Answer.More
	}
	rank := map[string]int{"HIGH": 3, "MEDIUM": 2, "LOW": 1}
	slices.SortStableFunc(a.Chains, func(x, y Chain) int {
		return cmp.Or(cmp.Compare(rank[y.Severity], rank[x.Severity]), cmp.Compare(y.Impact.Lost, x.Impact.Lost))
	})
	a.Chains, a.More = cut(a.Chains, cmp.Or(p.Limit, 10), a.More)
	return a, nil
}

func cut[T any](all []T, n, more int) ([]T, int) {
	if len(all) > n {
		return all[:n], more + len(all) - n
	}
	return all, more
}

func (c *Client) ops(ctx context.Context, nodes []string, p Params) (*Answer, error) {
	r, err := Ask[query.OpsAnswer](ctx, c, nodes, "ops", p.scope())
	if err != nil {
		return nil, err
	}
	a := &Answer{Action: p.Action, Nodes: r.Nodes, Warnings: r.Warnings, Ops: []Op{}}
	for _, reply := range r.Replies {
		a.Windows = append(a.Windows, NodeWindow{reply.Node, reply.Answer.Window})
		var ops []query.Op
		ops, a.More = cut(reply.Answer.Ops, cmp.Or(p.Limit, 20), a.More)
		for _, x := range ops {
			a.Ops = append(a.Ops, Op{reply.Node, x})
		}
	}
	return a, nil
}

func (c *Client) overviews(ctx context.Context, nodes []string, p Params) (*Answer, error) {
	r, err := Ask[query.OverviewAnswer](ctx, c, nodes, "overview", p.scope())
	if err != nil {
		return nil, err
	}
	a := &Answer{Action: p.Action, Nodes: r.Nodes, Warnings: r.Warnings, Overviews: []Overview{}}
	for _, reply := range r.Replies {
		a.Overviews = append(a.Overviews, Overview{reply.Node, reply.Answer})
	}
	return a, nil
}

func (c *Client) sql(ctx context.Context, nodes []string, p Params) (*Answer, error) {
	if p.Since != "" || p.PID != "" {
		return nil, fmt.Errorf("%w: since and pid do not go with sql; use WHERE", ErrParams)
	}
	r, err := Ask[exactTable](ctx, c, nodes, "sql", map[string]string{"sql": p.SQL, "limit": strconv.Itoa(cmp.Or(p.Limit, 100))})
	if err != nil {
		return nil, err
	}
	a := &Answer{Action: p.Action, Nodes: r.Nodes, Warnings: r.Warnings}
	for _, reply := range r.Replies {
		t := reply.Answer
		if a.Table == nil {
			a.Table = &query.Table{Columns: append([]string{"node"}, t.Columns...), Rows: [][]any{}}
		}
		if !slices.Equal(a.Table.Columns[1:], t.Columns) {
			a.Warnings = append(a.Warnings, fmt.Sprintf("%s has other columns (%v); its rows are left out", reply.Node, t.Columns))
			continue
		}
		for _, row := range t.Rows {
			a.Table.Rows = append(a.Table.Rows, append([]any{reply.Node}, row...))
		}
		if t.Truncated != "" {
			a.Table.Truncated = "on some nodes: " + t.Truncated
		}
	}
	return a, nil
}
