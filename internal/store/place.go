package store

import (
	"context"
	"fmt"
)

// Place says on whose behalf a process ran that is not traced.
type Place struct {
	PID               uint32
	Comm              string
	Cgroup, Container string // path; 64 hex digits or empty
}

// Place records where a process runs that took time from a traced one.
func (w *Writer) Place(p Place) { w.places[placeKey{p.PID, p.Comm}] = p }

type placeKey struct {
	pid  uint32
	comm string
}

// Drained records how long the ledger's second was, in ns.
func (w *Writer) Drained(second, wall int64) { w.drains[second] += wall }

func (w *Writer) writePlaces(ctx context.Context) error {
	for _, p := range w.places {
		if _, err := w.exec(ctx, "INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?, ?)",
			p.PID, p.Comm, p.Cgroup, p.Container, w.opts.Now().UnixNano()); err != nil {
			return err
		}
	}
	for second, wall := range w.drains {
		if _, err := w.exec(ctx, "INSERT INTO drains VALUES (?, ?) ON CONFLICT (second) DO UPDATE SET wall_ns = wall_ns + excluded.wall_ns",
			second, wall); err != nil {
			return err
		}
	}
	return nil
}

// Places returns where processes ran that took time from traced ones. Of a
// number that was used again, the last one is known.
func (r *Reader) Places(ctx context.Context) (map[uint32]Place, error) {
	all := map[uint32]Place{}
	err := r.do(ctx, func(ctx context.Context, c *readConn) error {
		clear(all)
		has, err := tableColumns(ctx, c, "places")
		if err != nil || !has["pid"] {
			return err
		}
		rows, err := c.QueryContext(ctx, "SELECT pid, comm, cgroup, container FROM places ORDER BY seen_at")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var p Place
			if err := rows.Scan(&p.PID, &p.Comm, &p.Cgroup, &p.Container); err != nil {
				return err
			}
			all[p.PID] = p
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("read where processes ran: %w", err)
	}
	return all, nil
}

// readDrains returns how long each second from one up to another was.
func readDrains(ctx context.Context, c *readConn, from, to int64) (map[int64]int64, error) {
	has, err := tableColumns(ctx, c, "drains")
	if err != nil || !has["second"] {
		return nil, err
	}
	rows, err := c.QueryContext(ctx, "SELECT second, wall_ns FROM drains WHERE second >= ? AND second < ?", from, to)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[int64]int64{}
	for rows.Next() {
		var second, wall int64
		if err := rows.Scan(&second, &wall); err != nil {
			return nil, err
		}
		all[second] = wall
	}
	return all, rows.Err()
}
