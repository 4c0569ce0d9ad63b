package query

import (
	"context"
	"fmt"
	"slices"
	"time"

	"ingero/internal/store"
)

// Timed is a Source that knows when its data is from.
type Timed interface {
	// Span returns the unix ns of the oldest and newest data, 0 for none.
	Span(ctx context.Context) (oldest, newest int64, err error)
	Sessions(ctx context.Context) ([]store.SessionRow, error)
}

// DefaultWindow is what to answer about when the user does not say: the last
// hour, or, if nothing is that recent, the last session of every node. Why
// says so in words.
func DefaultWindow(ctx context.Context, s Timed, now time.Time) (from, to int64, why string, err error) {
	oldest, newest, err := s.Span(ctx)
	if err != nil {
		return 0, 0, "", err
	}
	hour := now.Add(-time.Hour).UnixNano()
	if newest >= hour || newest == 0 {
		return hour, now.UnixNano(), "the last hour", nil
	}
	sessions, err := s.Sessions(ctx)
	if err != nil {
		return 0, 0, "", err
	}
	last := map[string]int64{}
	for _, x := range sessions {
		last[x.Node] = max(last[x.Node], x.Started)
	}
	from = newest
	for _, started := range last {
		from = min(from, started)
	}
	earlier := slices.ContainsFunc(sessions, func(x store.SessionRow) bool { return x.Started < from })
	if !earlier || from == newest {
		from = min(from, oldest) // some events begin before their session does
	}
	why = "the last session"
	if len(last) > 1 {
		why = fmt.Sprintf("the last session of each of %d nodes", len(last))
	}
	return from, newest + 1, why + "; nothing was recorded in the last hour", nil
}
