package cli

import (
	"context"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
)

// screen is the live view on a terminal.
type screen struct {
	t     *tracer
	lines []string
	top   int // first line shown
	size  tea.WindowSizeMsg
	col   paint
}

type tickMsg time.Time

func runScreen(ctx context.Context, t *tracer) error {
	s := screen{t: t, col: plain}
	if colours(t.env) {
		s.col = ansi
	}
	p := tea.NewProgram(s, tea.WithContext(ctx), tea.WithInput(t.env.Stdin), tea.WithOutput(t.env.Stdout), tea.WithoutSignalHandler())
	_, err := p.Run()
	return err
}

func tick() tea.Cmd {
	return tea.Tick(time.Second/2, func(now time.Time) tea.Msg { return tickMsg(now) })
}

// Init starts the clock.
func (s screen) Init() tea.Cmd {
	return tea.Batch(tick(), func() tea.Msg { return tickMsg(time.Now()) })
}

// Update follows the clock, the keyboard and the size of the window.
func (s screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch m := msg.(type) {
	case tea.WindowSizeMsg:
		s.size = m
	case tickMsg:
		v := s.t.window.View()
		s.lines = append(s.t.header(v), body(v, s.t.analyst.findings(), s.col, s.size.Width)...)
		s.scroll(0)
		return s, tick()
	case tea.KeyPressMsg:
		switch m.String() {
		case "q", "ctrl+c", "esc":
			return s, tea.Quit
		case "down", "j":
			s.scroll(1)
		case "up", "k":
			s.scroll(-1)
		case "pgdown", " ", "space":
			s.scroll(s.size.Height / 2)
		case "pgup":
			s.scroll(-s.size.Height / 2)
		}
	}
	return s, nil
}

func (s *screen) scroll(by int) {
	s.top = max(min(s.top+by, len(s.lines)-s.size.Height+1), 0)
}

// View shows as many lines as fit, and how to leave.
func (s screen) View() tea.View {
	height := max(s.size.Height-1, 1)
	end := min(s.top+height, len(s.lines))
	text := strings.Join(s.lines[min(s.top, end):end], "\n")
	help := "  q quit"
	if len(s.lines) > height {
		help += "   ↑ ↓ scroll"
	}
	text += strings.Repeat("\n", max(height-(end-s.top), 0)+1) + s.col("dim", help)
	v := tea.NewView(text)
	v.AltScreen = true
	return v
}
