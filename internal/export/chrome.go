package export

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"ingero/internal/event"
	"ingero/internal/query"
)

// chrome encodes a timeline in Chrome's Trace Event Format, as JSON: begins (B),
// with the stack as a reference into a table at the end, and ends (E). Complete
// events (X) would be shorter, but readers add begin and duration up in floating
// point, and then calls that follow each other overlap. Times are µs, with ns as
// decimals, since the begin of the trace, because a unix time in µs leaves a
// double no room for ns.
type chrome struct {
	w       io.Writer
	failed  error
	from    int64
	line    []byte
	some    bool // that was written to the list of events
	stacks  *stacks
	nodes   map[stackNode]uint64
	frames  []stackNode // by id - 1
	facts   []arg
	pending []byte // what describes tracks, until the time is known
}

// stackNode is a function called from another one, 0 from none.
type stackNode struct {
	parent uint64
	name   string
}

func writeChrome(ctx context.Context, src query.Streamed, o *Options, w io.Writer) (Result, error) {
	c := &chrome{w: w, nodes: map[stackNode]uint64{}}
	c.stacks = newStacks(c.callstack)
	return timeline(ctx, src, o, c, c.stacks)
}

func (c *chrome) err() error { return c.failed }

func (c *chrome) write(b []byte) {
	if _, err := c.w.Write(b); err != nil && c.failed == nil {
		c.failed = err
	}
}

func (c *chrome) begin(from int64) {
	c.from = from
	b := append([]byte(nil), `{"displayTimeUnit":"ns","otherData":{"producer":"ingero","begin":`...)
	b = appendJSON(b, time.Unix(0, from).UTC().Format(time.RFC3339Nano))
	b = append(b, `,"begin_unix_ns":"`...)
	b = strconv.AppendInt(b, from, 10)
	b = append(b, "\"},\"traceEvents\":[\n"...)
	c.write(b)
	c.write(c.pending)
	c.pending = nil
}

func (c *chrome) end() error {
	c.write([]byte("\n],\"stackFrames\":{"))
	for i, f := range c.frames {
		b := c.line[:0]
		if i > 0 {
			b = append(b, ",\n"...)
		}
		b = strconv.AppendInt(append(b, '"'), int64(i)+1, 10)
		b = appendJSON(append(b, `":{"name":`...), f.name)
		if f.parent != 0 {
			b = strconv.AppendUint(append(b, `,"parent":"`...), f.parent, 10)
			b = append(b, '"')
		}
		c.line = append(b, '}')
		c.write(c.line)
	}
	c.write([]byte("}}\n"))
	return c.failed
}

// start begins a line: {"ph":"X","pid":1,"tid":1
func (c *chrome) start(phase string, t *track) {
	b := c.line[:0]
	if c.some {
		b = append(b, ",\n"...)
	}
	c.some = true
	b = append(append(append(b, `{"ph":"`...), phase...), `","pid":`...)
	b = strconv.AppendInt(b, int64(t.proc.number), 10)
	b = append(b, `,"tid":`...)
	c.line = strconv.AppendInt(b, int64(t.tid), 10)
}

// micros appends ns as µs, exactly.
func micros(b []byte, ns int64) []byte {
	if ns < 0 {
		b, ns = append(b, '-'), -ns
	}
	b = strconv.AppendInt(b, ns/1000, 10)
	if r := ns % 1000; r != 0 {
		b = append(b, '.', byte('0'+r/100), byte('0'+r/10%10), byte('0'+r%10))
	}
	return b
}

func (c *chrome) time(at int64) { c.line = micros(append(c.line, `,"ts":`...), at-c.from) }

func (c *chrome) named(name, category string, args []arg) {
	b := appendJSON(append(c.line, `,"name":`...), name)
	c.line = appendJSON(append(b, `,"cat":`...), category)
	c.args(args...)
}

func (c *chrome) args(args ...arg) {
	if len(args) == 0 {
		return
	}
	b := append(c.line, `,"args":{`...)
	for i := range args {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendJSON(b, args[i].name.String()), ':')
		switch a := &args[i]; a.kind {
		case argInt:
			b = strconv.AppendInt(b, a.num, 10)
		case argHex: // a double has no room for 64 bits
			b = strconv.AppendUint(append(b, `"0x`...), uint64(a.num), 16)
			b = append(b, '"')
		default:
			b = appendJSON(b, a.text)
		}
	}
	c.line = append(b, '}')
}

func (c *chrome) finish() {
	c.line = append(c.line, '}')
	c.write(c.line)
}

// close repeats the name, since speedscope goes by it, and tells what is known of
// the slice: at its begin speedscope would take that for a part of the name, and
// no two calls of a function would be the same.
func (c *chrome) close(t *track, s *slice) {
	c.start("E", t)
	c.time(s.end)
	c.line = appendJSON(append(c.line, `,"name":`...), s.name)
	c.facts = s.facts(c.facts[:0])
	if s.late {
		c.facts = append(c.facts, s.duration())
	}
	c.args(c.facts...)
	c.finish()
}

func (c *chrome) open(t *track, s *slice) {
	c.start("B", t)
	c.time(s.start)
	c.named(s.name, s.category, nil)
	if s.call && s.stored.Stack != 0 {
		if id := c.stacks.ids[s.stored.Stack]; id != 0 {
			c.line = strconv.AppendUint(append(c.line, `,"sf":"`...), id, 10)
			c.line = append(c.line, '"')
		}
	}
	c.finish()
	c.arrows(t, s.start, s.flows)
}

// colours are names of Chrome's trace viewer.
var colours = map[string]string{"HIGH": "terrible", "MEDIUM": "bad", "LOW": "good"}

func (c *chrome) instant(t *track, m *mark) {
	c.start("i", t)
	c.time(m.at)
	c.named(m.name, m.category, m.args)
	if colour := colours[m.severity]; colour != "" {
		c.line = append(append(append(c.line, `,"cname":"`...), colour...), '"')
	}
	// Arrows go to what is on a thread: a reader finds nothing there to bind them
	// to if the mark is the whole process's.
	c.line = append(c.line, `,"s":"t"`...)
	c.finish()
	c.arrows(t, m.at, m.flows)
}

func (c *chrome) arrows(t *track, at int64, flows []flow) {
	for _, f := range flows {
		c.start([...]string{"s", "t", "f"}[f.step], t)
		c.time(at)
		c.line = strconv.AppendUint(append(c.line, `,"id":`...), f.id, 10)
		c.named("because", "flow", nil)
		c.line = append(c.line, `,"bp":"e"`...)
		c.finish()
	}
}

func (c *chrome) counter(t *track, at int64, v float64) {
	c.start("C", t)
	c.time(at)
	unit := t.unit
	if unit == "" {
		unit = "value"
	}
	c.line = append(appendJSON(append(c.line, `,"name":`...), t.name), `,"args":{`...)
	c.line = append(appendJSON(c.line, unit), ':')
	if math.IsInf(v, 0) || math.IsNaN(v) {
		v = 0
	}
	c.line = append(strconv.AppendFloat(c.line, v, 'g', -1, 64), '}')
	c.finish()
}

// describe writes a metadata event.
func (c *chrome) describe(kind string, t *track, value string) {
	c.start("M", t)
	c.line = appendJSON(append(c.line, `,"name":`...), kind)
	c.line = appendJSON(append(c.line, `,"args":{"name":`...), value)
	c.line = append(c.line, "}}"...)
	if c.from == 0 {
		c.pending = append(c.pending, c.line...)
		return
	}
	c.write(c.line)
}

func (c *chrome) process(p *process) {
	c.describe("process_name", &track{proc: p, tid: p.number}, p.name)
}

func (c *chrome) track(t *track) {
	if t.kind != counterTrack {
		c.describe("thread_name", t, t.name)
	}
}

func (c *chrome) callstack(frames []event.Frame) (id uint64) {
	for i := len(frames) - 1; i >= 0; i-- {
		n := stackNode{id, frameLabel(&frames[i])}
		if id = c.nodes[n]; id == 0 {
			c.frames = append(c.frames, n)
			id = uint64(len(c.frames))
			c.nodes[n] = id
		}
	}
	return id
}

// appendJSON appends a text as JSON.
func appendJSON(b []byte, s string) []byte {
	for i := range len(s) {
		if ch := s[i]; ch < 0x20 || ch == '"' || ch == '\\' || ch >= utf8.RuneSelf {
			quoted, err := json.Marshal(s)
			if err != nil {
				return append(b, `""`...)
			}
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
