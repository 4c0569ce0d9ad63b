package store

import (
	"math"
	"path/filepath"
	"testing"
	"time"

	"ingero/internal/event"
)

// What watching took is an average over the sessions that watched a call, by
// how long each was there: an idle one says nothing of the others.
func TestCoverageOverhead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions.db")
	at := time.Unix(1_000_000, 0)
	for _, s := range []struct {
		seconds  int
		overhead float64 // negative: not measured
	}{{10, 0.2}, {30, 0.04}, {600, 0}, {5, -1}} {
		now := at
		session := Session{Version: "test", Rank: event.NoRank}
		w, err := Create(path, Options{Node: "n", Now: func() time.Time { return now }, Session: session})
		must(t, err)
		if s.overhead >= 0 {
			session.Overhead = &s.overhead
			w.Session(session)
		}
		now = at.Add(time.Duration(s.seconds) * time.Second)
		must(t, w.Close())
		at = now.Add(time.Minute)
	}
	r, err := Open(path)
	must(t, err)
	c, err := r.Coverage(t.Context(), Filter{})
	must(t, err)
	if want := (10*0.2 + 30*0.04) / 40; c.Overhead == nil || math.Abs(*c.Overhead-want) > 1e-6 {
		t.Errorf("got %v, want %v", c.Overhead, want)
	}
	c, err = r.Coverage(t.Context(), Filter{From: at.Add(-65 * time.Second).UnixNano(), To: at.UnixNano()})
	must(t, err)
	if c.Overhead != nil {
		t.Errorf("nothing was measured, got %v", *c.Overhead)
	}
}
