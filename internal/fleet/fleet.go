// Package fleet asks the dashboards of many nodes the same question at the
// same time, and says how far their clocks are apart.
package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"ingero/internal/query"
)

// Options says whom to ask, and how.
type Options struct {
	// Token is sent to the nodes in Trusted and to no others: a node that
	// somebody else names could be anybody.
	Token   string
	Trusted []string
	CA      string        // PEM file of certificates that nodes may have, besides those of the system
	Timeout time.Duration // for each node; 0: 20 s
	Skew    time.Duration // how far clocks may be apart; 0: 10 ms
}

const (
	usualTimeout = 20 * time.Second
	usualSkew    = 10 * time.Millisecond
	maxBody      = 16 << 20 // bytes of an answer
	atOnce       = 64       // nodes that are asked at the same time
	// MaxNodes is how many nodes one question may go to.
	MaxNodes = 1024
)

// Node is one node's part in an answer.
type Node struct {
	Node      string `json:"node"` // its address, as it was given
	OK        bool   `json:"ok"`
	Error     string `json:"error,omitempty"`
	Skew      *int64 `json:"skew_ns,omitempty"` // its clock less ours
	RoundTrip int64  `json:"round_trip_ns,omitempty"`
}

// Reply is what one node answered.
type Reply[A any] struct {
	Node   string
	Answer A
}

// Result is what all nodes answered, in the order in which they were given.
type Result[A any] struct {
	Replies  []Reply[A] // of those that answered
	Nodes    []Node
	Warnings []string // nodes that did not answer, clocks that are apart
}

// Client asks.
type Client struct {
	opts Options
	http httpClients
}

// New checks the options.
func New(o Options) (*Client, error) {
	o.Timeout, o.Skew = cmp.Or(o.Timeout, usualTimeout), cmp.Or(o.Skew, usualSkew)
	clients, err := newClients(o.CA)
	if err != nil {
		return nil, err
	}
	return &Client{o, clients}, nil
}

// Ask asks a question of the table of all nodes. Parameters are those of the
// question, as text. That no node answers is no error: Nodes says why.
func Ask[A any](ctx context.Context, c *Client, nodes []string, question string, params map[string]string) (*Result[A], error) {
	if _, known := query.Find(question); !known {
		return nil, fmt.Errorf("no such question: %s", question)
	}
	if len(nodes) > MaxNodes {
		return nil, fmt.Errorf("%d nodes are too many: ask %d at once", len(nodes), MaxNodes)
	}
	parsed := make([]address, len(nodes))
	for i, n := range nodes {
		var err error
		if parsed[i], err = parseAddress(n); err != nil {
			return nil, err
		}
	}
	replies, states := make([]*A, len(nodes)), make([]Node, len(nodes))
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range nodes {
		wg.Add(1)
		go func() {
			defer wg.Done()
			slots <- struct{}{}
			defer func() { <-slots }()
			one, cancel := context.WithTimeout(ctx, c.opts.Timeout)
			defer cancel()
			replies[i], states[i] = askNode[A](one, c, parsed[i], question, params)
		}()
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r := &Result[A]{Replies: []Reply[A]{}, Nodes: states, Warnings: warnings(states, c.opts.Skew)}
	for i, a := range replies {
		if a != nil {
			r.Replies = append(r.Replies, Reply[A]{nodes[i], *a})
		}
	}
	return r, nil
}

func askNode[A any](ctx context.Context, c *Client, a address, question string, params map[string]string) (*A, Node) {
	n := Node{Node: a.text}
	skew, trip, err := c.clock(ctx, &a)
	if err != nil {
		n.Error = err.Error()
		return nil, n
	}
	n.Skew, n.RoundTrip = &skew, trip
	body, err := c.question(ctx, &a, question, params)
	if err != nil {
		n.Error = err.Error()
		return nil, n
	}
	out := new(A)
	if err := json.Unmarshal(body, out); err != nil {
		n.Error = "its answer cannot be read; is it the same version of ingero?"
		return nil, n
	}
	n.OK = true
	return out, n
}

// clock compares the clocks: the node's answer is taken to be from the middle
// of the time that the question took, the shortest of a few.
func (c *Client) clock(ctx context.Context, a *address) (skew, trip int64, err error) {
	for i := range 3 {
		begin := time.Now()
		body, err := c.question(ctx, a, "time", nil)
		if err != nil {
			return 0, 0, err
		}
		took := time.Since(begin)
		var t query.TimeAnswer
		if err := json.Unmarshal(body, &t); err != nil || t.Unix == 0 {
			return 0, 0, fmt.Errorf("%s does not tell its time; is it an ingero dashboard?", a.text)
		}
		if i == 0 || took.Nanoseconds() < trip {
			trip, skew = took.Nanoseconds(), t.Unix-begin.Add(took/2).UnixNano()
		}
	}
	return skew, trip, nil
}

// warnings tells of nodes that did not answer and of clocks that are further
// apart than allowed, beyond what the round trips leave open. One node alone
// is compared with this machine.
func warnings(all []Node, allowed time.Duration) []string {
	out := []string{}
	var clocks []Node
	for _, n := range all {
		if !n.OK {
			out = append(out, fmt.Sprintf("%s did not answer: %s", n.Node, n.Error))
		}
		if n.Skew != nil {
			clocks = append(clocks, n)
		}
	}
	if len(clocks) == 0 {
		return out
	}
	slices.SortStableFunc(clocks, func(x, y Node) int { return cmp.Compare(*x.Skew, *y.Skew) })
	slow, fast := clocks[0], clocks[len(clocks)-1]
	apart, open, who := *fast.Skew-*slow.Skew, (fast.RoundTrip+slow.RoundTrip)/2, fmt.Sprintf("the clocks of %s and %s", slow.Node, fast.Node)
	if len(clocks) == 1 {
		apart, open, who = max(*fast.Skew, -*fast.Skew), fast.RoundTrip/2, fmt.Sprintf("the clocks of %s and of this machine", fast.Node)
	}
	if time.Duration(apart-open) > allowed {
		out = append(out, fmt.Sprintf("%s are %v apart (± %v, %v allowed): times of different nodes cannot be compared closer than that",
			who, time.Duration(apart).Round(10*time.Microsecond), time.Duration(open).Round(10*time.Microsecond), allowed))
	}
	return out
}
