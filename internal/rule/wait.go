package rule

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// A thread that waits for another thread loses what the other one loses: the
// cause is what held that one up. Wakers are followed from thread to thread,
// as long as they belong to traced processes.

// maxFollow bounds the chain of wakers.
const maxFollow = 4

// waiting are the states that another thread ends.
var waiting = []event.State{event.Lock, event.Pipe, event.NetworkWait, event.Other, event.Child}

// threadKey names a thread of a traced process.
type threadKey struct{ pid, tid uint32 }

func (k threadKey) compare(o threadKey) int {
	return cmp.Or(cmp.Compare(k.pid, o.pid), cmp.Compare(k.tid, o.tid))
}

// book is what one thread did in one second.
type book struct {
	ns    [event.States]uint64
	waker map[event.State][]*stats.Pair
}

// booksOf returns what a thread did in a second, or around it: a wait is
// booked when it ends.
func (w *Window) booksOf(t threadKey, at int64) *book {
	p := w.process(t.pid)
	if p == nil {
		return nil
	}
	b := t.book(w.around(p, at, 0))
	if b == nil {
		b = t.book(w.around(p, at, reach))
	}
	return b
}

func (t threadKey) book(seconds []stats.Second) *book {
	b := &book{waker: map[event.State][]*stats.Pair{}}
	any := false
	for i := range seconds {
		s := &seconds[i]
		for k := range s.Ledger {
			if l := &s.Ledger[k]; l.TID == t.tid {
				any = true
				for state, ns := range l.NS {
					b.ns[state] += ns
				}
			}
		}
		for k := range s.Pairs {
			if x := &s.Pairs[k]; x.TID == t.tid && x.State != event.Runnable {
				b.waker[x.State] = append(b.waker[x.State], x)
			}
		}
	}
	if !any {
		return nil
	}
	return b
}

// reach is how many seconds before and after a second belong to its story.
const reach = 1

// around returns the seconds of a process near a second.
func (w *Window) around(p *stats.Process, at, reach int64) []stats.Second {
	lo, hi := 0, len(p.Seconds)
	for lo < hi && p.Seconds[lo].At < at-reach {
		n := (hi - lo) / 2
		if p.Seconds[lo+n].At < at-reach {
			lo += n + 1
		} else {
			hi = lo + n
		}
	}
	hi = lo
	for hi < len(p.Seconds) && p.Seconds[hi].At <= at+reach {
		hi++
	}
	return p.Seconds[lo:hi]
}

// chargeWaits says what the feeders' waits between calls were for.
func chargeWaits(j *job, s *slot) []charge {
	var out []charge
	for _, state := range waiting {
		ns := float64(s.cells[between][state].ns)
		if ns < 0.002*float64(s.wall) {
			continue
		}
		out = append(out, j.resolve(s, state, ns)...)
	}
	return out
}

// resolve divides a wait of the feeders by who ended it and what held that
// one up.
func (j *job) resolve(s *slot, state event.State, ns float64) []charge {
	wakers, sum := j.wakers(s.At, state, 0)
	if sum == 0 {
		wakers, sum = j.wakers(s.At, state, reach)
	}
	if sum == 0 {
		return j.unnamed(s, state, ns)
	}
	// What no waker is named for ended by itself: a timeout, or a reply that
	// an interrupt brought.
	var out []charge
	if rest := ns - sum; rest > 0.1*ns && !polled(s, state, wakers) {
		out = j.unnamed(s, state, rest)
		ns -= rest
	}
	for _, k := range slices.SortedFunc(maps.Keys(wakers), threadKey.compare) {
		c := j.follow(k, wakers[k].Comm, state, s.At, 0)
		if state == event.NetworkWait && c.rule == ruleNetwork && serves(s) {
			c.rule = waitWork
		}
		if c.rule == ruleNetwork && j.network(s) == ruleRetransmit {
			c = charge{rule: ruleRetransmit} // the peer on this machine lost it, too
		}
		c.ns = ns * float64(wakers[k].NS) / sum
		if c.rule < 0 {
			j.notLost(s, c.rule, c.ns)
			continue
		}
		out = append(out, c)
	}
	return out
}

// chance reports whether a waker was only there by chance, when an interrupt
// came: a lock is given up by a thread of the job, and whoever answers over
// the network on this machine does so again and again.
func (j *job) chance(p *stats.Pair) bool {
	return p.State == event.Lock && p.OtherPID != j.PID && j.window.process(p.OtherPID) == nil
}

// polled reports whether waits that ended by a timeout belong to those that a
// waker ended: whoever waits for Python's global lock asks again every 5 ms,
// and gets it soon after.
func polled(s *slot, state event.State, wakers map[threadKey]Culprit) bool {
	var named uint64
	for _, c := range wakers {
		named += c.times
	}
	return state == event.Lock && 10*named >= s.cells[between][state].count
}

// wakers adds up who ended the feeders' waits around a second.
func (j *job) wakers(at int64, state event.State, reach int64) (map[threadKey]Culprit, float64) {
	all, sum := map[threadKey]Culprit{}, 0.0
	for _, second := range j.window.around(j.Process, at, reach) {
		for i := range second.Pairs {
			p := &second.Pairs[i]
			if p.State != state || p.TID == 0 || !j.feeders[p.TID] || j.chance(p) {
				continue
			}
			k := threadKey{p.OtherPID, p.OtherTID}
			c := all[k]
			c.Comm, c.NS, c.times = p.OtherComm, c.NS+p.NS, c.times+p.Count
			all[k] = c
			sum += float64(p.NS)
		}
	}
	return all, sum
}

// Waits that are not lost: on other feeders of the same job, which lose the
// time themselves; and for work that comes from outside.
const (
	waitInner = -1 - iota
	waitWork
)

func (j *job) notLost(s *slot, why int, ns float64) {
	switch why {
	case waitInner:
		s.inner += ns
	case waitWork:
		s.given += ns
	}
}

// unnamed is a wait that no thread is known to have ended.
func (j *job) unnamed(s *slot, state event.State, ns float64) []charge {
	switch state {
	case event.NetworkWait:
		if serves(s) {
			s.given += ns
			return nil
		}
		return []charge{{rule: j.network(s), ns: ns}}
	default:
		s.given += ns // a timeout, or somebody outside: its own pace
	}
	return nil
}

// follow finds what held up a thread that others waited for.
func (j *job) follow(k threadKey, name string, state event.State, at int64, depth int) charge {
	culprit := Culprit{PID: k.pid, TID: k.tid, Comm: name}
	if k.pid == j.PID && j.feeders[k.tid] {
		return charge{rule: waitInner}
	}
	blame := ruleLock
	if state == event.NetworkWait {
		blame = ruleNetwork
	}
	b := j.window.booksOf(k, at)
	if b == nil {
		if state == event.Pipe || state == event.Other {
			return charge{rule: waitWork} // somebody outside feeds the job
		}
		return charge{rule: blame, culprit: culprit}
	}
	state, held := b.held(j)
	switch {
	case held == 0:
		return charge{rule: blame, culprit: culprit}
	case state == event.Disk:
		return charge{rule: ruleDisk, culprit: culprit}
	case state == event.Fault:
		return charge{rule: ruleFault, culprit: culprit}
	case state == event.Reclaim:
		return charge{rule: ruleReclaim, culprit: culprit}
	case state == event.NetworkWait && len(b.waker[state]) == 0:
		return charge{rule: ruleInput, culprit: culprit}
	case state == event.Runnable:
		if t := j.thiefOf(k.pid, at); t.PID != 0 {
			return charge{rule: ruleContention, culprit: t}
		}
		return charge{rule: ruleThrottled}
	case b.waker[state] != nil && depth < maxFollow:
		best := b.waker[state][0]
		for _, x := range b.waker[state] {
			if x.NS > best.NS {
				best = x
			}
		}
		next := threadKey{best.OtherPID, best.OtherTID}
		if next.pid == j.PID && j.feeders[next.tid] {
			return charge{rule: blame, culprit: culprit} // they wait for each other
		}
		c := j.follow(next, best.OtherComm, state, at, depth+1)
		if state == event.NetworkWait && c.rule == ruleNetwork {
			c.rule = ruleInput
		}
		return c
	}
	return charge{rule: blame, culprit: culprit}
}

// heldPart is the part of its busy time that must hold a thread up to be what
// those who wait for it wait for.
const heldPart = 5

// held returns the state that a thread spent most time in, of those that
// kept it from its work. Waiting for the feeders to take what it made does
// not count, nor does running: that is its work.
func (b *book) held(j *job) (event.State, uint64) {
	best, most := event.Running, uint64(0)
	for state := event.Runnable; state < event.States; state++ {
		ns := b.ns[state]
		for _, x := range b.waker[state] {
			if x.OtherPID == j.PID && j.feeders[x.OtherTID] {
				ns -= min(ns, x.NS)
			}
		}
		if ns > most {
			best, most = state, ns
		}
	}
	// A thread that hardly anything holds up is just slow, or sleeps by its own
	// choice.
	if most*heldPart < b.ns[event.Running]+most || best == event.Sleep {
		return best, 0
	}
	return best, most
}

// thiefOf is the worst foreign thief of a process around a second.
func (j *job) thiefOf(pid uint32, at int64) Culprit {
	p := j.window.process(pid)
	if p == nil {
		return Culprit{}
	}
	var best Culprit
	for _, s := range j.window.around(p, at, reach) {
		for _, x := range s.Pairs {
			if x.State == event.Runnable && x.TID == 0 && x.OtherPID != 0 && x.NS > best.NS {
				best = Culprit{PID: x.OtherPID, Comm: x.OtherComm, NS: x.NS}
			}
		}
	}
	return best
}

// retransmitNS is how long a connection stands still for a lost packet: TCP's
// smallest retransmission timeout (TCP_RTO_MIN, include/net/tcp.h).
const retransmitNS = 200e6

// network tells a wait for a peer from one for packets that were lost.
func (j *job) network(s *slot) int {
	if c := s.host[event.MakeOp(event.TCP, 1)]; c != nil {
		if waited := float64(s.at(event.NetworkWait)); retransmitNS*float64(c.Hist.Count()) >= 0.3*waited {
			return ruleRetransmit
		}
	}
	return ruleNetwork
}

func tellLock(j *job, f *Finding) {
	f.Summary = fmt.Sprintf("%s waited for %s: %s lost", f.Process.Comm, f.culpritName("another thread"), f.lost())
	if len(f.Culprits) > 0 {
		c := f.Culprits[0]
		f.Fixes = []Fix{{
			Text:    "See what that thread does while it is waited for; hold the lock shorter, or give it more workers (data loader: num_workers, prefetch_factor)",
			Command: fmt.Sprintf("cat /proc/%d/task/%d/stack /proc/%d/task/%d/wchan", c.PID, c.TID, c.PID, c.TID),
		}}
	}
}

func tellNetwork(j *job, f *Finding) {
	f.Summary = fmt.Sprintf("%s waited for the network (%s): %s lost", f.Process.Comm, f.culpritName("a remote peer"), f.lost())
	f.Fixes = []Fix{{
		Text:    "Find the peer of the slow connection (high rtt, unacked or data waiting), and look there",
		Command: fmt.Sprintf("ss -tnpi | grep -A1 pid=%d,", f.Process.PID),
	}}
}

// serves reports whether the process mostly receives on connections that
// others opened: then it waits for requests, not for answers.
func serves(s *slot) bool {
	all, requests := s.host[event.MakeOp(event.Net, 2)], s.host[event.MakeOp(event.Net, 3)]
	return all != nil && requests != nil && 2*requests.Hist.Sum() > all.Hist.Sum()
}

// tellInput is about work or data that comes in through another thread: a
// server that has few requests looks the same as a loader with a slow peer.
func tellInput(j *job, f *Finding) {
	f.Summary = fmt.Sprintf("%s had to wait for what comes in over the network (through %s): %s", f.Process.Comm, f.culpritName("another thread"), f.lost())
	f.Fixes = []Fix{{Text: "If it serves requests, there were few of them. If it loads data, look at the peer it comes from", Command: fmt.Sprintf("ss -tnpi | grep -A1 pid=%d,", f.Process.PID)}}
	f.limit(Low, "it may be that there was nothing to do")
}

func tellRetransmit(j *job, f *Finding) {
	f.Summary = fmt.Sprintf("packets of %s are lost on the network and sent again: %s lost", f.Process.Comm, f.lost())
	f.Fixes = []Fix{{
		Text:    "Look for the drops: retrans in ss, errors of the interface, the switch port",
		Command: fmt.Sprintf("ss -tnpi | grep -A1 pid=%d,; ip -s link; nstat -az TcpRetransSegs TcpExtTCPTimeouts", f.Process.PID),
	}}
}
