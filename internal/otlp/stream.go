package otlp

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
)

// outcome is what became of a push.
type outcome int

const (
	idle    outcome = iota // there was nothing to push
	taken                  // by the collector
	refused                // for good, at least in part
	later                  // not now, but perhaps later
)

// Counts say what became of one signal since the start.
type Counts struct {
	Requests uint64 // that were taken
	Failures uint64 // requests that were not
	Items    uint64 // points or findings that were taken
	Rejected uint64 // points or findings that the collector refused
	Dropped  uint64 // findings that were forgotten before they could be sent
	Bytes    uint64 // bodies of requests, compressed
}

// stream pushes one signal, one request at a time.
type stream struct {
	*client
	say, debugf func(string, ...any)

	link   *link
	health health
	failed int           // pushes in a row
	reason error         // of the last failure
	after  time.Duration // how long the collector asked us to wait
	warned bool          // that a part was rejected

	mu     sync.Mutex
	counts Counts
}

func newStream(c *client, l *link, say, debugf func(string, ...any)) *stream {
	return &stream{client: c, link: l, say: say, debugf: debugf}
}

// run pushes at once, then every so often, later after failures; and once
// more when ctx has ended, what is there then.
func (s *stream) run(ctx context.Context, every time.Duration, push func(context.Context) outcome) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			s.last(context.WithoutCancel(ctx), push)
			return
		case <-timer.C:
		}
		began := time.Now()
		result := push(ctx)
		if ctx.Err() != nil {
			continue // it was cut short
		}
		s.settle(result)
		wait := max(time.Until(began.Add(every)), 0)
		if result == later {
			wait = max(backoff(s.failed), s.after)
		}
		timer.Reset(wait)
	}
}

func (s *stream) last(ctx context.Context, push func(context.Context) outcome) {
	limit := lastPush
	if s.failed > 0 {
		limit = lastTry
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s.settle(push(ctx))
	s.http.CloseIdleConnections()
}

// send sends one request of n items and counts what becomes of it.
func (s *stream) send(ctx context.Context, m proto.Message, n int) outcome {
	began := time.Now()
	a := s.post(ctx, m)
	took := time.Since(began).Round(100 * time.Microsecond)
	if a.err != nil && ctx.Err() == context.Canceled {
		return later // the trace ends; the last push says it again
	}
	s.count(a, n)
	if a.err != nil {
		s.reason, s.after = a.err, a.after
		s.debugf("OTLP: push of %d %s to %s failed in %v: %v", n, s.signal.items, s.Target, took, a.err)
		if a.retry {
			return later
		}
		return refused
	}
	s.debugf("OTLP: pushed %d %s to %s: %d bytes in %v, %s", n, s.signal.items, s.Target, a.bytes, took, a.status)
	if a.rejected > 0 || a.message != "" {
		s.warn(a, n)
	}
	return taken
}

// warn tells of a request that was taken in part; once, then in the log.
func (s *stream) warn(a answer, n int) {
	tell := s.debugf
	if !s.warned {
		s.warned, tell = true, s.say
	}
	what := fmt.Sprintf("rejected %d of %d %s", a.rejected, n, s.signal.items)
	if a.rejected == 0 {
		what = "warns"
	}
	tell("OTLP: %s %s%s", s.Target, what, colon(a.message))
}

func (s *stream) count(a answer, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.counts
	bad := uint64(min(max(a.rejected, 0), int64(n)))
	switch {
	case a.err == nil:
		c.Requests++
		c.Items += uint64(n) - bad
		c.Rejected += bad
		c.Bytes += uint64(a.bytes)
	case a.retry:
		c.Failures++
	default:
		c.Failures++
		c.Rejected += uint64(n)
	}
}

// drop counts findings that were forgotten.
func (s *stream) drop(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Dropped += n
}

func (s *stream) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}
