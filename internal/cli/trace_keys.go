package cli

import (
	"slices"
	"strings"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

// key is something to press on the live screen.
type key struct {
	on    []string // as the terminal names them
	shown string   // as we name them
	short string   // for the last line of the screen; empty: not there
	long  string   // for the help
	press func(*screen) tea.Cmd
}

// does makes an action of what never ends the program.
func does(f func(*screen)) func(*screen) tea.Cmd {
	return func(s *screen) tea.Cmd { f(s); return nil }
}

// keys is every key of the live screen, in the order of the help.
func keys() []key {
	all := []key{
		{[]string{"q", "ctrl+c"}, "q", "quit", "quit; what was seen is printed then", func(*screen) tea.Cmd { return tea.Quit }},
		{[]string{"?", "h", "f1"}, "?", "keys", "show the keys, or hide them", does(func(s *screen) { s.help = !s.help })},
		{[]string{"tab", "right", "l"}, "tab", "next page", "next page: all, time, calls, findings, host", does(func(s *screen) { s.turn(1) })},
		{[]string{"shift+tab", "left"}, "shift+tab", "", "page before", does(func(s *screen) { s.turn(-1) })},
		{[]string{"f"}, "f", "findings", "findings: those that go on and those that ended", does(func(s *screen) { s.open(findingsPage) })},
		{[]string{"enter"}, "enter", "", "open the finding: evidence, timeline, fixes", does((*screen).enter)},
		{[]string{"esc", "backspace"}, "esc", "", "go back; clear the filter", does((*screen).back)},
		{[]string{"/"}, "/", "filter", "filter: words of operation, process, PID, cause", does(func(s *screen) { s.typing = true })},
		{[]string{"<", ","}, "<", "", "sort by the column before", does(func(s *screen) { s.sortBy(s.order.by - 1) })},
		{[]string{">", "."}, ">", "sort", "sort by the next column", does(func(s *screen) { s.sortBy(s.order.by + 1) })},
	}
	var letters, names []string
	for i, o := range orderings {
		letters, names = append(letters, o.key), append(names, o.name)
		all = append(all, key{on: []string{o.key}, press: does(func(s *screen) { s.sortBy(i) })})
	}
	all = append(all, key{shown: strings.Join(letters, " "), long: "sort by " + strings.Join(names, ", ")})
	return append(all,
		key{[]string{"r"}, "r", "reverse", "reverse the order", does(func(s *screen) { s.order.reverse = !s.order.reverse })},
		key{[]string{"w"}, "w", "window", "percentiles of 10 seconds, a minute, since the start", does(func(s *screen) { s.span = (s.span + 1) % len(spans) })},
		key{[]string{"p"}, "p", "processes", "processes one by one, or together", does(func(s *screen) { s.perProcess = !s.perProcess })},
		key{[]string{"space", "z"}, "space", "pause", "hold the picture still, or go on; recording goes on", does((*screen).pause)},
		key{[]string{"up", "k"}, "↑ ↓", "scroll", "scroll, or choose a finding", does(func(s *screen) { s.move(-1) })},
		key{[]string{"down", "j"}, "", "", "", does(func(s *screen) { s.move(1) })},
		key{[]string{"pgup", "ctrl+b"}, "pgup pgdn", "", "scroll by a page; home, end", does(func(s *screen) { s.move(-s.bodyHeight()) })},
		key{[]string{"pgdown", "ctrl+f"}, "", "", "", does(func(s *screen) { s.move(s.bodyHeight()) })},
		key{[]string{"home", "g"}, "", "", "", does(func(s *screen) { s.move(-far) })},
		key{[]string{"end", "G"}, "", "", "", does(func(s *screen) { s.move(far) })},
	)
}

// far is more lines than there can be.
const far = 1 << 30

// press follows a key.
func (s *screen) press(k tea.KeyPressMsg) tea.Cmd {
	name := k.String()
	if s.typing && name != "ctrl+c" {
		s.edit(name, k.Text)
		return nil
	}
	for _, x := range keys() {
		if slices.Contains(x.on, name) {
			return x.press(s)
		}
	}
	return nil
}

// longestFilter bounds what can be typed, in characters.
const longestFilter = 64

// edit changes the filter while it is typed.
func (s *screen) edit(name, text string) {
	switch name {
	case "enter":
		s.typing = false
	case "esc":
		s.typing, s.filter = false, ""
	case "ctrl+u":
		s.filter = ""
	case "backspace":
		_, n := utf8.DecodeLastRuneInString(s.filter)
		s.filter = s.filter[:len(s.filter)-n]
	default:
		for _, r := range text {
			if utf8.RuneCountInString(s.filter) < longestFilter {
				s.filter += printable(string(r))
			}
		}
	}
}

func (s *screen) turn(by int) { s.open((s.page + by + len(pages)) % len(pages)) }

func (s *screen) open(page int) { s.page, s.opened, s.help = page, "", false }

func (s *screen) sortBy(column int) {
	n := len(orderings)
	s.order = order{by: (column + n) % n}
}

func (s *screen) enter() {
	if s.page == findingsPage && !s.help {
		s.opened = s.chosen
		s.top[detailTop] = 0
	}
}

// back undoes one thing: the help, the opened finding, the filter.
func (s *screen) back() {
	switch {
	case s.help:
		s.help = false
	case s.opened != "":
		s.opened = ""
	default:
		s.filter = ""
	}
}

func (s *screen) pause() {
	s.paused = !s.paused
	if !s.paused && s.held != nil {
		s.now, s.held = *s.held, nil
	}
}

// move scrolls, or chooses another finding.
func (s *screen) move(by int) {
	if s.page != findingsPage || s.opened != "" || s.help {
		*s.scroll() += by
		return
	}
	chains := s.chains()
	if len(chains) == 0 {
		return
	}
	s.chosen = chains[min(max(s.choice(chains)+by, 0), len(chains)-1)].ID
}

// helpLines lists the keys, in as many columns as fit.
func helpLines(width int) []string {
	const keyWidth = 13
	var cells []string
	widest := 0
	for _, k := range keys() {
		if k.shown != "" {
			cells = append(cells, "  "+pad(k.shown, keyWidth)+k.long)
			widest = max(widest, ansi.StringWidth(cells[len(cells)-1])+2)
		}
	}
	if width < 2*widest {
		var lines []string
		for _, c := range cells {
			lines = append(lines, hang(c, width, 2+keyWidth)...)
		}
		return lines
	}
	lines := make([]string, (len(cells)+1)/2)
	for i, c := range cells {
		lines[i%len(lines)] += pad(c, widest)
	}
	return lines
}
