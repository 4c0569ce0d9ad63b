package scenario

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// lines are those that speak of a second.
var lines = map[string]func(p *parser, at int64, w *words){
	"ledger": (*parser).ledger,
	"calls":  (*parser).calls,
	"count":  (*parser).count,
	"thief":  func(p *parser, at int64, w *words) { p.other(at, w, event.Runnable) },
	"rival":  func(p *parser, at int64, w *words) { p.other(at, w, event.Disk) },
	"waker":  (*parser).waker,
	"event":  (*parser).event,
	"system": (*parser).system,
	"gpu":    (*parser).gpu,
}

// longest is how long an interval of the ledger is at most.
const longest = 4e6

func (p *parser) ledger(at int64, w *words) {
	l := stats.Ledger{PID: p.pid(), TID: uint32(w.number())}
	if w.more() && w.all[0] == "between" {
		w.next()
	} else {
		l.Place = w.op()
	}
	for w.more() {
		state := w.state()
		l.NS[state] = w.time()
		l.Max[state], l.Count[state] = min(l.NS[state], longest), l.NS[state]/longest+1
	}
	s := p.second(at)
	s.Ledger = append(s.Ledger, l)
}

func (p *parser) gpu(at int64, w *words) {
	g := event.GPUSample{Time: at * 1e9, GPU: int(w.number()), SMClock: -1}
	for w.more() {
		switch key := w.next(); key {
		case "clock":
			g.SMClock = float64(w.number())
		case "throttle":
			g.Throttle = w.next()
		case "process":
			g.Procs = append(g.Procs, event.GPUProc{PID: uint32(w.number()), Name: w.next(), Mem: -1})
		default:
			w.fail("unknown word %q", key)
		}
	}
	p.s.GPU = append(p.s.GPU, g)
}

func (p *parser) calls(at int64, w *words) {
	c := stats.Calls{PID: p.pid(), Op: w.op(), Hist: &stats.Histogram{}}
	n := w.number()
	w.word("each")
	p.fill(at, w, c, n, w.time())
}

func (p *parser) count(at int64, w *words) {
	c := stats.Calls{PID: p.pid(), Op: w.op(), Hist: &stats.Histogram{}}
	n, each := w.number(), uint64(0)
	if w.more() && w.all[0] != "bytes" {
		each = w.time() / max(n, 1)
	}
	p.fill(at, w, c, n, each)
}

func (p *parser) fill(at int64, w *words, c stats.Calls, n, each uint64) {
	c.Hist.AddBucket(stats.Bucket(each), n)
	c.Hist.AddSum(each*n, each)
	for w.more() {
		switch what := w.next(); what {
		case "bytes":
			c.Bytes = w.number()
		case "slowest":
			c.Hist.Add(w.time())
		case "nested":
			c.Nested = w.number()
		default:
			w.fail("no %s", what)
		}
	}
	s := p.second(at)
	for i := range s.Calls {
		if s.Calls[i].Op == c.Op {
			s.Calls[i].Add(&c)
			return
		}
	}
	s.Calls = append(s.Calls, c)
}

// other is a thief or a rival.
func (p *parser) other(at int64, w *words, state event.State) {
	x := stats.Pair{PID: p.pid(), State: state, OtherPID: uint32(w.number()), OtherComm: w.next(), NS: w.time()}
	w.word("in")
	x.Count = w.number()
	s := p.second(at)
	s.Pairs = append(s.Pairs, x)
}

func (p *parser) waker(at int64, w *words) {
	x := stats.Pair{PID: p.pid(), TID: uint32(w.number()), State: w.state()}
	pid, tid, _ := strings.Cut(w.next(), "/")
	who := &words{all: []string{pid, tid}}
	x.OtherPID, x.OtherTID = uint32(who.number()), uint32(who.number())
	if who.err != nil {
		w.fail("a waker is PID/TID: %w", who.err)
	}
	x.OtherComm, x.NS = w.next(), w.time()
	w.word("in")
	x.Count = w.number()
	s := p.second(at)
	s.Pairs = append(s.Pairs, x)
}

func (p *parser) event(at int64, w *words) {
	q := &p.s.Processes[p.process]
	e := event.Event{Op: w.op(), PID: q.PID, TID: uint32(w.number()), Comm: q.Comm, Rank: q.Rank, Dur: int64(w.time())}
	w.word("at")
	e.Start = at*1e9 + int64(w.time())
	for w.more() {
		switch what := w.next(); what {
		case "runnable":
			e.Runnable = int64(w.time())
		case "blocked":
			e.Blocked = int64(w.time())
		case "bytes":
			e.Bytes = w.number()
		case "stack":
			name := w.next()
			if e.Stack = p.stacks[name]; e.Stack == 0 {
				w.fail("no stack %s above", name)
			}
		default:
			w.fail("no %s", what)
		}
	}
	p.s.Events = append(p.s.Events, e)
	s := p.second(at)
	for i := range s.Calls {
		if c := &s.Calls[i]; c.Op == e.Op {
			c.Recorded++
			break
		}
	}
	for i := range s.Ledger { // its wait was one interval
		if l := &s.Ledger[i]; l.Place == e.Op && l.TID == e.TID && e.Runnable > 0 {
			l.Max[event.Runnable] = max(l.Max[event.Runnable], uint64(e.Runnable))
		}
	}
}

func (p *parser) system(at int64, w *words) {
	s := event.Snapshot{Time: at * 1e9, PSICPU: -1, PSIMem: -1, PSIIO: -1, Cores: []float64{}}
	for w.more() {
		switch what := w.next(); what {
		case "cpu":
			s.CPU = w.float()
		case "mem":
			s.Mem = w.float()
		case "load":
			s.Load = w.float()
		case "swap":
			s.Swap = int64(w.number())
		case "free":
			s.MemAvail = int64(w.number())
		default:
			w.fail("no %s", what)
		}
	}
	p.s.Snapshots = append(p.s.Snapshots, s)
}

// stack reads a stack, which events refer to by its name.
func (p *parser) stack(w *words) error {
	name := w.next()
	h := fnv.New64a()
	h.Write([]byte(name))
	s := event.Stack{Hash: h.Sum64(), PID: p.pid()}
	for i, text := range strings.Split(strings.Join(w.all, " "), "|") {
		f, err := frame(strings.TrimSpace(text))
		if err != nil {
			return err
		}
		if f.PyFunc == "" {
			f.IP = 0x7f0000000000 + uint64(i)*0x1000
		}
		s.Frames = append(s.Frames, f)
	}
	w.all = nil
	p.stacks[name] = s.Hash
	p.s.Stacks = append(p.s.Stacks, s)
	return w.err
}

func frame(text string) (event.Frame, error) {
	if line, ok := strings.CutPrefix(text, "[Python] "); ok {
		at, name, found := strings.Cut(line, " in ")
		file, number, _ := strings.Cut(at, ":")
		n, err := strconv.Atoi(number)
		if !found || err != nil {
			return event.Frame{}, fmt.Errorf("%q is not [Python] FILE:LINE in NAME()", text)
		}
		return event.Frame{PyFile: file, PyFunc: strings.TrimSuffix(name, "()"), PyLine: n}, nil
	}
	symbol, file, found := strings.Cut(text, " (")
	if !found || symbol == "" {
		return event.Frame{}, fmt.Errorf("%q is not SYMBOL (FILE)", text)
	}
	return event.Frame{Symbol: symbol, File: strings.TrimSuffix(file, ")")}, nil
}
