package store

import (
	"context"
	"database/sql"
	"fmt"
)

const (
	// statsShare is the share of the database that statistics and the rest
	// may take before they, and not events, are dropped.
	statsShare = 0.2
	// pruneSteps bounds the work of one flush beyond what it adds itself.
	pruneSteps = 64
	// shrinkPages bounds how many pages a flush gives back to the disk.
	shrinkPages = 512
	// rowBytes is a guess at the size of a row of statistics; most of it is
	// the histogram.
	rowBytes = 512
	// bookBytes is a guess at the size of a row of the ledger or of waits.
	bookBytes = 40
	// emptyBytes is the size of a database with nothing in it.
	emptyBytes = 40 * pageSize
	// pageRoom is what a page holds of a long blob.
	pageRoom = pageSize - 4
)

// space returns what a blob takes on disk: its last page is its own.
func space(size int64) int64 { return (size/pageRoom + 1) * pageSize }

// prune makes room for what this flush adds: the oldest events go first, or
// the oldest statistics where those take more than their share. Freed pages
// are used again. It returns the space of all chunks after the flush.
func (w *Writer) prune(ctx context.Context, chunks []chunkRow) (int64, error) {
	bytes := w.chunkBytes
	added := int64(len(w.stats)+len(w.snapshots)+len(w.gpus))*rowBytes + w.booksRows()*bookBytes + w.stackBytes()
	for _, c := range w.chains {
		added += int64(len(c.Detail)+len(c.Explanation)+len(c.Timeline)) + rowBytes
	}
	for _, c := range chunks {
		old, err := w.chunkSize(ctx, c.id)
		if err != nil {
			return 0, err
		}
		grown := space(int64(len(c.data))) - old
		added += grown + int64(len(c.digest))
		bytes += grown
	}
	if w.opts.MaxBytes == 0 {
		return bytes, nil
	}
	var pages, free int64
	if err := w.conn.QueryRowContext(ctx, "SELECT page_count, freelist_count FROM pragma_page_count, pragma_freelist_count").
		Scan(&pages, &free); err != nil {
		return 0, err
	}
	used := (pages-free)*pageSize + added
	if pages*pageSize > w.opts.MaxBytes && free > 0 {
		// The limit was lowered: hand pages back, a few at a time.
		if err := w.shrink(ctx); err != nil {
			return 0, err
		}
	}
	for range pruneSteps + 2*len(chunks) {
		if used <= w.opts.MaxBytes {
			break
		}
		freed, ofChunks, err := w.dropOldest(ctx, float64(bytes) >= (1-statsShare)*float64(used-emptyBytes))
		if err != nil {
			return 0, err
		}
		if freed == 0 {
			break
		}
		used -= freed
		if ofChunks {
			bytes -= freed
		}
	}
	return bytes, nil
}

// chunkSize returns the space of a stored chunk, 0 if there is none.
func (w *Writer) chunkSize(ctx context.Context, id int64) (size int64, err error) {
	s, err := w.prepare(ctx, "SELECT length(data) FROM event_chunks WHERE id = ?")
	if err != nil {
		return 0, err
	}
	if err = s.QueryRowContext(ctx, id).Scan(&size); err == sql.ErrNoRows {
		return 0, nil
	}
	return space(size), err
}

func (w *Writer) shrink(ctx context.Context) error {
	rows, err := w.conn.QueryContext(ctx, fmt.Sprintf("PRAGMA incremental_vacuum(%d)", shrinkPages))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() { // each step gives back one page
	}
	return rows.Err()
}

// dropOldest removes the oldest chunk or the oldest minute of statistics,
// whichever is wanted, or else the other. It returns about how many bytes
// that freed, 0 if nothing is left to drop.
func (w *Writer) dropOldest(ctx context.Context, chunkFirst bool) (freed int64, ofChunks bool, err error) {
	if !chunkFirst {
		if freed, err = w.dropStats(ctx); err != nil || freed > 0 {
			return freed, false, err
		}
	}
	var id int64
	err = w.conn.QueryRowContext(ctx, "SELECT id, length(data) FROM event_chunks WHERE id <> ? ORDER BY id LIMIT 1", w.openID).Scan(&id, &freed)
	if err == sql.ErrNoRows {
		if chunkFirst {
			freed, err = w.dropStats(ctx)
			return freed, false, err
		}
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	for _, text := range []string{"DELETE FROM event_chunks WHERE id = ?", "DELETE FROM event_digests WHERE chunk = ?"} {
		if _, err := w.exec(ctx, text, id); err != nil {
			return 0, true, err
		}
	}
	return space(freed), true, nil
}

// dropStats removes the oldest minute: its seconds while there are any that
// are rolled up, later the roll-ups.
func (w *Writer) dropStats(ctx context.Context) (freed int64, err error) {
	for _, t := range []struct{ period, calls, ledger, waits string }{
		{"second", "call_stats", "ledger", "waits"},
		{"minute", "call_stats_minute", "ledger_minute", "waits_minute"},
	} {
		var oldest sql.NullInt64
		// Each min is the first entry of an index.
		if err := w.conn.QueryRowContext(ctx, fmt.Sprintf(`SELECT min(t) FROM (SELECT min(%[1]s) AS t FROM %s
			UNION ALL SELECT min(%[1]s) FROM %s UNION ALL SELECT min(%[1]s) FROM %s)`, t.period, t.calls, t.ledger, t.waits)).
			Scan(&oldest); err != nil {
			return 0, err
		}
		minute := floorDiv(oldest.Int64, 60) * 60
		if !oldest.Valid || minute+60 > w.newest || w.dirty[minute] {
			continue
		}
		for _, x := range []struct {
			table, column string
			unit, size    int64
		}{
			{t.calls, t.period, 1, rowBytes}, {t.ledger, t.period, 1, bookBytes}, {t.waits, t.period, 1, bookBytes},
			{"drains", "second", 1, 0}, {"system_snapshots", "timestamp", 1e9, 0}, {"gpu_samples", "timestamp", 1e9, 0},
		} {
			res, err := w.exec(ctx, "DELETE FROM "+x.table+" WHERE "+x.column+" < ?", (minute+60)*x.unit)
			if err != nil {
				return 0, err
			}
			n, err := res.RowsAffected()
			if err != nil {
				return 0, err
			}
			freed += n * x.size
		}
		if t.period == "minute" {
			if _, err := w.exec(ctx, "DELETE FROM threads WHERE seen <= ?", minute); err != nil {
				return 0, err
			}
			n, err := w.dropStacks(ctx, minute+60)
			if err != nil {
				return 0, err
			}
			freed += n
		}
		return freed, nil
	}
	return 0, nil
}
