package store

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// writeBooks stores the pending ledger and waits. It returns the newest
// second of them, or newest, and the minutes that changed.
func (w *Writer) writeBooks(ctx context.Context, ids map[processKey]int64, newest int64) (int64, []int64, error) {
	id := func(p *processState) int64 {
		if fresh, ok := ids[processKey{p.row.PID, p.row.Start}]; ok {
			return fresh
		}
		return p.id
	}
	for _, k := range slices.SortedFunc(maps.Keys(w.threads), compareThreads) {
		t := w.threads[k]
		if _, err := w.exec(ctx, "INSERT OR REPLACE INTO threads VALUES (?, ?, ?, ?, ?)",
			id(k.p), k.tid, t.comm, t.start, floorDiv(t.seen, 60)*60); err != nil {
			return 0, nil, err
		}
	}
	minutes := map[int64]bool{}
	for k, sum := range w.ledger {
		if err := w.writeLedger(ctx, k, id(k.p), sum); err != nil {
			return 0, nil, err
		}
		newest = max(newest, k.second)
		minutes[floorDiv(k.second, 60)*60] = true
	}
	for k, sum := range w.waits {
		if _, err := w.exec(ctx, `INSERT INTO waits VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET ns = `+added("ns")+", count = "+added("count"),
			k.second, id(k.p), k.tid, int(k.state), k.otherPID, k.otherTID, k.otherComm, int64(sum.ns), int64(sum.count)); err != nil {
			return 0, nil, err
		}
		newest = max(newest, k.second)
		minutes[floorDiv(k.second, 60)*60] = true
	}
	return newest, slices.Collect(maps.Keys(minutes)), nil
}

// added is a stored column plus the new value, bounded as in memory.
func added(column string) string {
	return fmt.Sprintf("min(%s + excluded.%[1]s, %d)", column, mostNS)
}

func (w *Writer) writeLedger(ctx context.Context, k ledgerKey, process int64, sum *stats.Ledger) error {
	for s := range sum.NS {
		if sum.NS[s] == 0 && sum.Count[s] == 0 {
			continue
		}
		if _, err := w.exec(ctx, `INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET ns = `+added("ns")+", count = "+added("count")+", max_ns = max(max_ns, excluded.max_ns)",
			k.second, process, k.tid, int(k.place.Source()), int(k.place.Code()), s,
			int64(sum.NS[s]), int64(sum.Count[s]), int64(sum.Max[s])); err != nil {
			return err
		}
	}
	return nil
}

// summed is the sum of a stored column; unlike sum() it cannot fail.
func summed(column string) string {
	return fmt.Sprintf("CAST(min(total(%s), %d) AS INTEGER)", column, mostNS)
}

// rollBooks sums up the seconds of one minute, as rollMinute does for calls.
func (w *Writer) rollBooks(ctx context.Context, minute int64) error {
	for _, text := range []string{
		`REPLACE INTO ledger_minute SELECT ?1, process, tid, source, op, state, ` + summed("ns") + `, ` + summed("count") + `, max(max_ns)
			FROM ledger WHERE second >= ?1 AND second < ?1 + 60 GROUP BY process, tid, source, op, state`,
		`REPLACE INTO waits_minute SELECT ?1, process, tid, state, other_pid, other_tid, other_comm, ` + summed("ns") + `, ` + summed("count") + `
			FROM waits WHERE second >= ?1 AND second < ?1 + 60 GROUP BY process, tid, state, other_pid, other_tid, other_comm`,
	} {
		if _, err := w.exec(ctx, text, minute); err != nil {
			return err
		}
	}
	return nil
}

// booksRows is how many rows the pending books may become.
func (w *Writer) booksRows() int64 {
	n := int64(len(w.waits) + len(w.threads))
	for _, sum := range w.ledger {
		for s := range event.States {
			if sum.NS[s]+sum.Count[s] > 0 {
				n++
			}
		}
	}
	return n
}
