package web

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"ingero/internal/serve"
)

const (
	liveName   = "live"
	liveEvery  = time.Second
	liveSilent = 15 * time.Second // after which a comment keeps the connection open
)

// live sends an event when there is something new. How new it is, it asks like
// anybody else, so that many streams cost what one costs.
func (s *server) live(w http.ResponseWriter, r *http.Request) {
	c := http.NewResponseController(w)
	if err := c.SetWriteDeadline(time.Time{}); err != nil {
		serve.Fail(w, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	if err := c.Flush(); err != nil { // so that the client knows it is connected
		return
	}
	var last int64
	said := time.Now()
	for {
		newest, err := s.newest(r.Context())
		text := ""
		switch {
		case err == nil && newest != last:
			last = newest
			text = fmt.Sprintf("event: changed\ndata: {\"newest_ns\":%d}\n\n", newest)
		case time.Since(said) > liveSilent:
			text = ": nothing new\n\n"
		}
		if text != "" {
			said = time.Now()
			if err := c.SetWriteDeadline(said.Add(liveSilent)); err != nil {
				return
			}
			if _, err := w.Write([]byte(text)); err != nil {
				return
			}
			if err := c.Flush(); err != nil {
				return
			}
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-serve.Ending(r.Context()):
			return
		}
	}
}

// newest is the unix ns of the newest data.
func (s *server) newest(ctx context.Context) (int64, error) {
	b, err := s.flights.do(ctx, liveName, func(ctx context.Context) ([]byte, error) {
		_, newest, err := s.asked().Data.Span(ctx)
		return strconv.AppendInt(nil, newest, 10), err
	})
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(b), 10, 64)
}
