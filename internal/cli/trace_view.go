package cli

import (
	"fmt"
	"path/filepath"
	"strings"

	"ingero/internal/event"
	"ingero/internal/pipeline"
	"ingero/internal/query"
	"ingero/internal/stats"
)

// paint colours text; plain leaves it as it is.
type paint func(colour, text string) string

func plain(_, text string) string { return text }

func ansi(colour, text string) string {
	code := map[string]string{"green": "32", "yellow": "33", "red": "31", "bold": "1", "dim": "2"}[colour]
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// header says what is traced, as the first lines of the screen.
func (t *tracer) header(v pipeline.View) []string {
	out := []string{"", "  Ingero Trace  -  Live CUDA Event Stream"}
	found := t.found.processes()
	switch n := len(v.Processes); {
	case n == 0 && v.Ended > 0:
		out = append(out, "  Target: "+plural(v.Ended, "process", "processes")+", ended")
	case n == 0 && len(found) == 0:
		out = append(out, "  Target: waiting for a CUDA process")
	case n == 0:
		out = append(out, "  Target: "+processList(found)+" (no call yet)")
	default:
		procs := make([]event.Process, n)
		for i, p := range v.Processes {
			procs[i] = p.Process
		}
		out = append(out, "  Target: "+processList(procs))
	}
	if len(v.Processes) > 0 && v.Ended > 0 {
		out[len(out)-1] += fmt.Sprintf(", %d ended", v.Ended)
	}
	for _, b := range t.libraries() {
		out = append(out, "  Library: "+b)
	}
	c := t.found.probes()
	return append(out,
		fmt.Sprintf("  CUDA probes: %d attached", c[event.CUDA]+c[event.Graph]),
		fmt.Sprintf("  Driver probes: %d attached", c[event.Driver]),
		fmt.Sprintf("  Host probes: %d attached", t.probe.HostSites()),
		fmt.Sprintf("  Cost: %s a call, %.1f%% of the calling threads' time", shortTime(uint64(t.cost.Call)), 100*t.window.Overhead(t.cost.Call, t.cost.Stack)), "")
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(uint64(n)) + " " + many
}

func processList(procs []event.Process) string {
	var names []string
	for _, p := range procs {
		names = append(names, fmt.Sprintf("PID %d (%s)", p.PID, p.Comm))
	}
	if n := len(names); n > 4 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), n-3)
	}
	return strings.Join(names, ", ")
}

// body is the rest of the screen: system, calls, host.
func body(v pipeline.View, findings []query.Chain, col paint, width int) []string {
	var out []string
	if s := v.Snapshot; s.Time != 0 {
		out = append(out, fmt.Sprintf("  System: CPU [%s] %.0f%% | Mem [%s] %.0f%% (%.1f GB free) | Load %.1f | Swap %d MB",
			bar(s.CPU, col), s.CPU, bar(s.Mem, col), s.Mem, float64(s.MemAvail)/1024, s.Load, s.Swap), "")
	}
	out = append(out, ledger(v, col)...)
	out = append(out, tell(findings, col)...)
	for _, section := range []struct {
		title  string
		source event.Source
	}{
		{"CUDA Runtime API", event.CUDA}, {"CUDA Driver API", event.Driver}, {"CUDA Graph", event.Graph},
	} {
		out = append(out, calls(section.title, section.source, v, col, width)...)
	}
	out = append(out, host(v, col)...)
	if v.Calls > 0 {
		out = append(out, fmt.Sprintf("  %s calls counted, %s of them recorded one by one", thousands(v.Calls), thousands(v.Recorded)))
	}
	if v.Lost > 0 {
		out = append(out, col("yellow", fmt.Sprintf("  ⚠ %s of %s records lost; counts and percentiles are complete all the same",
			thousands(v.Lost), thousands(v.Recorded+v.Lost))))
	}
	return out
}

func bar(percent float64, col paint) string {
	const width = 20
	n := min(max(int(percent/100*width+0.5), 0), width)
	colour := "green"
	switch {
	case percent >= 90:
		colour = "red"
	case percent >= 70:
		colour = "yellow"
	}
	return col(colour, strings.Repeat("█", n)) + strings.Repeat("░", width-n)
}

func title(text string, n uint64, lines []string, col paint) []string {
	width := len([]rune(lines[0]))
	right := "Events: " + thousands(n)
	gap := max(width-2-len([]rune(text))-len(right), 2)
	return append(append([]string{"  " + col("bold", text) + strings.Repeat(" ", gap) + right}, lines...), "")
}

// narrow is the width below which the least telling columns are left out.
const narrow = 96

func calls(name string, source event.Source, v pipeline.View, col paint, width int) []string {
	t := table{heads: []string{"Operation", "Count", "p50", "p95", "p99", "Max", "Wall", " Flags"}}
	var total uint64
	for _, o := range v.Ops {
		if o.Op.Source() != source {
			continue
		}
		n := o.Hist.Count()
		total += n
		t.add(o.Op.String(), thousands(n), shortTime(o.Recent.Quantile(0.5)), shortTime(o.Recent.Quantile(0.95)),
			shortTime(o.Recent.Quantile(0.99)), shortTime(o.Hist.Max()), fmt.Sprintf("%.1f%%", 100*o.Wall), flags(o))
	}
	if len(t.rows) == 0 {
		return nil
	}
	if width > 0 && width < narrow {
		t.drop("p95")
		t.drop("Max")
	}
	return title(name, total, t.lines(), col)
}

// flags marks what deserves a look: calls that failed, records that were
// lost, and a tail that has grown since the start.
func flags(o pipeline.OpView) string {
	var f []string
	if o.Errors > 0 {
		f = append(f, thousands(o.Errors)+" failed")
	}
	if tailGrew(o.Hist, o.Recent) || tailHeavy(o) {
		f = append(f, "⚠ p99")
	}
	if o.Lost > 0 {
		f = append(f, thousands(o.Lost)+" lost")
	}
	return strings.Join(f, ", ")
}

// tailHeavy reports a tail that is far from the rest and costs time: one call
// in a hundred takes twenty times the median or more, and these calls make up
// at least 1 % of the wall time.
func tailHeavy(o pipeline.OpView) bool {
	n, p99 := o.Recent.Count(), o.Recent.Quantile(0.99)
	if n < 100 || p99 < 20*o.Recent.Quantile(0.5) || o.Wall == 0 {
		return false
	}
	wall := float64(o.Recent.Sum()) / o.Wall
	return float64(n)/100*float64(p99) >= 0.01*wall
}

// tailGrew compares the last minute with everything before it. It wants
// enough calls on both sides, three times the p99, and lost time that counts.
func tailGrew(all, recent *stats.Histogram) bool {
	const enough = 500
	if recent.Count() < enough || all.Count() < recent.Count()+enough {
		return false
	}
	before := all.Quantile(0.5)
	return recent.Quantile(0.99) > 3*all.Quantile(0.99) && recent.Quantile(0.99) > 10*before
}

func host(v pipeline.View, col paint) []string {
	if len(v.Host) == 0 {
		return nil
	}
	t := table{heads: []string{"Event", "Count", " Detail"}}
	var total uint64
	for _, h := range v.Host {
		total += h.Count
		t.add(h.Op.String(), thousands(h.Count), hostDetail(h))
	}
	return title("Host Context", total, t.lines(), col)
}

// hostWords says what an event of the host is: one of them, many.
var hostWords = map[string][2]string{
	"process_exec": {"program started", "programs started"}, "process_exit": {"process exited", "processes exited"},
	"process_fork": {"process created", "processes created"}, "oom_kill": {"process killed for want of memory", "processes killed for want of memory"},
	"sched_switch": {"switch away from a CPU", "switches away from a CPU"}, "sched_wakeup": {"wait ended", "waits ended"},
	"major_fault": {"page fault waited for a disk", "page faults waited for a disk"},
	"block_read":  {"read", "reads"}, "block_write": {"write", "writes"}, "block_discard": {"discard", "discards"},
	"tcp_retransmit": {"retransmit", "retransmits"}, "net_send": {"send", "sends"}, "net_recv": {"receive", "receives"},
	"direct_reclaim": {"time freed memory first", "times freed memory first"}, "gap": {"gap between calls", "gaps between calls"},
}

// hostDetail puts a row of the host's table into words.
func hostDetail(h pipeline.HostView) string {
	if h.Op.String() == "mm_page_alloc" {
		return shortBytes(h.Bytes) + " allocated"
	}
	words, ok := hostWords[h.Op.String()]
	if !ok {
		words = [2]string{"event", "events"}
	}
	detail := plural(int(h.Count), words[0], words[1])
	if h.Bytes > 0 {
		detail += ", " + shortBytes(h.Bytes)
	}
	if h.Hist != nil && h.Hist.Sum() > 0 {
		if h.Op.Class() != event.Block { // requests run side by side
			detail += ", " + shortTime(h.Hist.Sum()) + " in all"
		}
		detail += ", slowest " + shortTime(h.Hist.Max())
	}
	return detail
}

// libraries lists what is probed, by name and version.
func (t *tracer) libraries() []string {
	t.found.mu.Lock()
	defer t.found.mu.Unlock()
	var out []string
	for _, b := range t.found.libs {
		name := b.Path
		if b.Build != "" && !strings.HasSuffix(filepath.Base(b.Path), b.Build) {
			name += " (" + b.Build + ")"
		}
		out = append(out, name)
	}
	return out
}
