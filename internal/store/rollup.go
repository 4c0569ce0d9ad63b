package store

import (
	"context"
	"slices"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// rollUp sums up the seconds of every changed minute that is over, so that
// readers need 60 times fewer rows for long windows. It works from the
// stored seconds alone and so gives the same result however often it runs.
// It returns the minutes it wrote.
//
// Readers rely on this: at every commit, all minutes up to the newest one in
// call_stats_minute or ledger_minute agree with their seconds.
func (w *Writer) rollUp(ctx context.Context, newest int64, changed []int64) ([]int64, error) {
	minutes := slices.Clone(changed)
	for m := range w.dirty {
		minutes = append(minutes, m)
	}
	slices.Sort(minutes)
	minutes = slices.Compact(minutes)
	minutes = slices.DeleteFunc(minutes, func(m int64) bool { return m+60 > newest })
	for _, m := range minutes {
		if err := w.rollMinute(ctx, m); err != nil {
			return nil, err
		}
		if err := w.rollBooks(ctx, m); err != nil {
			return nil, err
		}
	}
	return minutes, nil
}

func (w *Writer) rollMinute(ctx context.Context, minute int64) error {
	type key struct {
		process int64
		op      event.Op
	}
	sums := map[key]*stats.Calls{}
	read, err := w.prepare(ctx, "SELECT process, "+statColumns+" FROM call_stats WHERE second >= ? AND second < ?")
	if err != nil {
		return err
	}
	rows, err := read.QueryContext(ctx, minute, minute+60)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var process int64
		s, err := scanStat(rows, &process)
		if err != nil {
			return err
		}
		if sum := sums[key{process, s.Op}]; sum != nil {
			sum.Add(&s)
		} else {
			sums[key{process, s.Op}] = &s
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for k, s := range sums {
		if _, err := w.exec(ctx, "REPLACE INTO call_stats_minute VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			cellArgs(minute, k.process, s)...); err != nil {
			return err
		}
	}
	return nil
}
