package store

import (
	"slices"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// Append takes events over into the open chunk. It does no I/O; a chunk that
// fills up is packed and waits for Flush.
func (w *Writer) Append(events []event.Event) {
	for len(events) > 0 {
		if len(w.open) == 0 {
			w.openedAt = w.opts.Now()
		}
		n := min(len(events), chunkEvents-len(w.open))
		w.open = append(w.open, events[:n]...)
		events = events[n:]
		w.changed = true
		if len(w.open) == chunkEvents {
			w.seal()
		}
	}
}

// seal packs the open chunk and begins a new one.
func (w *Writer) seal() {
	if len(w.open) == 0 {
		return
	}
	if w.changed {
		w.sealed = append(w.sealed, w.pack())
	}
	w.openSeq += int64(len(w.open))
	w.open, w.openID, w.changed = w.open[:0], 0, false
	for len(w.sealed) > maxSealed {
		w.dropped += uint64(w.sealed[0].n)
		w.sealed = w.sealed[1:]
		w.described = false
	}
}

// pack encodes the open chunk; it keeps its row if it has one.
func (w *Writer) pack() chunkRow {
	first, last := w.open[0].Start, w.open[0].Start
	for i := range w.open {
		first = min(first, w.open[i].Start)
		last = max(last, w.open[i].Start)
	}
	if w.openID == 0 {
		w.openID = w.nextID
		w.nextID++
	}
	return chunkRow{w.openID, first, last, w.openSeq, len(w.open), w.enc.encode(w.open), appendDigest(nil, w.open)}
}

// Stats adds what happened in one second (unix s). Several calls for the
// same second, process and operation add up.
func (w *Writer) Stats(second int64, all []stats.Calls) {
	for i := range all {
		s := &all[i]
		key := processKey{s.PID, s.Start}
		w.process(key).counted = true
		at := cell{second, key, s.Op}
		into := w.stats[at]
		if into == nil {
			into = &stats.Calls{PID: s.PID, Start: s.Start, Op: s.Op, Hist: new(stats.Histogram)}
			w.stats[at] = into
		}
		add := *s
		if add.Hist == nil {
			add.Hist = new(stats.Histogram)
		}
		into.Add(&add)
	}
}

func (w *Writer) process(key processKey) *processState {
	p := w.processes[key]
	if p == nil {
		p = w.adopt(key)
	}
	if p == nil {
		p = &processState{changed: true}
		p.row.PID, p.row.Start, p.row.Rank = key.pid, key.start, event.NoRank
		w.processes[key] = p
		w.byPID[key.pid] = append(w.byPID[key.pid], p)
	}
	return p
}

// Process records a process, or what is newly known of it.
func (w *Writer) Process(row ProcessRow) {
	p := w.process(processKey{row.PID, row.Start})
	p.row, p.changed, p.known = row, true, true
}

// Session replaces the description of the session; gaps and clock steps that
// were reported already are kept.
func (w *Writer) Session(s Session) {
	s.Gaps = union(w.session.Gaps, s.Gaps)
	s.ClockSteps = append(slices.Clone(w.session.ClockSteps), s.ClockSteps...)
	w.session, w.described = s, false
}

// Gap reports, once, something that could not be traced.
func (w *Writer) Gap(text string) {
	if !slices.Contains(w.session.Gaps, text) {
		w.session.Gaps = append(w.session.Gaps, text)
		w.described = false
	}
}

// ClockStep reports a jump of the wall clock.
func (w *Writer) ClockStep(s ClockStep) {
	w.session.ClockSteps = append(w.session.ClockSteps, s)
	w.described = false
}

// Dropped returns how many events were given up because they could not be
// written for long. They count as lost in the session.
func (w *Writer) Dropped() uint64 { return w.dropped }

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
