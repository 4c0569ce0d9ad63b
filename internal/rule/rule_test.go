package rule

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"ingero/internal/event"
	"ingero/internal/stats"
)

var update = flag.Bool("update", false, "rewrite the findings in testdata")

// kinds are those of DESIGN.md section 5 that need a case of their own.
var kinds = []string{
	"cpu_contention", "cpu_throttled", "memory_reclaim", "page_fault", "block_io", "network_wait", "lock_wait", "gpu_bound",
	"gpu_contention", "memcpy_bound", "alloc_churn", "graph_recapture", "graph_pool", "cold_start", "oom_kill",
	"tcp_retransmit", "gpu_throttled", "process_hang", "noisy_neighbor", "straggler", "unexplained",
}

// Each testdata file is named after a kind and holds cases in pairs:
// "NAME seconds" and "NAME findings". A line of seconds is one of
//
//	process PID COMM [parent PID] [container ID] [rank N of WORLD] [started SECOND]
//	second 10 [to 20]
//	ledger TID PLACE STATE TIME [STATE TIME ...]
//	calls OP COUNT each TIME [bytes N] [slowest TIME]
//	count HOSTOP COUNT [TIME] [bytes N]
//	thief PID COMM TIME in COUNT
//	rival PID COMM TIME in COUNT
//	waker TID STATE PID/TID COMM TIME in COUNT
//	throttle REASON
//
// and speaks of the process, and of the second or all the seconds, named
// last. PLACE is a call or "between". Process 1 is python3, and there from the
// start. No interval is longer than 4 ms.
func TestRules(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	tested := map[string]int{}
	for _, file := range files {
		kind := strings.TrimSuffix(filepath.Base(file), ".txtar")
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(a.Files); i += 2 {
			name := strings.TrimSuffix(a.Files[i].Name, " seconds")
			t.Run(kind+"/"+strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
				w, err := parse(string(a.Files[i].Data))
				if err != nil {
					t.Fatal(err)
				}
				got := show(Find(*w))
				if *update {
					a.Files[i+1].Data = []byte(got)
				} else if want := string(a.Files[i+1].Data); got != want {
					t.Errorf("got\n%swant\n%s", got, want)
				}
				if strings.Contains(got, kind) {
					tested[kind+" fires"]++
				} else {
					tested[kind+" is silent"]++
				}
			})
		}
		if *update {
			if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, k := range kinds {
		if tested[k+" fires"] == 0 || tested[k+" is silent"] == 0 {
			t.Errorf("%s needs a case in which it fires and one in which it is silent", k)
		}
	}
}

// parser reads the text form of a window.
type parser struct {
	w       *Window
	process int
	current []int64 // the seconds spoken of
}

func parse(text string) (*Window, error) {
	p := &parser{w: &Window{Place: func(pid uint32) (string, string) {
		if pid >= 900 { // by convention of the test data
			return "/pods", fmt.Sprintf("container%d", pid/100)
		}
		return "", ""
	}}}
	p.w.Processes = []stats.Process{{Process: event.Process{PID: 1, Comm: "python3", Rank: event.NoRank}}}
	for line := range strings.Lines(text) {
		w := strings.Fields(line)
		if len(w) == 0 || w[0] == "#" {
			continue
		}
		if err := p.line(w); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
	}
	for i := range p.w.Processes {
		s := p.w.Processes[i].Seconds
		slices.SortFunc(s, func(a, b stats.Second) int { return int(a.At - b.At) })
		if len(s) > 0 {
			p.w.To = max(p.w.To, s[len(s)-1].At+1)
		}
	}
	return p.w, nil
}

func number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func duration(text string) uint64 {
	d, err := time.ParseDuration(text)
	if err != nil {
		panic(err)
	}
	return uint64(d)
}

func (p *parser) line(w []string) error {
	switch w[0] {
	case "process":
		return p.newProcess(w)
	case "second":
		first := int64(number(w[1]))
		last := first
		if len(w) == 4 {
			last = int64(number(w[3]))
		}
		p.current = nil
		for at := first; at <= last; at++ {
			p.current = append(p.current, at)
		}
		return nil
	case "throttle":
		for _, at := range p.current {
			p.w.GPU = append(p.w.GPU, event.GPUSample{Time: at * 1e9, Throttle: w[1]})
		}
		return nil
	}
	for _, at := range p.current {
		if err := fill(p.second(at), p.w.Processes[p.process].PID, w); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) newProcess(w []string) error {
	q := stats.Process{Process: event.Process{PID: uint32(number(w[1])), Comm: w[2], Rank: event.NoRank}}
	p.process = slices.IndexFunc(p.w.Processes, func(x stats.Process) bool { return x.PID == q.PID })
	if p.process < 0 {
		p.process = len(p.w.Processes)
		p.w.Processes = append(p.w.Processes, q)
	}
	to := &p.w.Processes[p.process]
	to.Comm = w[2]
	for i := 3; i+1 < len(w); i += 2 {
		switch w[i] {
		case "parent":
			to.PPID = uint32(number(w[i+1]))
		case "container":
			to.Container = w[i+1]
		case "rank":
			to.Rank.Rank = int32(number(w[i+1]))
		case "of":
			to.Rank.World = int32(number(w[i+1]))
		case "started":
			to.Start = int64(number(w[i+1])) * 1e9
		default:
			return fmt.Errorf("no %s", w[i])
		}
	}
	return nil
}

func (p *parser) second(at int64) *stats.Second {
	q := &p.w.Processes[p.process]
	i := slices.IndexFunc(q.Seconds, func(s stats.Second) bool { return s.At == at })
	if i < 0 {
		i = len(q.Seconds)
		q.Seconds = append(q.Seconds, stats.Second{At: at})
	}
	return &q.Seconds[i]
}

func fill(s *stats.Second, pid uint32, w []string) error {
	switch w[0] {
	case "ledger":
		l := stats.Ledger{PID: pid, TID: uint32(number(w[1]))}
		if w[2] != "between" {
			ops := event.FindOps(w[2])
			if len(ops) == 0 {
				return fmt.Errorf("no operation %s", w[2])
			}
			l.Place = ops[0]
		}
		for i := 3; i+1 < len(w); i += 2 {
			state := stateOf(w[i])
			l.NS[state] = duration(w[i+1])
			l.Max[state], l.Count[state] = min(l.NS[state], 4e6), l.NS[state]/4e6+1
		}
		s.Ledger = append(s.Ledger, l)
	case "calls", "count":
		return fillCalls(s, pid, w)
	case "thief":
		s.Pairs = append(s.Pairs, stats.Pair{
			PID: pid, State: event.Runnable, OtherPID: uint32(number(w[1])), OtherComm: w[2], NS: duration(w[3]), Count: number(w[5]),
		})
	case "rival":
		s.Pairs = append(s.Pairs, stats.Pair{
			PID: pid, State: event.Disk, OtherPID: uint32(number(w[1])), OtherComm: w[2], NS: duration(w[3]), Count: number(w[5]),
		})
	case "waker":
		other, thread, _ := strings.Cut(w[3], "/")
		s.Pairs = append(s.Pairs, stats.Pair{
			PID: pid, TID: uint32(number(w[1])), State: stateOf(w[2]), OtherPID: uint32(number(other)), OtherTID: uint32(number(thread)),
			OtherComm: w[4], NS: duration(w[5]), Count: number(w[7]),
		})
	default:
		return fmt.Errorf("not understood")
	}
	return nil
}

func stateOf(name string) event.State {
	for s := range event.States {
		if s.String() == name {
			return s
		}
	}
	panic("no state " + name)
}

func fillCalls(s *stats.Second, pid uint32, w []string) error {
	ops := event.FindOps(w[1])
	if len(ops) == 0 {
		return fmt.Errorf("no operation %s", w[1])
	}
	c := stats.Calls{PID: pid, Op: ops[0], Hist: &stats.Histogram{}}
	n, each := number(w[2]), uint64(0)
	rest := w[3:]
	if w[0] == "calls" {
		each, rest = duration(rest[1]), rest[2:]
	} else if len(rest) > 0 && rest[0] != "bytes" {
		each, rest = duration(rest[0])/max(n, 1), rest[1:]
	}
	c.Hist.AddBucket(stats.Bucket(each), n)
	c.Hist.AddSum(each*n, each)
	for i := 0; i+1 < len(rest); i += 2 {
		switch rest[i] {
		case "bytes":
			c.Bytes = number(rest[i+1])
		case "slowest":
			c.Hist.Add(duration(rest[i+1]))
		default:
			return fmt.Errorf("no %s", rest[i])
		}
	}
	s.Calls = append(s.Calls, c)
	return nil
}

func show(all []Finding) string {
	var b strings.Builder
	for _, f := range all {
		ongoing := ""
		if f.Ongoing {
			ongoing = " ongoing"
		}
		fmt.Fprintf(&b, "%s %s %d to %d%s: %s\n", f.Severity, f.Kind, f.Start.Unix(), f.End.Unix(), ongoing, f.Summary)
		for _, c := range f.Culprits {
			fmt.Fprintf(&b, "  %s (%d) %s %.0f%%\n", c.Comm, c.PID, time.Duration(c.NS).Round(100*time.Microsecond), 100*c.Share)
		}
		if f.Before != nil {
			fmt.Fprintf(&b, "  %.0f units/s, normally %.0f; explained %.0f%%\n", f.Rate, *f.Before, 100*f.Explained)
		}
		if f.Limit != "" {
			fmt.Fprintf(&b, "  limited: %s\n", f.Limit)
		}
	}
	return b.String()
}
