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

// slowestEvents goes through the chunks of the window, from the one with the
// longest event on, until no further one can hold one that is long enough. Of
// a chunk without a digest only the durations are unpacked if all are short.
func slowestEvents(ctx context.Context, c *readConn, f Filter, limit int) ([]Stored, error) {
	refs, _, err := chunkRefs(ctx, c, f, listing{}, nil)
	if err != nil {
		return nil, err
	}
	for i := range refs {
		if !refs[i].digested {
			refs[i].longest = math.MaxInt64
		}
	}
	slices.SortStableFunc(refs, func(a, b chunkRef) int { return cmp.Compare(b.longest, a.longest) })
	var top []Stored
	var dec decoder
	least := int64(math.MinInt64) // shorter ones are not among them
	for _, x := range refs {
		if x.longest < least {
			break
		}
		found, err := chunkEventsOf(ctx, c, &dec, x.id, f, order{colDur, least}, limit)
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
