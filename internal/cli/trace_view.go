package cli

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"ingero/internal/event"
	"ingero/internal/pipeline"
	"ingero/internal/query"
	"ingero/internal/stats"
)

// paint colours text; plain leaves it as it is.
type paint func(colour, text string) string

func plain(_, text string) string { return text }

// sgr colours text for a terminal (Select Graphic Rendition).
func sgr(colour, text string) string {
	code := map[string]string{"green": "32", "yellow": "33", "red": "31", "bold": "1", "dim": "2", "reverse": "7"}[colour]
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// header says what is traced, as the first lines of what is printed at the end.
func (t *tracer) header(v pipeline.View) []string {
	out := []string{"", "  Ingero Trace  -  Live CUDA Event Stream", "  Target: " + targets(v, t.found.processes())}
	for _, b := range t.libraries() {
		out = append(out, "  Library: "+b)
	}
	for _, line := range t.probesText() {
		out = append(out, "  "+line)
	}
	return append(out, "  Cost: "+t.costText(), "")
}

// targets says which processes are traced; found are those that may yet call.
func targets(v pipeline.View, found []event.Process) string {
	n := len(v.Processes)
	switch {
	case n == 0 && v.Ended > 0:
		return plural(v.Ended, "process", "processes") + ", ended"
	case n == 0 && len(found) == 0:
		return "waiting for a CUDA process"
	case n == 0:
		return processList(found) + " (no call yet)"
	}
	procs := make([]event.Process, n)
	for i, p := range v.Processes {
		procs[i] = p.Process
	}
	text := processList(procs)
	if v.Ended > 0 {
		text += fmt.Sprintf(", %d ended", v.Ended)
	}
	return text
}

// probesText says how many probes are attached where.
func (t *tracer) probesText() []string {
	c := t.found.probes()
	out := []string{
		fmt.Sprintf("CUDA probes: %d attached", c[event.CUDA]+c[event.Graph]),
		fmt.Sprintf("Driver probes: %d attached", c[event.Driver]),
	}
	if n := c[event.NCCL]; n > 0 {
		out = append(out, fmt.Sprintf("NCCL probes: %d attached", n))
	}
	return append(out, fmt.Sprintf("Host probes: %d attached", t.probe.HostSites()))
}

// costText says what being watched costs the job.
func (t *tracer) costText() string {
	return fmt.Sprintf("%s a call, %.1f%% of the calling threads' time", shortTime(uint64(t.cost.Call)), 100*t.window.Overhead(t.cost.Call, t.cost.Stack))
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
		names = append(names, fmt.Sprintf("PID %d (%s)", p.PID, printable(p.Comm)))
	}
	if n := len(names); n > 4 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), n-3)
	}
	return strings.Join(names, ", ")
}

// sheet is how sections are drawn.
type sheet struct {
	col        paint
	width      int    // 0 is no limit
	order      order  // of the rows
	span       string // what distributions are of, for the titles; empty: since the start
	perProcess bool   // rows name their process
	live       bool   // on the screen: says how rows are sorted, and which had no call lately
	all        bool   // show every thread
}

// body is the end of a trace on paper: system, time, findings, calls, host.
func body(v pipeline.View, findings []query.Chain, s sheet) []string {
	out := s.system(v)
	out = append(out, s.ledger(v)...)
	out = append(out, tell(findings, s.col)...)
	out = append(out, s.calls(v)...)
	out = append(out, s.host(v)...)
	return append(out, s.totals(v)...)
}

func (s sheet) system(v pipeline.View) []string {
	x := v.Snapshot
	if x.Time == 0 {
		return nil
	}
	cpu := fmt.Sprintf("CPU [%s] %.0f%%", bar(x.CPU, 20, s.col), x.CPU)
	mem := fmt.Sprintf("Mem [%s] %.0f%% (%.1f GB free)", bar(x.Mem, 20, s.col), x.Mem, float64(x.MemAvail)/1024)
	load := fmt.Sprintf("Load %.1f | Swap %d MB", x.Load, x.Swap)
	if s.width > 0 && s.width < wide {
		return []string{"  " + cpu, "  " + mem, "  " + load, ""}
	}
	return []string{"  System: " + cpu + " | " + mem + " | " + load, ""}
}

// totals says how many calls were counted and recorded, and what was lost.
func (s sheet) totals(v pipeline.View) []string {
	var out []string
	if v.Calls > 0 {
		out = append(out, fmt.Sprintf("  %s calls counted, %s of them recorded one by one", thousands(v.Calls), thousands(v.Recorded)))
	}
	if v.Lost > 0 {
		out = append(out, s.col("yellow", fmt.Sprintf("  ⚠ %s of %s records lost; counts and percentiles are complete all the same",
			thousands(v.Lost), thousands(v.Recorded+v.Lost))))
	}
	return out
}

func bar(percent float64, width int, col paint) string {
	n := min(max(int(percent/100*float64(width)+0.5), 0), width)
	colour := "green"
	switch {
	case percent >= 90:
		colour = "red"
	case percent >= 70:
		colour = "yellow"
	}
	return col(colour, strings.Repeat("█", n)) + strings.Repeat("░", width-n)
}

func (s sheet) title(text string, n uint64, lines []string) []string {
	width, right := ansi.StringWidth(lines[0]), "Events: "+thousands(n)
	if long := text + ", " + s.span; s.span != "" && (s.width <= 0 || len(long)+len(right)+4 <= s.width) {
		text = long // otherwise the head of the screen says it
	}
	gap := max(width-2-ansi.StringWidth(text)-len(right), 2)
	return append(append([]string{"  " + s.col("bold", text) + strings.Repeat(" ", gap) + right}, lines...), "")
}

// wide is the width from which nothing has to be left out.
const wide = 110

// calls is one table for each place where CUDA is called.
func (s sheet) calls(v pipeline.View) []string {
	var out []string
	for _, section := range []struct {
		title  string
		source event.Source
	}{
		{"CUDA Runtime API", event.CUDA}, {"CUDA Driver API", event.Driver}, {"CUDA Graph", event.Graph}, {"NCCL", event.NCCL},
	} {
		out = append(out, s.callsOf(section.title, section.source, v)...)
	}
	return out
}

func (s sheet) callsOf(name string, source event.Source, v pipeline.View) []string {
	t := table{heads: []string{"Operation", " Process", "Count", "Total", "p50", "p95", "p99", "Max", "Wall", " Flags"}, mark: s.mark()}
	var total uint64
	for _, o := range s.order.calls(v.Ops) {
		if o.Op.Source() != source {
			continue
		}
		n := o.Hist.Count()
		total += n
		row := []string{o.Op.String(), processName(o.PID, o.Comm), thousands(n), shortTime(o.Hist.Sum())}
		if o.Recent.Count() == 0 && s.live {
			row = append(row, "-", "-", "-", "-", "-")
		} else {
			row = append(row, shortTime(o.Recent.Quantile(0.5)), shortTime(o.Recent.Quantile(0.95)), shortTime(o.Recent.Quantile(0.99)),
				shortTime(o.Recent.Max()), fmt.Sprintf("%.1f%%", 100*o.Wall))
		}
		t.add(append(row, flags(o))...)
	}
	if len(t.rows) == 0 {
		return nil
	}
	if !s.perProcess {
		t.drop(" Process")
	}
	t.fit(s.width, "p95", "Total", "Wall", "Max", " Flags", "p50")
	return s.title(name, total, t.lines())
}

// mark says in the headings how rows are sorted.
func (s sheet) mark() map[string]string {
	if !s.live {
		return nil
	}
	return s.order.mark()
}

// processName names the process of a row.
func processName(pid uint32, comm string) string {
	if pid == 0 {
		return printable(comm)
	}
	return fmt.Sprintf("%s %d", printable(comm), pid)
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

func (s sheet) host(v pipeline.View) []string {
	if len(v.Host) == 0 {
		return nil
	}
	t := table{heads: []string{"Event", " Process", "Count", " Detail"}, mark: s.mark()}
	var total uint64
	for _, h := range s.order.host(v.Host) {
		total += h.Count
		t.add(h.Op.String(), processName(h.PID, h.Comm), thousands(h.Count), hostDetail(h))
	}
	if !s.perProcess {
		t.drop(" Process")
	}
	t.fit(s.width)
	s.span = ""
	return s.title("Host Context", total, t.lines())
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
		name := printable(b.Path)
		if b.Build != "" && !strings.HasSuffix(filepath.Base(b.Path), b.Build) {
			name += " (" + printable(b.Build) + ")"
		}
		out = append(out, name)
	}
	return out
}
