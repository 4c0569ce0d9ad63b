package main

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"sort"
	"time"
)

// The job's own account of its progress, which it logs every 100 ms. What a
// fault costs is defined here and nowhere else:
//
//	lost = time of the fault − steps done in it × healthy time of a step
//
// summed over the processes of the job.
type progress []mark

type mark struct {
	at    time.Time
	steps float64
}

// jobLog is the progress of each process.
type jobLog map[int]progress

// settle is how long a job takes to run evenly.
const settle = time.Second

// period is when things happened: the job ran from start to end, with the
// fault from from to to. reference is the healthy ns of a step of the i-th
// process, if it was measured in another run.
type period struct {
	start, from, to, end time.Time
	reference            map[int]float64
}

func readLog(path string) (jobLog, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the job's log: %w", err)
	}
	all := jobLog{}
	for in := bufio.NewScanner(bytes.NewReader(b)); in.Scan(); {
		var pid int
		var ns, steps int64
		if _, err := fmt.Sscan(in.Text(), &pid, &ns, &steps); err != nil {
			return nil, fmt.Errorf("read the job's log: %q: %w", in.Text(), err)
		}
		all[pid] = append(all[pid], mark{time.Unix(0, ns), float64(steps)})
	}
	return all, nil
}

func (l jobLog) pids() []int { return slices.Sorted(maps.Keys(l)) }

// at returns the steps done at a time, between two marks in proportion.
func (p progress) at(t time.Time) float64 {
	i := sort.Search(len(p), func(i int) bool { return !p[i].at.Before(t) })
	switch {
	case len(p) == 0 || i == 0:
		return 0
	case i == len(p):
		return p[i-1].steps
	}
	a, b := p[i-1], p[i]
	return a.steps + (b.steps-a.steps)*t.Sub(a.at).Seconds()/b.at.Sub(a.at).Seconds()
}

// pace returns the ns of a step between two times, 0 if there was none.
func (p progress) pace(from, to time.Time) float64 {
	steps := p.at(to) - p.at(from)
	if steps <= 0 {
		return 0
	}
	return float64(to.Sub(from)) / steps
}

func (l jobLog) lost(p period) time.Duration {
	var sum time.Duration
	for i, pid := range l.pids() {
		pace := p.reference[i]
		if pace == 0 {
			pace = l[pid].pace(p.start.Add(settle), p.from)
		}
		if pace == 0 {
			continue
		}
		steps := l[pid].at(p.to) - l[pid].at(p.from)
		sum += p.to.Sub(p.from) - time.Duration(steps*pace)
	}
	return sum
}
