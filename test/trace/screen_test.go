package trace

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"

	"ingero/test/workload"
)

// terminal is a pseudo-terminal with an emulator behind it, and the agent on it.
type terminal struct {
	b    *box
	cmd  *exec.Cmd
	tty  *os.File
	emu  *vt.SafeEmulator
	more chan struct{} // something was written
	done chan error

	mu  sync.Mutex
	raw bytes.Buffer // all that was written
}

func (b *box) terminal(width, height int, env []string, args ...string) *terminal {
	b.Helper()
	x := &terminal{b: b, emu: vt.NewSafeEmulator(width, height), more: make(chan struct{}, 1), done: make(chan error, 1)}
	x.cmd = exec.Command(bin, append([]string{"trace", "--db", b.db, "--user", b.user}, args...)...)
	x.cmd.Env = append(append(os.Environ(), "TERM=xterm-256color", "NO_COLOR="), env...)
	tty, err := pty.StartWithSize(x.cmd, &pty.Winsize{Cols: uint16(width), Rows: uint16(height)})
	if err != nil {
		b.Fatal(err)
	}
	x.tty = tty
	go io.Copy(tty, x.emu) // what a terminal answers when it is asked
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, err := tty.Read(buf)
			x.mu.Lock()
			x.raw.Write(buf[:n])
			x.mu.Unlock()
			x.emu.Write(buf[:n])
			select {
			case x.more <- struct{}{}:
			default:
			}
			if err != nil { // the agent has ended
				x.done <- x.cmd.Wait()
				return
			}
		}
	}()
	b.Cleanup(func() { x.cmd.Process.Kill(); tty.Close() })
	return x
}

func (x *terminal) screen() string { return ansi.Strip(x.emu.Render()) }

func (x *terminal) written() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.raw.Len()
}

// until waits for a screen of which ok is true.
func (x *terminal) until(what string, ok func(screen string) bool) string {
	x.b.Helper()
	for deadline := time.After(20 * time.Second); ; {
		if s := x.screen(); ok(s) {
			return s
		}
		select {
		case <-x.more:
		case <-deadline:
			x.b.Fatalf("waited in vain for %s on the screen:\n%s", what, x.screen())
		}
	}
}

func (x *terminal) sees(text string) string {
	x.b.Helper()
	return x.until(fmt.Sprintf("%q", text), func(s string) bool { return strings.Contains(s, text) })
}

func (x *terminal) misses(text string) string {
	x.b.Helper()
	return x.until(fmt.Sprintf("the end of %q", text), func(s string) bool { return !strings.Contains(s, text) })
}

func (x *terminal) press(keys string) {
	x.b.Helper()
	if _, err := io.WriteString(x.tty, keys); err != nil {
		x.b.Fatal(err)
	}
}

func (x *terminal) resize(width, height int) {
	x.b.Helper()
	x.emu.Resize(width, height)
	if err := pty.Setsize(x.tty, &pty.Winsize{Cols: uint16(width), Rows: uint16(height)}); err != nil {
		x.b.Fatal(err)
	}
}

// wait waits for the agent's end and returns its exit status.
func (x *terminal) wait() int {
	x.b.Helper()
	select {
	case <-x.done:
		return x.cmd.ProcessState.ExitCode()
	case <-time.After(30 * time.Second):
		x.b.Fatalf("the agent did not end:\n%s", x.screen())
		return -1
	}
}

// nasty starts the simulated job under a name that would clear the screen.
func (b *box) nasty(args ...string) *workload.Run {
	b.Helper()
	path := b.sim("訓\x1b[2J\x1b]0;x")
	if err := os.Link(b.sim("workload"), path); err != nil {
		b.Fatal(err)
	}
	r, err := workload.StartCommand(b.Context(), "setpriv", append([]string{"--reuid", b.user, "--clear-groups", "--", path}, args...)...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Signal(os.Kill) })
	return r
}

// A person sits before the live screen and presses keys.
func TestLiveScreen(t *testing.T) {
	b := newBox(t)
	x := b.terminal(100, 30, nil)
	x.sees("No traced call yet")
	r := b.nasty("--steps", "0", "--gap-us", "2000")
	x.sees("cudaLaunchKernel")
	x.sees("訓·[2J·]0;x") // a name is text, whatever is in it

	x.press("\t\t")
	x.sees("[calls]")
	x.press("n")
	x.sees("by name ▲")
	x.press("r")
	x.sees("by name ▼")
	x.press("c/StreamSync\r")
	x.sees("filter: StreamSync")
	x.misses("cudaLaunchKernel")
	x.press("\x1b")
	x.sees("cudaLaunchKernel")
	x.press("w")
	x.sees("since the start")
	x.press("p")
	x.sees("per process")
	x.sees(fmt.Sprintf("訓·[2J·]0;x %d", r.PID))

	// Held still, not a byte is written, and the recording goes on.
	x.press(" ")
	still := x.sees("PAUSED")
	const all = "SELECT sum(count) FROM call_stats"
	before, bytes := b.try(all), x.written()
	b.until("more calls in the recording", func() bool { return b.try(all) > before })
	if n := x.written() - bytes; n != 0 || x.screen() != still {
		t.Errorf("%d bytes written to a screen that stands still:\n%s\nbefore:\n%s", n, x.screen(), still)
	}
	x.press(" ")
	x.misses("PAUSED")

	x.press("f")
	x.sees("[findings")
	x.press("?")
	x.sees("hold the picture still")
	x.press("\x1b")
	x.misses("hold the picture still")
	x.press("\x1b[Z") // shift+tab
	x.sees("[calls]")

	// Any size: the last line is the keys, the first the pages.
	for _, size := range [][2]int{{40, 10}, {300, 100}, {80, 24}} {
		x.resize(size[0], size[1])
		x.until(fmt.Sprint("a screen of ", size), func(s string) bool {
			lines := strings.Split(s, "\n")
			return len(lines) == size[1] && strings.HasPrefix(lines[0], " all time [calls]") && strings.HasPrefix(lines[size[1]-1], " q quit")
		})
	}
	quiet := x.written()
	x.press("q")
	if status := x.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	x.sees("Recorded in ")
	if x.emu.IsAltScreen() || x.emu.CursorHidden() {
		t.Error("the terminal was not given back as it was")
	}
	t.Logf("%d bytes written to the terminal in all", quiet)
}

var (
	escape = regexp.MustCompile("\x1b")
	colour = regexp.MustCompile("\x1b\\[[0-9;]*(3[0-7]|9[0-7]|38;[0-9;]+)m")
)

// Without colours, on a terminal that does not want them; without any control,
// where that is asked for, and where there is no keyboard.
func TestPlainScreen(t *testing.T) {
	b := newBox(t)
	r := b.nasty("--steps", "0", "--gap-us", "2000")
	second := newBox(t)
	second.user = b.user
	third := newBox(t)
	third.user = b.user

	colourless := b.terminal(120, 40, []string{"NO_COLOR=1"})
	plain := second.terminal(120, 40, nil, "--plain", "--duration", "3s")
	coloured := third.terminal(120, 40, nil)
	for _, x := range []*terminal{colourless, coloured} {
		x.sees("CPU [")
		x.sees("cudaLaunchKernel")
		x.press("q")
	}
	for what, x := range map[string]*terminal{"NO_COLOR": colourless, "--plain": plain, "coloured": coloured} {
		if status := x.wait(); status != 0 {
			t.Errorf("%s: exit status %d", what, status)
		}
	}
	if s := plain.raw.String(); escape.MatchString(s) || !strings.Contains(s, "launches/s") || !strings.Contains(s, "│ cudaLaunchKernel") || !strings.Contains(s, "訓·[2J") {
		t.Errorf("--plain: %q", s)
	}
	if s := colourless.raw.String(); colour.MatchString(s) || !strings.Contains(s, "\x1b[?1049h") {
		t.Errorf("NO_COLOR: %q", colour.FindString(s))
	}
	if !colour.MatchString(coloured.raw.String()) {
		t.Error("no colours on a terminal that shows them")
	}
	if err := r.Signal(os.Kill); err != nil {
		t.Error(err)
	}
}
