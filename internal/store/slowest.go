package store

import (
	"cmp"
	"context"
	"math"
	"slices"
)

// Slowest returns the events of the window that lasted longest, at most
// limit, the longest first. Only recorded events are looked at; slow calls
// always are.
func (r *Reader) Slowest(ctx context.Context, f Filter, limit int) ([]Stored, error) {
	if limit <= 0 {
		return nil, nil
	}
	all, err := read(ctx, r, "events", func(ctx context.Context, c *readConn) ([]Stored, error) {
		if r.kind == kindRecording {
			return recordingEvents(ctx, c, f, "duration DESC, timestamp", limit)
		}
		return slowestEvents(ctx, c, f, limit)
	})
	if err != nil {
		return nil, err
	}
	return topSlowest(all, limit), nil
}

func topSlowest(all []Stored, limit int) []Stored {
	slices.SortFunc(all, func(a, b Stored) int {
		return cmp.Or(cmp.Compare(b.Dur, a.Dur), cmp.Compare(a.Start, b.Start), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Seq, b.Seq))
	})
	return all[:min(limit, len(all))]
}

// slowestEvents goes through all chunks of the window. Of a chunk in which
// nothing lasted long enough only the durations are unpacked.
func slowestEvents(ctx context.Context, c *readConn, f Filter, limit int) ([]Stored, error) {
	var top []Stored
	var dec decoder
	to := int64(math.MaxInt64)
	if f.To != 0 {
		to = f.To - 1
	}
	ids, err := chunkIDs(ctx, c, f.From, to)
	if err != nil {
		return nil, err
	}
	least := int64(math.MinInt64) // shorter ones are not among them
	for _, id := range ids {
		found, err := chunkEventsOf(ctx, c, &dec, id, f, order{colDur, least}, limit)
		if err != nil {
			return nil, err
		}
		if top = append(top, found...); len(top) >= limit {
			top = topSlowest(top, limit)
			least = top[limit-1].Dur
		}
	}
	return top, nil
}
