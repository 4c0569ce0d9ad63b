package metric

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func attr(l Log, key string) string {
	for _, a := range l.Attrs {
		if a.Key == key {
			return a.Value
		}
	}
	return ""
}

func TestFindings(t *testing.T) {
	b := newBench(t)
	f := Finding{ID: "x", Kind: "cpu_contention", Severity: "LOW", PID: 7, Comm: "job", Culprit: "hog", Started: b.at.Add(-2 * time.Second), Lost: time.Second}
	tell := func(change func()) { change(); b.at = b.at.Add(time.Second); b.Finding(f) }
	tell(func() {})
	tell(func() { f.Lost = 2 * time.Second }) // no news
	tell(func() { f.Severity = "HIGH" })
	tell(func() { f.Severity = "MEDIUM" })
	tell(func() { f.Severity = "HIGH" })
	if diff := cmp.Diff(map[string]float64{"kind=cpu_contention,process.command=job,process.pid=7,severity=HIGH": 2}, b.points("ingero.anomaly.lost")); diff != "" {
		t.Error(diff)
	}
	tell(func() { f.Culprit = "other hog" })
	tell(func() { f.Ended = b.at })
	tell(func() {}) // no news
	var got []string
	logs, next, forgotten := b.Logs(0)
	for _, l := range logs {
		got = append(got, attr(l, "ingero.finding.news")+" "+l.Text+" "+attr(l, "ingero.culprit.command"))
		if l.Time.After(l.Observed) || l.Event != "ingero.finding" || l.Severity != severityOf(l.Text) {
			t.Errorf("%+v", l)
		}
	}
	want := []string{"begin LOW hog", "change HIGH hog", "change MEDIUM hog", "change HIGH hog", "change HIGH other hog", "end HIGH other hog"}
	if diff := cmp.Diff(want, got); diff != "" || next != 6 || forgotten != 0 {
		t.Errorf("%s next %d, forgotten %d", diff, next, forgotten)
	}
	counts := map[string]float64{"kind=cpu_contention,severity=LOW": 1, "kind=cpu_contention,severity=MEDIUM": 0, "kind=cpu_contention,severity=HIGH": 1}
	if diff := cmp.Diff(counts, b.points("ingero.anomaly.count")); diff != "" {
		t.Error(diff)
	}
	if p := b.points("ingero.anomaly.active"); len(p) != 0 {
		t.Errorf("%v are active", p)
	}
}

func TestLogsAreBounded(t *testing.T) {
	b := newBench(t)
	cursor := uint64(0)
	for i := range 3 * maxLogs {
		b.Finding(Finding{ID: fmt.Sprint(i), Kind: "x", Severity: "LOW", Started: b.at, Ended: b.at})
		if i == 10 {
			var logs []Log
			if logs, cursor, _ = b.Logs(0); len(logs) != 22 || cursor != 22 {
				t.Fatalf("%d logs, next %d", len(logs), cursor)
			}
		}
	}
	logs, next, forgotten := b.Logs(cursor)
	if len(logs) != maxLogs || next != 6*maxLogs || forgotten != 6*maxLogs-maxLogs-22 {
		t.Errorf("%d logs, next %d, %d forgotten", len(logs), next, forgotten)
	}
	if logs, again, _ := b.Logs(next); len(logs) != 0 || again != next {
		t.Errorf("%d logs, next %d", len(logs), again)
	}
	if n := len(b.findings.known); n > maxLogs+1 {
		t.Errorf("%d findings are remembered", n)
	}
}
