package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"math"
	"slices"
	"sync"
	"time"

	"ingero/internal/event"
	"ingero/internal/pipeline"
	"ingero/internal/proc"
	"ingero/internal/query"
	"ingero/internal/rule"
	"ingero/internal/store"
)

// analyst judges once a second what the traced processes did, says when a
// finding begins and ends, and hands incidents to the recorder. It is a Sink.
type analyst struct {
	t       *tracer
	history *pipeline.History
	placer  proc.Placer
	places  map[uint32]store.Place // of thieves
	next    time.Time              // not before: judging must stay cheap

	mu        sync.Mutex
	incidents []*incident   // that go on, or ended a moment ago
	past      []query.Chain // that ended before, oldest first
	fresh     []store.Chain
	placed    []store.Place
}

// incident is a finding as long as it is seen. Its identity is what was first
// seen of it: later seconds may move its beginning.
type incident struct {
	chain query.Chain
	told  bool // as begun
	over  bool // told as ended, or never told
	seen  bool // in the last judgement
}

func newAnalyst(t *tracer) *analyst {
	return &analyst{t: t, history: pipeline.NewHistory(), places: map[uint32]store.Place{}}
}

// Take adds a batch and judges, if a second is complete.
func (a *analyst) Take(b *pipeline.Batch) error {
	if err := a.history.Take(b); err != nil {
		return err
	}
	if len(b.Ledger) == 0 && !b.Last {
		return nil
	}
	a.place(b)
	now := time.Now()
	if now.Before(a.next) && !b.Last {
		return nil
	}
	if err := a.judge(b.Last); err != nil {
		return err
	}
	a.next = now.Add(20 * time.Since(now)) // at most 5 % of a core
	return nil
}

// thiefNS is what a process must have taken in a second for us to look where
// it runs.
const thiefNS = 5_000_000

// place looks up where thieves run, while they live.
func (a *analyst) place(b *pipeline.Batch) {
	for _, p := range b.Pairs {
		if p.State != event.Runnable || p.TID != 0 || p.OtherPID == 0 || p.NS < thiefNS {
			continue
		}
		x, ok := a.placer.Place(p.OtherPID, p.OtherComm)
		if !ok {
			continue
		}
		s := store.Place{PID: p.OtherPID, Comm: p.OtherComm, Cgroup: x.Cgroup, Container: x.Container}
		if a.places[p.OtherPID] == s {
			continue
		}
		if len(a.places) > 4096 {
			clear(a.places)
		}
		a.places[p.OtherPID] = s
		a.mu.Lock()
		a.placed = append(a.placed, s)
		a.mu.Unlock()
	}
}

func (a *analyst) judge(last bool) error {
	w := rule.Window{
		Processes: a.history.Processes(), GPU: a.history.GPUs(), To: a.history.Newest() + 1,
		Place: func(pid uint32) (string, string) { return a.places[pid].Cgroup, a.places[pid].Container },
	}
	for i := range w.Processes {
		w.Processes[i].Node = a.t.plan.node
	}
	chains, _, err := query.Judge(context.Background(), w, recent{a.history, a.t.stacks, a.t.plan.node}, nil)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.follow(chains, time.Unix(w.To, 0), last)
	return nil
}

// endAfter is how long a finding must be gone to be called ended.
const endAfter = 3 * time.Second

// follow matches what is found now with what was found before.
func (a *analyst) follow(chains []query.Chain, now time.Time, last bool) {
	for _, x := range a.incidents {
		x.seen = false
	}
	for _, c := range chains {
		x := a.known(c)
		if x == nil {
			x = &incident{}
			a.incidents = append(a.incidents, x)
		} else {
			c.ID = x.chain.ID
		}
		if c.Ended != nil && now.Sub(*c.Ended) < endAfter && !last {
			c.Ended, c.Ongoing = nil, true // it may yet go on
		}
		changed := c.Impact != x.chain.Impact || c.Ongoing != x.chain.Ongoing
		x.chain, x.seen = c, true
		if changed {
			a.fresh = append(a.fresh, storedChain(c))
			a.t.meters.finding(c)
		}
		a.tell(x)
	}
	a.incidents = slices.DeleteFunc(a.incidents, func(x *incident) bool {
		if x.seen {
			return false
		}
		if x.chain.Ongoing { // more data, and it turned out to be something else
			x.chain.Ongoing, x.chain.Ended = false, &now
			a.fresh = append(a.fresh, storedChain(x.chain))
			a.t.meters.finding(x.chain)
			a.tell(x)
		}
		a.past = append(a.past, x.chain)
		return true
	})
	if n := len(a.past) - pastFindings; n > 0 {
		a.past = slices.Delete(a.past, 0, n)
	}
}

// pastFindings is how many findings that ended the live screen can still show;
// the database has them all.
const pastFindings = 200

// known finds the incident that a chain tells more of.
func (a *analyst) known(c query.Chain) *incident {
	for _, x := range a.incidents {
		if x.seen || !sameCause(&x.chain, &c) {
			continue
		}
		if x.chain.ID == c.ID || ((x.chain.Ended == nil || !c.Started.After(x.chain.Ended.Add(endAfter))) &&
			(c.Ended == nil || !x.chain.Started.After(c.Ended.Add(endAfter)))) {
			return x
		}
	}
	return nil
}

// sameCause reports whether two chains may tell of one incident. What a job
// does to itself is another incident than what others do to it.
func sameCause(a, b *query.Chain) bool {
	own := func(c *query.Chain) bool {
		return len(c.Cause.Culprits) > 0 && c.Cause.Culprits[0].PID == c.PID
	}
	return a.PID == b.PID && a.Cause.Kind == b.Cause.Kind && own(a) == own(b)
}

// tell says that a finding began or ended; the live screen shows it anyway.
func (a *analyst) tell(x *incident) {
	c := &x.chain
	if !x.told && c.Severity != string(rule.Low) && !x.over {
		x.told = true
		a.t.status.say("finding: %s %s PID %d (%s): %s", c.Severity, c.Cause.Kind, c.PID, printable(c.Comm), printable(c.Cause.Summary))
	}
	if !c.Ongoing && !x.over {
		x.over = true
		if x.told {
			a.t.status.say("finding ended: %s PID %d (%s)", c.Cause.Kind, c.PID, printable(c.Comm))
		}
	}
}

// findings are the chains of this trace: those that go on, then those that
// ended; the most harmful first.
func (a *analyst) findings() []query.Chain {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := slices.Clone(a.past)
	for _, x := range a.incidents {
		out = append(out, x.chain)
	}
	ended := func(c query.Chain) int {
		if c.Ended != nil {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(out, func(x, y query.Chain) int {
		return cmp.Or(cmp.Compare(ended(x), ended(y)), cmp.Compare(y.Impact.Lost, x.Impact.Lost))
	})
	return out
}

// latest leaves out findings that ended more than a minute before now.
func latest(chains []query.Chain, now time.Time) []query.Chain {
	var out []query.Chain
	for _, c := range chains {
		if c.Ended == nil || now.Sub(*c.Ended) < time.Minute {
			out = append(out, c)
		}
	}
	return out
}

// take hands over what is new for the database.
func (a *analyst) take() ([]store.Chain, []store.Place) {
	a.mu.Lock()
	defer a.mu.Unlock()
	chains, places := a.fresh, a.placed
	a.fresh, a.placed = nil, nil
	return chains, places
}

// storedChain is a chain as the database keeps it.
func storedChain(c query.Chain) store.Chain {
	s := store.Chain{
		ID: c.ID, Node: c.Node, Kind: c.Cause.Kind, Severity: c.Severity, PID: c.PID, Started: c.Started.UnixNano(),
		Summary: c.Cause.Summary, RootCause: c.Cause.Summary, Explanation: c.Cause.Summary, Op: c.Symptom.Op,
		P50: c.Symptom.P50 / 1000, P99: c.Symptom.P99 / 1000, LostNS: c.Impact.Lost, Share: c.Impact.Share,
	}
	if c.Ended != nil {
		s.Ended = c.Ended.UnixNano()
	}
	if c.Symptom.P50 > 0 {
		s.TailRatio = float64(c.Symptom.P99) / float64(c.Symptom.P50)
	}
	for _, f := range c.Fixes {
		text := f.Text
		if f.Command != "" {
			text += ": " + f.Command
		}
		s.Recommendations = append(s.Recommendations, text)
	}
	if len(c.Cause.Culprits) > 0 {
		s.CulpritPID, s.Culprit = c.Cause.Culprits[0].PID, c.Cause.Culprits[0].Comm
	}
	timeline, err := json.Marshal(c.Timeline)
	if err == nil {
		s.Timeline = string(timeline)
	}
	if detail, err := json.Marshal(c); err == nil {
		s.Detail = detail
	}
	return s
}

// recent answers from memory what timelines are made of.
type recent struct {
	history *pipeline.History
	stacks  *pipeline.Stacks
	node    string
}

func (r recent) Snapshots(_ context.Context, f store.Filter) ([]event.Snapshot, error) {
	return r.history.Snapshots(f.From, f.To), nil
}

func (r recent) Slowest(_ context.Context, f store.Filter, limit int) ([]store.Stored, error) {
	if len(f.PIDs) != 1 || len(f.Ops) != 1 {
		return nil, nil
	}
	var out []store.Stored
	for _, e := range r.history.Slowest(f.PIDs[0], f.Ops[0], f.From, f.To, limit) {
		out = append(out, store.Stored{Event: e, Node: r.node})
	}
	return out, nil
}

// StackTimes rests on the slowest event of each second.
func (r recent) StackTimes(_ context.Context, f store.Filter) ([]store.StackTime, error) {
	if len(f.PIDs) != 1 || len(f.Ops) != 1 {
		return nil, nil
	}
	var sums []store.StackTime
	for _, e := range r.history.Slowest(f.PIDs[0], f.Ops[0], f.From, f.To, math.MaxInt) {
		k := slices.IndexFunc(sums, func(t store.StackTime) bool { return t.Stack == e.Stack })
		if k < 0 {
			k = len(sums)
			sums = append(sums, store.StackTime{Op: e.Op, PID: e.PID, Stack: e.Stack})
		}
		sums[k].Add(&e)
	}
	store.SortStackTimes(sums)
	return sums, nil
}

func (r recent) Stacks(_ context.Context, hashes []uint64) (map[uint64][]event.Frame, error) {
	return r.stacks.Known(hashes), nil
}
