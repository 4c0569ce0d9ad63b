package prom

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"ingero/internal/metric"
	"ingero/internal/serve"
)

// formats are those we write, the one we like best first. Only the first can
// tell native histograms.
var formats = []expfmt.Format{expfmt.FmtProtoDelim, expfmt.FmtOpenMetrics_1_0_0, expfmt.FmtOpenMetrics_0_0_1, expfmt.FmtText}

// An answer is given again for freshFor, or for nine times as long as it took
// to make, so that those who ask never take more than a tenth of a CPU for
// each format; but it is never older than longest.
const (
	freshFor = time.Second
	longest  = 10 * time.Second
	// takeFor is how long a client may need to take an answer.
	takeFor = 30 * time.Second
)

// handler answers GET /metrics. Answers are made one at a time, and are kept
// compressed: a client that does not take its answer keeps no more than that.
type handler struct {
	text, protobuf *prometheus.Registry
	now            func() time.Time
	turn           chan struct{} // who holds it makes an answer
	mu             sync.Mutex
	answers        map[expfmt.Format]answer
}

type answer struct {
	packed []byte
	until  time.Time
}

// Handler serves what the source knows to scrapers, under /metrics.
func Handler(source metric.Source) http.Handler {
	h := newHandler(source)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", h)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ingero: the metrics are at /metrics")
	})
	return mux
}

func newHandler(source metric.Source) *handler {
	h := &handler{
		text: prometheus.NewRegistry(), protobuf: prometheus.NewRegistry(), now: time.Now, turn: make(chan struct{}, 1), answers: map[expfmt.Format]answer{},
	}
	h.text.MustRegister(Collector{Source: source})
	h.protobuf.MustRegister(Collector{Source: source, Native: true})
	return h
}

// ServeHTTP gives the newest answer in the form that the client likes best.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	said := expfmt.NegotiateAccept(r.Header, formats...)
	format := plain(said)
	packed, err := h.answer(r, format)
	if err != nil {
		serve.Fail(w, http.StatusServiceUnavailable, err)
		return
	}
	if err := http.NewResponseController(w).SetWriteDeadline(h.now().Add(takeFor)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		serve.Fail(w, http.StatusInternalServerError, err)
		return
	}
	head := w.Header()
	head.Set("Content-Type", string(said))
	head.Set("Cache-Control", "no-store")
	head.Set("Vary", "Accept, Accept-Encoding")
	if takesGzip(r.Header.Get("Accept-Encoding")) {
		head.Set("Content-Encoding", "gzip")
		_, _ = w.Write(packed) // the client is gone, or too slow: its own affair
		return
	}
	if z, err := gzip.NewReader(bytes.NewReader(packed)); err == nil {
		_, _ = io.Copy(w, z)
	}
}

// plain is the format without the escaping of names that was agreed on: ours
// need none.
func plain(f expfmt.Format) expfmt.Format {
	for _, known := range formats {
		if strings.HasPrefix(string(f), string(known)) {
			return known
		}
	}
	return expfmt.FmtText
}

func takesGzip(accept string) bool {
	for part := range strings.SplitSeq(strings.ReplaceAll(accept, " ", ""), ",") {
		name, quality, _ := strings.Cut(part, ";")
		if strings.EqualFold(name, "gzip") {
			return strings.Trim(quality, "q=0.") != "" || quality == ""
		}
	}
	return false
}

func (h *handler) known(f expfmt.Format) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a := h.answers[f]; h.now().Before(a.until) {
		return a.packed
	}
	return nil
}

// answer returns what was said a moment ago, or makes it anew.
func (h *handler) answer(r *http.Request, f expfmt.Format) ([]byte, error) {
	if packed := h.known(f); packed != nil {
		return packed, nil
	}
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if packed := h.known(f); packed != nil { // made while we waited
		return packed, nil
	}
	began := h.now()
	packed, err := h.make(f)
	if err != nil {
		return nil, err
	}
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answers[f] = answer{packed, now.Add(min(max(freshFor, 9*now.Sub(began)), longest))}
	return packed, nil
}

// make writes everything in one format.
func (h *handler) make(f expfmt.Format) ([]byte, error) {
	registry := h.text
	if f == expfmt.FmtProtoDelim {
		registry = h.protobuf
	}
	families, err := registry.Gather()
	if err != nil {
		return nil, fmt.Errorf("collect metrics: %w", err)
	}
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	e := expfmt.NewEncoder(z, f)
	for _, family := range families {
		if err := e.Encode(family); err != nil {
			return nil, fmt.Errorf("write metrics: %w", err)
		}
	}
	if c, ok := e.(expfmt.Closer); ok { // OpenMetrics has a last line
		if err := c.Close(); err != nil {
			return nil, fmt.Errorf("write metrics: %w", err)
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}
