package cli

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"ingero/internal/event"
	"ingero/internal/pipeline"
	"ingero/internal/query"
	"ingero/internal/stats"
)

var update = flag.Bool("update", false, "rewrite the golden frames")

// Times on the screen are local ones.
func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}

// names of processes and threads that a screen has to stand.
var (
	plainNames = []string{"python3", "server"}
	nastyNames = []string{"\x1b[2J\x1b]0;owned\a", "訓練-程序", "a\nb\tc\r", "e\u0301\u200d👩🏽\u202e", "\xff\xfe", strings.Repeat("長", 40)}
)

// aMoment is two minutes in the life of one process for each name.
func aMoment(t testing.TB, names []string) moment {
	t.Helper()
	end := time.Unix(1767225720, 0) // 2026-01-01 00:02:00
	now := end.Add(-2 * time.Minute)
	w := pipeline.NewWindow(func() time.Time { return now })
	first := pipeline.Batch{Second: now.Unix()}
	for i, name := range names {
		first.Processes = append(first.Processes, pipeline.Process{Process: event.Process{PID: uint32(4821 + i), Start: 1, Comm: name}})
	}
	take := func(b *pipeline.Batch) {
		t.Helper()
		if err := w.Take(b); err != nil {
			t.Fatal(err)
		}
	}
	take(&first)
	launch, wait, copies, graph := event.MakeOp(event.CUDA, 3), event.MakeOp(event.CUDA, 5), event.MakeOp(event.CUDA, 7), event.MakeOp(event.Graph, 4)
	driver, switches, alloc := event.MakeOp(event.Driver, 1), event.MakeOp(event.Host, 1), event.MakeOp(event.Host, 3)
	for second := now.Unix(); second < end.Unix(); second++ {
		now = time.Unix(second+1, 0)
		b := &pipeline.Batch{Second: second, Snapshots: []event.Snapshot{{Time: second * 1e9, CPU: 47, Mem: 72, MemAvail: 11469, Load: 3.2}}}
		for i, name := range names {
			pid := uint32(4821 + i)
			add := func(op event.Op, n int, ns uint64) {
				h := &stats.Histogram{}
				for k := range n {
					h.Add(ns + ns*uint64(k)/uint64(n))
				}
				b.Calls = append(b.Calls, stats.Calls{PID: pid, Op: op, Hist: h, Recorded: 1})
			}
			add(launch, 90*(i+1), 5200)
			add(driver, 90*(i+1), 4800)
			add(wait, 2, 4_000_000)
			if second < end.Unix()-30 {
				add(copies, 5, 90_000)
			}
			add(graph, 1, 12_000)
			add(switches, 3, 800_000)
			add(alloc, 4, 0)
			b.Calls[len(b.Calls)-1].Bytes = 4096
			busy := stats.Ledger{PID: pid, TID: pid, Comm: name}
			busy.NS[event.Running], busy.Max[event.Running] = 600e6, 5e6
			calls := stats.Ledger{PID: pid, TID: pid, Comm: name, Place: wait}
			calls.NS[event.Lock], calls.Max[event.Lock] = 400e6, 9e6
			b.Ledger = append(b.Ledger, busy, calls)
		}
		take(b)
	}
	s := w.Still()
	return moment{
		at: now, still: s, findings: someFindings(now, names[0]), target: targets(s.View(pipeline.Look{}), nil),
		cost: "1.2 µs a call, 0.4% of the calling threads' time", libraries: []string{"/usr/lib/libcudart.so.12"},
		probes: []string{"CUDA probes: 14 attached", "Driver probes: 10 attached", "Host probes: 7 attached"},
		gaps:   []string{"no such tracepoint on this kernel"}, recording: true,
	}
}

func someFindings(now time.Time, job string) []query.Chain {
	ended, before := now.Add(-20*time.Second).UTC(), now.Add(-time.Minute).UTC()
	usual := uint64(6_000_000)
	return []query.Chain{
		{
			ID: "n:cpu_contention:4821:1", Severity: "HIGH", Node: "n", PID: 4821, Comm: job, Started: before, Ongoing: true,
			Cause: query.Cause{Kind: "cpu_contention", Summary: "hog (PID 9948) ran where " + job + " wanted to: 35 % of its time (2.44s) lost",
				Culprits: []query.Culprit{{PID: 9948, Comm: "hog", NS: 2_400_000_000, Share: 0.35, Cgroup: "/user.slice"}}},
			Symptom:   query.Symptom{Op: "between calls", Class: "gap", PID: 4821, Comm: job, Count: 100, P50: 7_000_000, P99: 16_000_000, BaselineP50: &usual, BaselineP99: &usual},
			Impact:    query.Impact{Lost: 2_440_000_000, Share: 0.35, PerSecond: 1610, BaselineRate: func() *float64 { f := 2455.0; return &f }()},
			Explained: 0.95, Confidence: 0.9,
			Timeline: []query.Moment{
				{At: before, Layer: "HOST", Text: "hog (PID 9948) took 2.4s of PID 4821's time"},
				{At: before.Add(time.Second), Layer: "SYSTEM", Text: "CPU 52%, memory 2%, load 1.1, swap 0 MB"},
			},
			Fixes:    []query.Fix{{Text: "Let the thief give way", Command: "renice -n 19 -p 9948"}},
			Evidence: []query.Evidence{{Text: "where the threads of the process spent this time", SQL: "SELECT l.tid FROM ledger l WHERE second >= 1 ORDER BY ms DESC LIMIT 20"}},
		},
		{
			ID: "n:block_io:4822:2", Severity: "MEDIUM", Node: "n", PID: 4822, Comm: "server", Started: before, Ended: &ended,
			Cause:  query.Cause{Kind: "block_io", Summary: "server waited for its disk", Culprits: []query.Culprit{{PID: 4822, Comm: "server", NS: 1e9, Share: 0.1}}},
			Impact: query.Impact{Lost: 1_000_000_000, Share: 0.1},
		},
		{
			ID: "n:unexplained:4822:3", Severity: "LOW", Node: "n", PID: 4822, Comm: "server", Started: before, Ended: &ended,
			Cause: query.Cause{Kind: "unexplained", Summary: "server did less than usual"}, Impact: query.Impact{Lost: 100_000_000, Share: 0.02},
		},
	}
}

// person sits before a screen.
type person struct {
	*testing.T
	s *screen
}

func newPerson(t *testing.T, width, height int, col paint, m moment) *person {
	p := &person{t, &screen{ask: func() moment { return m }, col: col}}
	p.tell(tea.WindowSizeMsg{Width: width, Height: height})
	p.tell(shown{m, 0})
	return p
}

func (p *person) tell(msg tea.Msg) tea.Cmd {
	_, cmd := p.s.Update(msg)
	return cmd
}

// press presses keys by their names; what is no name is typed letter by letter.
func (p *person) press(names ...string) (last tea.Cmd) {
	codes := map[string]rune{
		"enter": tea.KeyEnter, "esc": tea.KeyEscape, "tab": tea.KeyTab, "up": tea.KeyUp, "down": tea.KeyDown, "left": tea.KeyLeft, "right": tea.KeyRight,
		"pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown, "home": tea.KeyHome, "end": tea.KeyEnd, "backspace": tea.KeyBackspace,
	}
	for _, name := range names {
		switch code, named := codes[name]; {
		case named:
			last = p.tell(tea.KeyPressMsg{Code: code})
		case name == "space":
			last = p.tell(tea.KeyPressMsg{Code: tea.KeySpace, Text: " "})
		case name == "shift+tab":
			last = p.tell(tea.KeyPressMsg{Code: tea.KeyTab, Mod: tea.ModShift})
		case strings.HasPrefix(name, "ctrl+"):
			last = p.tell(tea.KeyPressMsg{Code: rune(name[5]), Mod: tea.ModCtrl})
		default:
			for _, r := range name {
				last = p.tell(tea.KeyPressMsg{Code: r, Text: string(r)})
			}
		}
	}
	return last
}

// frame is the screen as text. It must be exactly as large as the terminal.
func (p *person) frame() string {
	p.Helper()
	text := p.s.View().Content
	lines := strings.Split(text, "\n")
	if len(lines) != p.s.size.Height {
		p.Errorf("%d lines on a screen of %dx%d", len(lines), p.s.size.Width, p.s.size.Height)
	}
	for i, l := range lines {
		for _, width := range []int{ansi.StringWidth(l), ansi.StringWidthWc(l)} {
			if width > p.s.size.Width {
				p.Errorf("line %d is %d wide on a screen of %dx%d: %q", i, width, p.s.size.Width, p.s.size.Height, l)
			}
		}
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n")
}

// sees fails unless the screen shows all of the texts.
func (p *person) sees(what string, texts ...string) {
	p.Helper()
	frame := p.frame()
	for _, text := range texts {
		if !strings.Contains(frame, text) {
			p.Errorf("%s: no %q on the screen:\n%s", what, text, frame)
		}
	}
}

func (p *person) misses(what string, texts ...string) {
	p.Helper()
	frame := p.frame()
	for _, text := range texts {
		if strings.Contains(frame, text) {
			p.Errorf("%s: %q on the screen:\n%s", what, text, frame)
		}
	}
}

// Golden frames: what is on the screen after some keys, at several sizes.
func TestFrames(t *testing.T) {
	for _, c := range []struct {
		name  string
		sizes [][2]int
		keys  []string
	}{
		{"start", [][2]int{{40, 10}, {80, 24}, {120, 60}}, nil},
		{"time", [][2]int{{80, 24}}, []string{"tab"}},
		{"calls", [][2]int{{40, 10}, {80, 24}, {120, 40}, {300, 100}}, []string{"tab", "tab"}},
		{"host", [][2]int{{80, 24}}, []string{"shift+tab"}},
		{"per-process-by-p99", [][2]int{{80, 24}, {120, 40}}, []string{"tab", "tab", "p", "9"}},
		{"filtered-ten-seconds-reversed", [][2]int{{80, 24}}, []string{"tab", "tab", "w", "w", "r", "/", "server launch", "enter"}},
		{"typing", [][2]int{{40, 10}, {80, 24}}, []string{"/", "lau"}},
		{"nothing-matches", [][2]int{{80, 24}}, []string{"/", "xyz", "enter"}},
		{"paused", [][2]int{{40, 10}, {80, 24}, {120, 40}}, []string{"space"}},
		{"findings", [][2]int{{40, 10}, {80, 24}, {120, 40}}, []string{"f"}},
		{"second-finding", [][2]int{{80, 24}}, []string{"f", "down"}},
		{"finding", [][2]int{{40, 10}, {80, 24}, {120, 40}}, []string{"f", "enter"}},
		{"help", [][2]int{{40, 10}, {80, 24}, {160, 40}}, []string{"?"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b strings.Builder
			for _, size := range c.sizes {
				p := newPerson(t, size[0], size[1], plain, aMoment(t, plainNames))
				p.press(c.keys...)
				fmt.Fprintf(&b, "== %dx%d, keys %q\n%s\n", size[0], size[1], c.keys, p.frame())
			}
			path := filepath.Join("testdata", "screen", c.name+".txt")
			if *update {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("%v (-update writes it)", err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("the screen differs from %s (-update rewrites it):\n%s", path, diff)
			}
		})
	}
}

// Whatever is pressed, at whatever size, whatever processes are called: no
// line is too long, and nothing reaches the terminal but text and colours.
func TestNothingBreaksTheScreen(t *testing.T) {
	pool := []string{"tab", "shift+tab", "f", "enter", "esc", "/", "a", "é訓", "backspace", "<", ">", "c", "t", "5", "9", "m", "n", "r", "w", "p", "space",
		"up", "down", "pgup", "pgdown", "home", "end", "?", "ctrl+u", "\x1b", "\u202e"}
	for _, names := range [][]string{plainNames, nastyNames} {
		m := aMoment(t, names)
		r := rand.New(rand.NewPCG(1, 2))
		for _, size := range [][2]int{{40, 10}, {41, 11}, {60, 15}, {80, 24}, {79, 23}, {100, 30}, {120, 40}, {200, 60}, {300, 100}, {10, 3}, {1, 1}, {20, 2}} {
			p := newPerson(t, size[0], size[1], sgr, m)
			var pressed []string
			for range 60 {
				k := pool[r.IntN(len(pool))]
				pressed = append(pressed, k)
				p.press(k)
				frame := ansi.Strip(p.frame())
				if i := strings.IndexFunc(frame, func(r rune) bool { return r != '\n' && (r < ' ' || r == 0x7f || r == '\u202e' || r == '\u200d') }); i >= 0 {
					t.Fatalf("a control character on the screen after %q: %q", pressed, frame[max(i-20, 0):min(i+20, len(frame))])
				}
				if p.Failed() {
					t.Fatalf("%dx%d after %q", size[0], size[1], pressed)
				}
			}
		}
	}
}

// column is what stands in a column of the first table of calls.
func (p *person) column(i int) (cells []string) {
	p.Helper()
	for l := range strings.SplitSeq(p.frame(), "\n") {
		if parts := strings.Split(l, "│"); len(parts) > i+2 {
			cells = append(cells, strings.TrimSpace(parts[i+1]))
		} else if len(cells) > 0 && strings.HasPrefix(strings.TrimSpace(l), "└") {
			return cells[1:]
		}
	}
	return cells
}

func TestSort(t *testing.T) {
	p := newPerson(t, 120, 60, plain, aMoment(t, plainNames))
	p.press("tab", "tab")
	const launch, copies, wait = "cudaLaunchKernel", "cudaMemcpyAsync", "cudaStreamSync"
	for _, c := range []struct{ key, state, want string }{
		{"c", "by count ▼", launch + " " + copies + " " + wait},
		{"r", "by count ▲", wait + " " + copies + " " + launch},
		{"t", "by total time ▼", wait + " " + launch + " " + copies},
		{"5", "by p50 ▼", wait + " " + copies + " " + launch},
		{"9", "by p99 ▼", wait + " " + copies + " " + launch},
		{"m", "by max ▼", wait + " " + copies + " " + launch},
		{"n", "by name ▲", launch + " " + copies + " " + wait},
		{"r", "by name ▼", wait + " " + copies + " " + launch},
		{">", "by count ▼", launch + " " + copies + " " + wait},
		{"<", "by name ▲", launch + " " + copies + " " + wait},
		{"<", "by max ▼", wait + " " + copies + " " + launch},
	} {
		p.press(c.key)
		if got := strings.Join(p.column(0), " "); got != c.want {
			t.Errorf("%s: rows %s; want %s", c.key, got, c.want)
		}
		p.sees(c.key, c.state, strings.TrimPrefix(strings.Replace(c.state, "by count", "Count", 1), "by ")[:3])
	}
}

func TestFilter(t *testing.T) {
	p := newPerson(t, 120, 60, plain, aMoment(t, plainNames))
	p.press("/", "stream")
	p.sees("typed", "filter: stream_", "cudaStreamSync")
	p.misses("typed", "cudaLaunchKernel", "graphLaunch")
	p.press("backspace", "backspace", "backspace", "backspace", "backspace", "backspace", "SERVER", "enter")
	p.sees("by process", "filter: SERVER", "server 4822", "21,600")
	p.misses("by process", "python3 4821", "SERVER_")
	p.press("/", " 4821", "enter")
	p.sees("two words that exclude each other", "Nothing matches")
	p.press("esc")
	p.misses("cleared", "filter:", "Nothing")
	p.press("/", "q4821", "ctrl+u", "4821", "enter", "p")
	p.sees("by number", "python3 4821", "per process")
	p.misses("by number", "server 4822")
	p.press("esc", "f", "/", "block io", "enter")
	p.sees("findings", "block io")
	p.misses("findings", "cpu contention")
	p.press("/", "x", "esc")
	p.sees("cleared while typing", "cpu contention")
	p.press("/", strings.Repeat("long", 100), "\x1b]", "enter")
	if n := len([]rune(p.s.filter)); n != longestFilter {
		t.Errorf("the filter is %d characters long, want %d", n, longestFilter)
	}
	p.press("esc", "/")
	p.tell(tea.PasteMsg{Content: "cuda\x1b[2J"})
	p.sees("pasted", "filter: cuda·[2J_")
}

// While the picture is held, what was asked for still works on it; going on
// shows the newest at once.
func TestPause(t *testing.T) {
	old, fresh := aMoment(t, plainNames), aMoment(t, []string{"latecomer"})
	fresh.at = fresh.at.Add(5 * time.Second)
	p := newPerson(t, 120, 60, plain, old)
	p.press("space")
	before := p.frame()
	if cmd := p.tell(shown{fresh, 0}); cmd == nil {
		t.Error("nobody asks for the next moment")
	}
	if p.frame() != before {
		t.Errorf("the picture moved:\n%s", p.frame())
	}
	p.sees("held", "PAUSED 00:02:00; recording goes on")
	p.press("p")
	p.sees("another look at it", "server 4822", "per process")
	p.press("space")
	p.sees("going on", "latecomer", "00:02:05")
	p.misses("going on", "PAUSED", "server 4822")
	fresh.recording = false
	p.tell(shown{fresh, 0})
	p.press("z")
	p.sees("without a recording", "PAUSED 00:02:05; tracing goes on")
}

func TestFindingsPane(t *testing.T) {
	m := aMoment(t, plainNames)
	p := newPerson(t, 120, 40, plain, m)
	p.press("f", "down", "enter")
	p.sees("the second", "server waited for its disk", "Root cause")
	p.press("esc", "up", "enter")
	p.sees("the first", "renice -n 19 -p 9948", "SELECT l.tid FROM ledger", "took 2.4s of PID 4821", "hog 9948: 2.4 s, 35%")
	p.press("esc")
	// The cursor stays on its finding when others come and go.
	p.press("down")
	m.findings = append([]query.Chain{{ID: "new", Severity: "HIGH", Comm: "x", Started: m.at, Ongoing: true, Cause: query.Cause{Kind: "oom_kill", Summary: "y"}}}, m.findings...)
	p.tell(shown{m, 0})
	p.sees("another came", "▸ MEDIUM", "findings 4", "oom kill")
	p.press("enter")
	m.findings = m.findings[:1]
	p.tell(shown{m, 0})
	p.sees("it was forgotten while open", "▸ HIGH")
	m.findings = nil
	p.tell(shown{m, 0})
	p.sees("none", "No findings so far")
	p.press("enter", "up", "down", "esc")
	p.sees("none", "No findings so far")

	// A list longer than the screen scrolls with the cursor.
	for i := range 50 {
		m.findings = append(m.findings, query.Chain{ID: fmt.Sprint(i), Severity: "LOW", Comm: "x", Started: m.at, Ongoing: true, Cause: query.Cause{Kind: "unexplained", Summary: fmt.Sprint("number ", i)}})
	}
	p.tell(shown{m, 0})
	for range 49 {
		p.press("down")
		p.sees("scrolled", "▸ LOW")
	}
	p.press("home")
	p.sees("the first again", "▸ LOW", "Severity")
}

func TestQuit(t *testing.T) {
	for _, keys := range [][]string{{"q"}, {"ctrl+c"}, {"/", "ctrl+c"}, {"?", "q"}, {"f", "enter", "q"}, {"space", "q"}} {
		p := newPerson(t, 80, 24, plain, aMoment(t, plainNames))
		cmd := p.press(keys...)
		if cmd == nil {
			t.Errorf("%q does not quit", keys)
		} else if _, quits := cmd().(tea.QuitMsg); !quits {
			t.Errorf("%q does not quit", keys)
		}
	}
	p := newPerson(t, 80, 24, plain, aMoment(t, plainNames))
	for _, keys := range [][]string{{"esc"}, {"/", "q"}, {"enter"}, {"x"}} {
		if cmd := p.press(keys...); cmd != nil {
			t.Errorf("%q returns a command", keys)
		}
	}
}

// Keys may be pressed before there is anything to show, or a size to show it in.
func TestKeysBeforeTheFirstMoment(t *testing.T) {
	p := &person{t, &screen{ask: func() moment { return moment{} }, col: plain}}
	for range 2 {
		for _, k := range keys() {
			for _, name := range k.on {
				if name != "q" && name != "ctrl+c" {
					p.press(name)
				}
			}
		}
		p.s.View()
		p.tell(tea.WindowSizeMsg{Width: 80, Height: 24})
		p.press("esc", "esc", "esc")
		p.frame()
	}
	p.tell(shown{aMoment(t, plainNames), 0})
	p.sees("then", "HIGH")
}

// What was lost is said on every page, whatever else there is no room for.
func TestLossIsSeen(t *testing.T) {
	m := aMoment(t, plainNames)
	m.lost = 1234
	for _, width := range []int{40, 80, 200} {
		p := newPerson(t, width, 20, plain, m)
		for range pages {
			p.press("tab")
			p.sees("every page", "⚠ 1,234 records lost")
		}
	}
}

// Every key that the screen offers is in the help, and none means two things.
func TestKeysAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range keys() {
		for _, name := range k.on {
			if seen[name] {
				t.Errorf("key %q means two things", name)
			}
			seen[name] = true
		}
	}
	help := strings.Join(helpLines(200), "\n")
	for _, o := range orderings {
		if !seen[o.key] || !strings.Contains(help, o.name) {
			t.Errorf("no key or no help for sorting by %s", o.name)
		}
	}
}
