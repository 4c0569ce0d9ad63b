package metric

import (
	"runtime"
	"sync"
	"time"

	"ingero/internal/event"
	"ingero/internal/pipeline"
)

// Options is what a Collector cannot learn from batches.
type Options struct {
	Node    string // name of this machine in the data
	Version string
	Commit  string
	Kinds   []string // of findings: all are counted from the start, as 0
	// Self says how the agent does; it is called at each Snapshot.
	Self func() Self
	Now  func() time.Time
}

// Self is what the agent knows of itself. What is negative is not known.
type Self struct {
	CallProbes, HostProbes int
	Gaps                   int           // things that could not be traced
	Call, Stack            time.Duration // what probes add to a call, and its stack to one that is recorded
	Overhead               float64       // share of the time of the threads that make calls
	Database               int64         // bytes of the files; negative also if nothing is recorded
	User, System           time.Duration // CPU time
	Memory                 int64         // resident bytes
	Read, Written          int64         // bytes from and to block devices
}

// Collector adds up what the pipeline carries, from its start on. It is a
// pipeline.Sink and a Source. It keeps totals only: so much for each
// operation of a process, whatever the rate of calls.
type Collector struct {
	opts  Options
	start time.Time

	mu       sync.Mutex
	books    books
	events   map[event.Op]*eventCount
	system   event.Snapshot
	gpus     map[int]event.GPUSample
	findings findings
}

// eventCount is what became of the events of one operation.
type eventCount struct {
	recorded uint64
	ring     uint64 // lost: the ring was full
	queue    uint64 // lost: the queue of the database was full
}

// NewCollector returns a collector whose sums start now.
func NewCollector(o Options) *Collector {
	return &Collector{
		opts: o, start: o.Now(), books: newBooks(o.Now), events: map[event.Op]*eventCount{}, gpus: map[int]event.GPUSample{},
		findings: newFindings(o.Kinds),
	}
}

// Take adds a batch.
func (c *Collector) Take(b *pipeline.Batch) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.books.take(b)
	for i := range b.Calls {
		x := &b.Calls[i]
		if x.Recorded+x.Lost > 0 {
			n := c.event(x.Op)
			n.recorded += x.Recorded
			n.ring += x.Lost
		}
	}
	for op, n := range b.Dropped {
		c.event(op).queue += n
	}
	for _, g := range b.GPU {
		c.gpus[g.GPU] = g
	}
	return nil
}

func (c *Collector) event(op event.Op) *eventCount {
	n := c.events[op]
	if n == nil {
		n = &eventCount{}
		c.events[op] = n
	}
	return n
}

// Drop counts events that the queue of the database had no room for.
func (c *Collector) Drop(events map[event.Op]uint64) {
	if len(events) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for op, n := range events {
		c.event(op).queue += n
	}
}

// System takes the state of the machine, every second: batches have only
// those that are worth being recorded.
func (c *Collector) System(s event.Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.system = s
}

// Snapshot returns what is known now.
func (c *Collector) Snapshot() Snapshot {
	v := c.view()
	s := Snapshot{Resource: c.resource(), Start: c.start, Time: v.now, Metrics: make([]Metric, 0, len(table))}
	for _, r := range table {
		m := r.Metric
		if m.Points = r.points(v); len(m.Points) > 0 {
			s.Metrics = append(s.Metrics, m)
		}
	}
	return s
}

// resource says who measured, by the semantic conventions.
func (c *Collector) resource() []Attr {
	return []Attr{
		{"host.arch", runtime.GOARCH},
		{"host.name", clean(c.opts.Node)},
		{"os.type", "linux"},
		{"service.instance.id", clean(c.opts.Node)},
		{"service.name", "ingero"},
		{"service.version", clean(c.opts.Version)},
	}
}

// Logs returns the findings since cursor.
func (c *Collector) Logs(cursor uint64) (logs []Log, next, forgotten uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.findings.since(cursor)
}

// Finding takes what is known of a finding now. It may be told again as often
// as one likes; only news become logs.
func (c *Collector) Finding(f Finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.findings.take(f, c.opts.Now())
}
