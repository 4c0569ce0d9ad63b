package otlp

import (
	"sync"
	"time"
)

// health is how the pushes of a signal go.
type health int

const (
	fine    health = iota
	down           // the collector takes nothing now
	refuses        // it takes nothing of this signal
)

// link is one collector, for all signals that it is sent: when it goes down
// and when it is back, one line is enough.
type link struct {
	name string

	mu    sync.Mutex
	down  int // signals for which it is
	since time.Time
}

// lost reports whether it was up until now.
func (l *link) lost() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down++; l.down > 1 {
		return false
	}
	l.since = time.Now()
	return true
}

// back reports whether it is up for all signals now, and how long it was not.
func (l *link) back() (bool, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down--
	return l.down == 0, time.Since(l.since)
}

// settle notes what became of a push, and says when things change.
func (s *stream) settle(result outcome) {
	now := s.health
	switch result {
	case idle:
		return
	case taken:
		now, s.failed = fine, 0
	case refused:
		now, s.failed = refuses, s.failed+1
	case later:
		now, s.failed = down, s.failed+1
	}
	before := s.health
	if s.health = now; now == before {
		return
	}
	if before == down {
		if all, took := s.link.back(); all && now == fine {
			s.say("OTLP: %s takes what is pushed again, after %v", s.link.name, took.Round(time.Second))
		}
	}
	switch {
	case now == down:
		if s.link.lost() {
			s.say("OTLP: %s does not take what is pushed: %v; it is tried again%s", s.link.name, s.reason, s.hint())
		}
	case now == refuses:
		s.say("OTLP: %s refuses %s: %v; each push is tried once%s", s.Target, s.signal.name, s.reason, s.hint())
	case before == refuses:
		s.say("OTLP: %s takes %s again", s.Target, s.signal.name)
	}
}
