package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// explanation is what the suite needs of 'ingero explain --json'. The parse
// is lenient: a field that is missing or of another type reads as zero.
type explanation struct {
	chains      []chain // most harmful first
	unaccounted float64 // the worst of all threads
	feeder      string  // whose it is
}

type chain struct {
	kind, severity, summary string
	pid                     int // of the symptom
	lost                    time.Duration
	from, to                time.Time
	culprits                []culprit
}

type culprit struct {
	pid  int
	comm string
}

func (c chain) serious() bool { return c.severity == "MEDIUM" || c.severity == "HIGH" }

// node is any piece of JSON.
type node struct{ v any }

func (n node) at(path ...string) node {
	for _, key := range path {
		m, _ := n.v.(map[string]any)
		n = node{m[key]}
	}
	return n
}

func (n node) list() []node {
	all, _ := n.v.([]any)
	out := make([]node, len(all))
	for i, v := range all {
		out[i] = node{v}
	}
	return out
}

func (n node) str() string {
	s, _ := n.v.(string)
	return s
}

func (n node) num() float64 {
	f, _ := n.v.(float64)
	return f
}

func (n node) time() time.Time {
	t, _ := time.Parse(time.RFC3339Nano, n.str())
	return t
}

const briefThread = 1e9 // ns; of shorter ones the rest says little

func parseExplanation(b []byte) (explanation, error) {
	var e explanation
	var top node
	if err := json.Unmarshal(b, &top.v); err != nil {
		return e, fmt.Errorf("parse the explanation: %w", err)
	}
	if s := top.at("schema").str(); !strings.HasPrefix(s, "explain/") {
		return e, fmt.Errorf("parse the explanation: its schema is %q", s)
	}
	for _, p := range top.at("processes").list() {
		for _, t := range p.at("threads").list() {
			u := max(t.at("unaccounted_share").num(), -t.at("unaccounted_share").num())
			if t.at("wall_ns").num() >= briefThread && u > e.unaccounted {
				e.unaccounted, e.feeder = u, fmt.Sprintf("%s %.0f", t.at("comm").str(), t.at("tid").num())
			}
		}
	}
	for _, n := range top.at("chains").list() {
		c := chain{
			kind: n.at("cause", "kind").str(), severity: strings.ToUpper(n.at("severity").str()),
			summary: n.at("cause", "summary").str(), pid: int(n.at("symptom", "pid").num()),
			lost: time.Duration(n.at("impact", "lost_ns").num()),
			from: n.at("started_at").time(), to: n.at("ended_at").time(),
		}
		for _, who := range n.at("cause", "culprits").list() {
			c.culprits = append(c.culprits, culprit{int(who.at("pid").num()), who.at("comm").str()})
		}
		e.chains = append(e.chains, c)
	}
	return e, nil
}
