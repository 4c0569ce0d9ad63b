package probe

import (
	"cmp"
	"errors"
	"slices"

	"github.com/cilium/ebpf"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// since returns what was added to a pair since the last drain.
func (p *Probe) since(seen map[any]bool, key any, ns, n uint64) (uint64, uint64) {
	was := p.pairs[key]
	p.pairs[key] = [2]uint64{ns, n}
	seen[key] = true
	if ns < was[0] || n < was[1] {
		was = [2]uint64{} // the kernel forgot it meanwhile and began anew
	}
	return ns - was[0], n - was[1]
}

// DrainPairs calls f for every thief, waker and rival since the last time.
func (p *Probe) DrainPairs(f func(stats.Pair)) error {
	seen := map[any]bool{}
	err := errors.Join(p.drainThieves(seen, f), p.drainWakers(seen, f), p.drainRivals(seen, f))
	for key := range p.pairs {
		if !seen[key] {
			delete(p.pairs, key)
		}
	}
	return err
}

func (p *Probe) drainThieves(seen map[any]bool, f func(stats.Pair)) error {
	var key bpfPairKey
	var pair bpfPair
	all := p.objs.Thieves.Iterate()
	for all.Next(&key, &pair) {
		if ns, n := p.since(seen, key, pair.Ns, pair.Count); n > 0 && key.Victim != ourselves {
			f(stats.Pair{PID: key.Victim, State: event.Runnable, OtherPID: key.Other, OtherComm: p.comm(&pair.Comm), NS: ns, Count: n})
		}
	}
	return whole(all)
}

func (p *Probe) drainWakers(seen map[any]bool, f func(stats.Pair)) error {
	var key bpfWakerKey
	var pair bpfPair
	all := p.objs.Wakers.Iterate()
	for all.Next(&key, &pair) {
		if ns, n := p.since(seen, key, pair.Ns, pair.Count); n > 0 && key.Tgid != ourselves {
			f(stats.Pair{
				PID: key.Tgid, TID: key.Tid, State: event.State(key.State), OtherPID: key.OtherTgid, OtherTID: key.OtherTid,
				OtherComm: p.comm(&pair.Comm), NS: ns, Count: n,
			})
		}
	}
	return whole(all)
}

// whole returns the error of an iteration, except that the map changed under
// our hands: the rest comes next second.
func whole(all *ebpf.MapIterator) error {
	if err := all.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return err
	}
	return nil
}

// maxRivals bounds how many rivals of one process are told, the worst first.
const maxRivals = 16

// drainRivals tells each traced process that used a block device who else did.
func (p *Probe) drainRivals(seen map[any]bool, f func(stats.Pair)) error {
	type use struct {
		pid   uint32
		comm  string
		ns, n uint64
	}
	var key bpfRivalKey
	var rival bpfRival
	devices := map[uint32][]use{}
	all := p.objs.Rivals.Iterate()
	for all.Next(&key, &rival) {
		if ns, n := p.since(seen, key, rival.Ns, rival.Count); n > 0 {
			comm := "kernel"
			if key.Tgid != 0 {
				comm = p.comm(&rival.Comm)
			}
			devices[key.Dev] = append(devices[key.Dev], use{key.Tgid, comm, ns, n})
		}
	}
	for _, users := range devices {
		slices.SortFunc(users, func(a, b use) int { return cmp.Or(cmp.Compare(b.ns, a.ns), cmp.Compare(a.pid, b.pid)) })
		for _, victim := range users {
			if victim.pid == 0 || !p.Traced(int(victim.pid)) {
				continue
			}
			for _, u := range users[:min(len(users), maxRivals+1)] {
				if u.pid != victim.pid {
					f(stats.Pair{PID: victim.pid, State: event.Disk, OtherPID: u.pid, OtherComm: u.comm, NS: u.ns, Count: u.n})
				}
			}
		}
	}
	return whole(all)
}
