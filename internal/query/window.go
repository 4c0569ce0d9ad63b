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
// hour or whatever span is asked for, or, if nothing is that recent, the last
// session of every node. Why says so in words.
func DefaultWindow(ctx context.Context, s Timed, now time.Time, span time.Duration) (from, to int64, why string, err error) {
	oldest, newest, err := s.Span(ctx)
	if err != nil {
		return 0, 0, "", err
	}
	recent := now.Add(-span).UnixNano()
	if newest >= recent || newest == 0 {
		return recent, now.UnixNano(), "the last " + spanName(span), nil
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
	return from, newest + 1, why + "; nothing was recorded in the last " + spanName(span), nil
}

func spanName(d time.Duration) string {
	if d == time.Hour {
		return "hour"
	}
	return fmt.Sprintf("%.0f minutes", d.Minutes())
}

// LastEvents is the time from the n-th newest event to the newest.
func LastEvents(ctx context.Context, s Source, f store.Filter, n int) (from, to int64, err error) {
	events, err := s.Events(ctx, f, n)
	if err != nil || len(events) == 0 {
		return 0, 1, err
	}
	last := events[len(events)-1]
	return events[0].Start, last.Start + last.Dur + 1, nil
}
