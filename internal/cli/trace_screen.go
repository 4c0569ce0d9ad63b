package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"ingero/internal/pipeline"
	"ingero/internal/query"
)

// moment is what there is to show at one time.
type moment struct {
	at        time.Time
	still     *pipeline.Still
	findings  []query.Chain // those that go on first
	target    string        // which processes are traced
	cost      string        // what that costs them
	lost      uint64        // records
	libraries []string
	probes    []string
	gaps      []string // what cannot be traced
	recording bool
}

// moment asks for what there is now.
func (t *tracer) moment() moment {
	s := t.window.Still()
	v := s.View(pipeline.Look{})
	return moment{
		at: time.Now(), still: s, findings: t.analyst.findings(), target: targets(v, t.found.processes()), lost: v.Lost,
		cost: t.costText(), libraries: t.libraries(), probes: t.probesText(), gaps: t.found.gapTexts(), recording: t.recorder != nil,
	}
}

// screen is the live view on a terminal: what there is to show, and what the
// person at the keyboard wants to see of it.
type screen struct {
	ask  func() moment
	col  paint
	size tea.WindowSizeMsg

	now    moment
	held   *moment // the newest, while the picture is held still
	paused bool

	page       int
	top        [tops]int // first line shown of each page, of an opened finding and of the help
	order      order
	span       int // in spans
	perProcess bool
	filter     string
	typing     bool   // the filter is being typed
	help       bool   // the keys are shown
	chosen     string // the finding the cursor is on
	opened     string // the finding that is shown; empty: the list is

	lines []string // of the page, all of them
}

// sinceStart is the span of everything that was seen.
const sinceStart = "since the start"

// spans are what percentiles can be of.
var spans = []struct {
	text    string
	seconds int
}{
	{"last minute", 60}, {sinceStart, 0}, {"last 10 seconds", 10},
}

func runScreen(ctx context.Context, t *tracer) error {
	s := &screen{ask: t.moment, col: plain}
	if colours(t.env) {
		s.col = sgr
	}
	p := tea.NewProgram(s, tea.WithContext(ctx), tea.WithInput(t.env.Stdin), tea.WithOutput(t.env.Stdout), tea.WithoutSignalHandler())
	_, err := p.Run()
	return err
}

// shown carries a moment, and how long it took to ask for it.
type shown struct {
	moment
	took time.Duration
}

// look asks for a moment, away from the keyboard.
func (s *screen) look() tea.Msg {
	began := time.Now()
	m := s.ask()
	return shown{m, time.Since(began)}
}

// pace is how often the picture changes; asking takes at most 5 % of a core.
const pace = time.Second / 2

// Init asks for the first moment.
func (s *screen) Init() tea.Cmd { return s.look }

// Update follows the clock, the keyboard and the size of the window.
func (s *screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	var cmd tea.Cmd
	switch m := msg.(type) {
	case tea.WindowSizeMsg:
		s.size = m
	case shown:
		cmd = tea.Tick(max(pace, 20*m.took), func(time.Time) tea.Msg { return s.look() })
		if s.paused {
			s.held = &m.moment
			return s, cmd
		}
		s.now = m.moment
	case tea.KeyPressMsg:
		cmd = s.press(m)
	case tea.PasteMsg:
		if s.typing {
			s.edit("", m.Content)
		}
	default:
		return s, nil
	}
	s.draw()
	return s, cmd
}

// draw makes the lines of the page anew.
func (s *screen) draw() {
	if s.now.still == nil || s.size.Width == 0 {
		return
	}
	if s.help {
		s.lines = helpLines(s.size.Width)
	} else {
		s.lines = pages[s.page].draw(s)
	}
	if s.page == findingsPage && s.opened == "" && !s.help {
		s.follow()
	}
	top := s.scroll()
	*top = max(min(*top, len(s.lines)-s.bodyHeight()), 0)
}

// scroll is the first line shown of what is on the screen.
func (s *screen) scroll() *int {
	switch {
	case s.help:
		return &s.top[helpTop]
	case s.page == findingsPage && s.opened != "":
		return &s.top[detailTop]
	}
	return &s.top[s.page]
}

// bodyHeight is how many lines are between head and foot.
func (s *screen) bodyHeight() int { return max(s.size.Height-s.headHeight()-1, 0) }

// headHeight is how many lines stand above: fewer on a small terminal.
func (s *screen) headHeight() int {
	switch {
	case s.size.Height >= 8:
		return 3
	case s.size.Height >= 4:
		return 1
	}
	return 0
}

// View puts head, page and foot together. No line is longer than the screen.
func (s *screen) View() tea.View {
	v := tea.NewView("")
	v.AltScreen = true
	if s.size.Width <= 0 || s.size.Height <= 0 {
		return v
	}
	lines := s.head()[:s.headHeight()]
	top := min(*s.scroll(), len(s.lines))
	lines = append(slices.Clone(lines), s.lines[top:min(top+s.bodyHeight(), len(s.lines))]...)
	for len(lines) < s.size.Height-1 {
		lines = append(lines, "")
	}
	lines = append(lines, s.foot())
	for i, l := range lines {
		lines[i] = ansi.Truncate(l, s.size.Width, "…")
	}
	v.Content = strings.Join(lines, "\n")
	return v
}

// head says where we are, who is traced, and what is shown of it.
func (s *screen) head() []string {
	var tabs []string
	for i, p := range pages {
		name := p.name
		if i == findingsPage {
			name += fmt.Sprintf(" %d", len(s.now.findings))
		}
		if i == s.page {
			name = s.col("reverse", "["+name+"]")
		}
		tabs = append(tabs, name)
	}
	left, clock := strings.Join(tabs, " "), ""
	if !s.now.at.IsZero() {
		clock = s.now.at.Local().Format("15:04:05")
	}
	if s.paused {
		going := "; tracing goes on"
		if s.now.recording {
			going = "; recording goes on"
		}
		clock = "PAUSED " + clock
		if s.size.Width-ansi.StringWidth(left) > len(clock)+len(going)+3 {
			clock += going
		}
		clock = s.col("yellow", clock)
	}
	who := s.now.target
	if who == "" {
		who = "starting"
	}
	cost := s.now.cost
	if s.now.lost > 0 {
		cost = s.col("yellow", "⚠ "+plural(int(s.now.lost), "record", "records")+" lost")
	}
	return []string{s.between(" "+left, clock, s.paused), s.between(" "+who, cost, s.now.lost > 0), s.between(" "+s.state(), s.position(), false)}
}

// state is what was chosen: which rows, in which order.
func (s *screen) state() string {
	text := strings.Join(pages[s.page].state(s), " · ")
	switch {
	case s.typing:
		text = "filter: " + s.filter + "_ · " + text
	case s.filter != "":
		text = s.col("yellow", "filter: "+s.filter) + " · " + text
	}
	return text
}

// position says which lines are shown, if not all are.
func (s *screen) position() string {
	top, n := *s.scroll(), len(s.lines)
	if n <= s.bodyHeight() {
		return ""
	}
	return fmt.Sprintf("lines %d-%d of %d", top+1, min(top+s.bodyHeight(), n), n)
}

// between puts right at the end of the line. If there is no room for both,
// left gives way when right matters, otherwise right does.
func (s *screen) between(left, right string, matters bool) string {
	room := s.size.Width - ansi.StringWidth(right) - 1
	gap := room - ansi.StringWidth(left)
	switch {
	case right == "" || (gap < 1 && !matters):
		return left
	case gap < 1:
		left = ansi.Truncate(left, max(room-1, 0), "…")
		gap = room - ansi.StringWidth(left)
	}
	return left + strings.Repeat(" ", max(gap, 1)) + right
}

// foot names as many keys as there is room for.
func (s *screen) foot() string {
	switch {
	case s.typing:
		return s.col("dim", " type to filter   enter keep   esc clear")
	case s.help:
		return s.col("dim", " ? back   q quit")
	case s.page == findingsPage && s.opened != "":
		return s.col("dim", " esc back   ↑ ↓ scroll   q quit   ? keys")
	}
	text := ""
	if s.page == findingsPage && len(s.chains()) > 0 {
		text = "   enter open   ↑ ↓ choose"
	}
	for _, k := range keys() {
		word := "   " + k.shown + " " + k.short
		if k.short == "" || ansi.StringWidth(text+word) > s.size.Width-1 {
			continue
		}
		text += word
	}
	return s.col("dim", strings.TrimPrefix(text, "  "))
}

func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(width-ansi.StringWidth(text), 0))
}
