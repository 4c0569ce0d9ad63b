package cli

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
)

// terminal counts what is written to it.
type terminal struct {
	mu    sync.Mutex
	bytes int
	more  chan struct{}
}

func (w *terminal) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bytes += len(p)
	select {
	case w.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (w *terminal) written() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bytes
}

// after waits until something is written, and says how much more there is.
func (w *terminal) after(t *testing.T, before int) int {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for w.written() == before {
		select {
		case <-w.more:
		case <-deadline:
			t.Fatal("nothing was written")
		}
	}
	return w.written() - before
}

// Only cells that change are written: nothing for a moment that looks the
// same, a few bytes for a clock that went on.
func TestNoFlicker(t *testing.T) {
	m := aMoment(t, plainNames)
	w := &terminal{more: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := &screen{ask: func() moment { <-ctx.Done(); return m }, col: sgr}
	keyboard, _ := io.Pipe()
	p := tea.NewProgram(s, tea.WithContext(ctx), tea.WithInput(keyboard), tea.WithOutput(w), tea.WithoutSignalHandler(),
		tea.WithWindowSize(120, 40), tea.WithEnvironment([]string{"TERM=xterm-256color"}))
	done := make(chan struct{})
	go func() { defer close(done); p.Run() }()
	p.Send(tea.WindowSizeMsg{Width: 120, Height: 40})
	p.Send(shown{m, time.Hour})
	// Each change of the clock is a mark that everything before was drawn.
	tick := func() int {
		before := w.written()
		m.at = m.at.Add(time.Second)
		p.Send(shown{m, time.Hour})
		return w.after(t, before)
	}
	for range 3 { // the first frames may come in parts
		tick()
	}
	first := w.written()
	const clock = 64 // place the cursor, one or two digits
	if n := tick(); n > clock {
		t.Errorf("%d bytes for a second that passed, want at most %d", n, clock)
	}
	for range 100 {
		p.Send(shown{m, time.Hour})
	}
	n := tick()
	if n > clock {
		t.Errorf("%d bytes after a hundred moments that look the same, want at most %d", n, clock)
	}
	t.Logf("the first frames took %d bytes, a second later %d", first, n)
	cancel()
	<-done
}
