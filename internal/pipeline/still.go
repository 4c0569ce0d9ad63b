package pipeline

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// Still is what a Window held at one moment. It does not change any more, and
// can be looked at in any way for as long as one likes.
type Still struct {
	at        int64 // unix s
	wall      time.Duration
	total     []stats.Calls
	recent    [recentSeconds][]stats.Calls
	stamp     [recentSeconds]int64
	procs     map[uint32]Process
	processes []Process // that made calls and live, by PID
	ended     int
	snapshot  event.Snapshot
	books     books
	dropped   uint64
}

// Still returns the state now.
func (w *Window) Still() *Still {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &Still{
		at: w.now().Unix(), wall: w.wall(), recent: w.recent, stamp: w.stamp, procs: maps.Clone(w.procs), ended: w.ended,
		snapshot: w.snapshot, books: w.books, dropped: w.dropped,
	}
	for _, process := range w.total {
		for _, t := range process {
			c, h := *t, t.Hist.Clone()
			c.Hist = &h
			s.total = append(s.total, c)
		}
	}
	for _, pid := range slices.Sorted(maps.Keys(w.procs)) {
		if w.callers[pid] { // not a shell on the way to the job, a helper
			s.processes = append(s.processes, w.procs[pid])
		}
	}
	return s
}

// Look is what to look at.
type Look struct {
	// Seconds is how far back distributions and the ledger reach, at most a
	// minute; 0 is since the start (of the ledger: the last minute).
	Seconds int
	// PerProcess makes a row for each operation of each process.
	PerProcess bool
	// Wanted picks rows by operation and process; nil takes all. A process
	// that has ended is empty but for its name.
	Wanted func(op event.Op, p event.Process) bool
}

// Ended is the name that processes have together that have ended.
const Ended = "(ended)"

// OpView is one row of the live view.
type OpView struct {
	stats.Calls                  // since the start
	Comm        string           // of the process, if each has its own rows
	Recent      *stats.Histogram // of the seconds looked at; empty if there was no call
	Wall        float64          // share of the wall time of these seconds, all threads added up
}

// HostView counts one kind of host event since the start.
type HostView struct {
	Op    event.Op
	PID   uint32
	Comm  string // of the process, if each has its own rows
	Count uint64
	Bytes uint64
	Hist  *stats.Histogram // how long they took, if they take time
}

// View is what the live view shows at one moment.
type View struct {
	Ops       []OpView // busiest first
	Host      []HostView
	Processes []Process // that made calls and live, by PID
	Ended     int
	Snapshot  event.Snapshot
	Feeders   []Feeder // where their time went in the last seconds, busiest first
	Calls     uint64   // these three: of all rows, wanted or not
	Recorded  uint64
	Lost      uint64
}

// View returns the state now, with distributions since the start.
func (w *Window) View() View { return w.Still().View(Look{}) }

// spot is where a row adds up.
type spot struct {
	pid uint32
	op  event.Op
}

// View looks at the moment.
func (s *Still) View(look Look) View {
	v := View{Processes: s.processes, Ended: s.ended, Snapshot: s.snapshot, Lost: s.dropped}
	span := int64(look.Seconds)
	if span <= 0 || span > recentSeconds {
		span = recentSeconds
	}
	from := s.at - span // the second that goes on is not complete
	v.Feeders = s.books.view(from)
	all := map[spot]*stats.Calls{}
	for i := range s.total {
		c := &s.total[i]
		v.Lost += c.Lost
		if c.Op.IsCall() {
			v.Calls += c.Hist.Count()
			v.Recorded += c.Recorded
		}
		at, wanted := s.row(look, c)
		if !wanted {
			continue
		}
		if all[at] == nil {
			all[at] = &stats.Calls{PID: at.pid, Op: c.Op, Hist: &stats.Histogram{}}
		}
		all[at].Add(c)
	}
	recent, wall := map[spot]*stats.Histogram(nil), s.wall
	if look.Seconds > 0 {
		recent, wall = s.since(look, from), min(wall, time.Duration(span)*time.Second)
	}
	for at, t := range all {
		comm := ""
		if look.PerProcess {
			comm = s.process(at.pid).Comm
		}
		if !t.Op.IsCall() {
			v.Host = append(v.Host, HostView{t.Op, at.pid, comm, t.Hist.Count(), t.Bytes, t.Hist})
			continue
		}
		row := OpView{Calls: *t, Comm: comm, Recent: t.Hist}
		if look.Seconds > 0 {
			if row.Recent = recent[at]; row.Recent == nil {
				row.Recent = &stats.Histogram{}
			}
		}
		row.Wall = float64(row.Recent.Sum()) / float64(max(wall, 1))
		v.Ops = append(v.Ops, row)
	}
	slices.SortFunc(v.Ops, func(a, b OpView) int {
		return cmp.Or(cmp.Compare(b.Hist.Count(), a.Hist.Count()), cmp.Compare(a.Op, b.Op), cmp.Compare(a.PID, b.PID))
	})
	slices.SortFunc(v.Host, func(a, b HostView) int { return cmp.Or(cmp.Compare(a.Op, b.Op), cmp.Compare(a.PID, b.PID)) })
	return v
}

// since adds up the seconds from the given one on.
func (s *Still) since(look Look, second int64) map[spot]*stats.Histogram {
	sums := map[spot]*stats.Histogram{}
	for k := range s.recent {
		if s.stamp[k] == 0 || s.stamp[k] < second {
			continue
		}
		for i := range s.recent[k] {
			c := &s.recent[k][i]
			at, wanted := s.row(look, c)
			if !wanted || !c.Op.IsCall() {
				continue
			}
			if sums[at] == nil {
				sums[at] = &stats.Histogram{}
			}
			sums[at].Merge(c.Hist)
		}
	}
	return sums
}

// row says which row counts belong to, and whether it is wanted.
func (s *Still) row(look Look, c *stats.Calls) (spot, bool) {
	p := s.process(c.PID)
	if look.Wanted != nil && !look.Wanted(c.Op, p) {
		return spot{}, false
	}
	if !look.PerProcess {
		p.PID = others
	}
	return spot{p.PID, c.Op}, true
}

// process returns a process that lives, or what stands for all others.
func (s *Still) process(pid uint32) event.Process {
	if p, ok := s.procs[pid]; ok {
		return p.Process
	}
	return event.Process{PID: others, Comm: Ended}
}
