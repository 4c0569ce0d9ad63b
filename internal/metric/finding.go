package metric

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Finding is what is known of a cause of lost time.
type Finding struct {
	ID       string // the same as long as it is told of
	Kind     string
	Severity string // LOW, MEDIUM, HIGH
	PID      uint32 // of the process that lost time
	Comm     string
	Summary  string
	Op       string // that became slower
	Fix      string // the first thing to do; may be empty

	Culprit    string // most harmful party; empty: nobody
	CulpritPID uint32
	Container  string // that it runs in; may be empty

	Started time.Time
	Ended   time.Time // zero while it goes on
	Lost    time.Duration
	Share   float64 // of the time
}

// maxLogs is how many logs are kept for those who fetch them.
const maxLogs = 1000

var severities = []struct {
	text string
	Severity
}{{"LOW", Info}, {"MEDIUM", Warn}, {"HIGH", Error}}

func severityOf(text string) Severity {
	for _, s := range severities {
		if s.text == text {
			return s.Severity
		}
	}
	return Info
}

type findingKey struct{ kind, severity string }

// findings keeps those that go on, counts all, and tells their news.
type findings struct {
	count map[findingKey]uint64
	known map[string]*Finding // by id
	worst map[string]Severity // that each known one has been counted as
	logs  []Log
	first uint64 // number of logs[0]
}

func newFindings(kinds []string) findings {
	f := findings{count: map[findingKey]uint64{}, known: map[string]*Finding{}, worst: map[string]Severity{}}
	for _, k := range kinds {
		for _, s := range severities {
			f.count[findingKey{k, s.text}] = 0
		}
	}
	return f
}

// take tells what is new of a finding.
func (k *findings) take(f Finding, now time.Time) {
	old := k.known[f.ID]
	k.known[f.ID] = &f
	if s := severityOf(f.Severity); old == nil || s > k.worst[f.ID] {
		k.worst[f.ID] = s
		k.count[findingKey{f.Kind, f.Severity}]++
	}
	switch {
	case old == nil:
		k.tell(&f, "begin", f.Started, now)
		if !f.Ended.IsZero() {
			k.tell(&f, "end", f.Ended, now)
		}
	case !f.Ended.IsZero() && old.Ended.IsZero():
		k.tell(&f, "end", f.Ended, now)
	case f.Ended.IsZero() && !old.Ended.IsZero(): // it goes on after all
		k.tell(&f, "begin", now, now)
	case f.Severity != old.Severity || f.Culprit != old.Culprit:
		k.tell(&f, "change", now, now)
	}
	if len(k.known) > maxLogs {
		maps.DeleteFunc(k.known, func(_ string, f *Finding) bool { return !f.Ended.IsZero() })
		maps.DeleteFunc(k.worst, func(id string, _ Severity) bool { return k.known[id] == nil })
	}
}

func (k *findings) tell(f *Finding, news string, at, now time.Time) {
	attrs := []Attr{
		{"ingero.finding.id", clean(f.ID)},
		{"ingero.finding.kind", clean(f.Kind)},
		{"ingero.finding.lost", strconv.FormatFloat(f.Lost.Seconds(), 'f', 3, 64)}, // s
		{"ingero.finding.news", news},
		{"ingero.finding.share", strconv.FormatFloat(f.Share, 'f', 4, 64)},
		{"ingero.finding.started", f.Started.UTC().Format(time.RFC3339Nano)},
		{"operation", clean(f.Op)},
		{"process.command", clean(f.Comm)},
		{"process.pid", number(f.PID)},
	}
	if f.Culprit != "" {
		attrs = append(attrs, Attr{"ingero.culprit.command", clean(f.Culprit)}, Attr{"ingero.culprit.pid", number(f.CulpritPID)})
	}
	if f.Container != "" {
		attrs = append(attrs, Attr{"ingero.culprit.container.id", clean(f.Container)})
	}
	if f.Fix != "" {
		attrs = append(attrs, Attr{"ingero.finding.fix", long(f.Fix)})
	}
	slices.SortFunc(attrs, func(a, b Attr) int { return cmp.Compare(a.Key, b.Key) })
	body := fmt.Sprintf("%s: PID %d (%s): %s", f.Kind, f.PID, clean(f.Comm), long(f.Summary))
	if news == "end" {
		body = fmt.Sprintf("%s ended: PID %d (%s): %s", f.Kind, f.PID, clean(f.Comm), long(f.Summary))
	}
	k.logs = append(k.logs, Log{
		Time: at, Observed: now, Severity: severityOf(f.Severity), Text: f.Severity, Body: body, Event: "ingero.finding", Attrs: attrs,
	})
	if n := len(k.logs) - maxLogs; n > 0 {
		k.logs = slices.Delete(k.logs, 0, n)
		k.first += uint64(n)
	}
}

// since returns the logs from the one with this number on.
func (k *findings) since(cursor uint64) (logs []Log, next, forgotten uint64) {
	next = k.first + uint64(len(k.logs))
	if cursor < k.first {
		cursor, forgotten = k.first, k.first-cursor
	}
	return slices.Clone(k.logs[min(cursor, next)-k.first:]), next, forgotten
}

// active are those that go on, in order.
func (k *findings) active() []Finding {
	var all []Finding
	for _, f := range k.known {
		if f.Ended.IsZero() {
			all = append(all, *f)
		}
	}
	slices.SortFunc(all, func(a, b Finding) int { return cmp.Compare(a.ID, b.ID) })
	return all
}
