package sysinfo

import (
	"bytes"
	"math"
	"strconv"
)

// throttled is how often and how long a group was held back by its CPU quota.
// The time is that of all its CPUs added up, so that it may exceed wall time.
type throttled struct{ periods, ns uint64 }

// throttleCounter is the counter of a group and its last difference.
type throttleCounter struct {
	last  throttled
	known bool
	delta throttled
}

// throttled returns what a group was held back since the last round. Root
// groups, and those of version 2 without the cpu controller, never are.
func (c *groups) throttled(g *group) throttled {
	if g.round == c.round {
		return g.throttle.delta
	}
	g.round = c.round
	now, known := parseThrottle(c.read(g, "cpu.stat"))
	g.throttle.step(now, known)
	return g.throttle.delta
}

func (t *throttleCounter) step(now throttled, known bool) {
	t.delta = throttled{}
	if !known || !t.known || now.periods < t.last.periods || now.ns < t.last.ns {
		t.last, t.known = now, known
		return
	}
	t.delta = throttled{now.periods - t.last.periods, now.ns - t.last.ns}
	if t.delta.periods == 0 {
		t.delta = throttled{} // the time goes with its period, which is counted next round
		return
	}
	t.last = now
}

// parseThrottle reads cpu.stat of either version.
func parseThrottle(b []byte) (t throttled, known bool) {
	for line := range bytes.Lines(b) {
		switch name, n := keyValue(line); string(name) {
		case "nr_throttled":
			t.periods, known = uint64(n), true
		case "throttled_time":
			t.ns = uint64(n)
		case "throttled_usec":
			t.ns = uint64(n) * 1000
		}
	}
	return t, known
}

func keyValue(line []byte) (name []byte, n int64) {
	k, v, _ := bytes.Cut(line, []byte(" "))
	return k, number(v)
}

// number reads one number, 0 if it is none. "max" is no limit, and so is
// what version 1 says instead: the largest number of whole pages.
func number(b []byte) int64 {
	s := string(bytes.TrimSpace(b))
	n, err := strconv.ParseInt(s, 10, 64)
	if s == "max" || n >= noLimit {
		return -1
	}
	if err != nil || n < 0 {
		return 0
	}
	return n
}

const noLimit = 1 << 60

// CgroupMemory says how near the cgroups of a process are to their limit. It
// is that of the group with the least room: the process's own, or one around
// it. Everything in that group is counted, not only this process.
type CgroupMemory struct {
	Current int64 // bytes, -1 when not known
	Limit   int64 // bytes, -1 is none

	// Since the last time. High counts reclaims because of memory.high, which
	// version 1 does not have; Max counts how often the limit was hit.
	OOMKills, High, Max int64
}

type memoryCounter struct {
	now   CgroupMemory // with absolute counters
	known bool
	delta CgroupMemory
}

// memory returns how a group stands.
func (c *groups) memory(g *group, v1 bool) CgroupMemory {
	if g.memRound == c.round {
		return g.memory.delta
	}
	g.memRound = c.round
	read := c.memoryV2
	if v1 {
		read = c.memoryV1
	}
	g.memory.step(read(g))
	return g.memory.delta
}

func (m *memoryCounter) step(now CgroupMemory, known bool) {
	m.delta = CgroupMemory{Current: now.Current, Limit: now.Limit}
	if known && m.known {
		m.delta.OOMKills = max(now.OOMKills-m.now.OOMKills, 0)
		m.delta.High = max(now.High-m.now.High, 0)
		m.delta.Max = max(now.Max-m.now.Max, 0)
	}
	m.now, m.known = now, known
}

func (c *groups) memoryV2(g *group) (m CgroupMemory, known bool) {
	m = CgroupMemory{Current: -1, Limit: -1}
	if b := c.read(g, "memory.max"); b != nil {
		m.Limit = number(b)
	}
	if b := c.read(g, "memory.current"); b != nil {
		m.Current = number(b)
	}
	b := c.read(g, "memory.events")
	for line := range bytes.Lines(b) {
		switch name, n := keyValue(line); string(name) {
		case "high":
			m.High = n
		case "max":
			m.Max = n
		case "oom_kill":
			m.OOMKills = n
		}
	}
	return m, b != nil
}

func (c *groups) memoryV1(g *group) (m CgroupMemory, known bool) {
	m = CgroupMemory{Current: -1, Limit: -1}
	if b := c.read(g, "memory.limit_in_bytes"); b != nil {
		m.Limit = number(b)
	}
	if b := c.read(g, "memory.usage_in_bytes"); b != nil {
		m.Current = number(b)
	}
	if b := c.read(g, "memory.failcnt"); b != nil {
		m.Max, known = number(b), true
	}
	for line := range bytes.Lines(c.read(g, "memory.oom_control")) {
		if name, n := keyValue(line); string(name) == "oom_kill" {
			m.OOMKills = n
		}
	}
	return m, known
}

// room is what the group may still take.
func (m CgroupMemory) room() int64 {
	if m.Limit < 0 || m.Current < 0 {
		return math.MaxInt64
	}
	return m.Limit - m.Current
}

// tightest returns the memory of the group of the chain with the least room;
// without any limit, that of the innermost.
func (c *groups) tightest(ch chain) CgroupMemory {
	best := CgroupMemory{Current: -1, Limit: -1}
	for _, dir := range ch.dirs {
		g := c.get(dir)
		if g == nil {
			continue
		}
		if m := c.memory(g, ch.v1); best.Current < 0 || m.room() < best.room() {
			best = m
		}
	}
	return best
}

// worst returns the throttling of the group of the chain that was held back
// longest. Groups around it that have a quota of their own are throttled
// apart, at the same time or not: the largest is a lower bound for all.
func (c *groups) worst(ch chain) throttled {
	var most throttled
	for _, dir := range ch.dirs {
		g := c.get(dir)
		if g == nil {
			continue
		}
		if t := c.throttled(g); t.ns > most.ns || t.ns == most.ns && t.periods > most.periods {
			most = t
		}
	}
	return most
}
