package browser

import (
	"path/filepath"
	"testing"
	"time"

	"ingero/internal/event"
	"ingero/internal/stats"
	"ingero/internal/store"
)

// write makes a database of one process.
func write(t *testing.T, comm string, fill func(w *store.Writer, start time.Time)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "made.db")
	w, err := store.Create(path, store.Options{Node: "node"})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now().Add(-3 * time.Minute).Truncate(time.Second)
	w.Process(store.ProcessRow{Process: event.Process{PID: 7, Start: start.UnixNano(), Comm: comm, Rank: event.NoRank}})
	fill(w, start)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

var wait = event.MakeOp(event.CUDA, 5)

// second writes what a job does in a second: 1000 calls, half of the time in
// them, and a thief that takes a tenth of it.
func second(w *store.Writer, at time.Time, start int64, comm, thief string) {
	h := new(stats.Histogram)
	for range 1000 {
		h.Add(500_000)
	}
	w.Stats(at.Unix(), []stats.Calls{{PID: 7, Start: start, Op: wait, Hist: h, Recorded: 1000}})
	in, out := stats.Ledger{PID: 7, TID: 7, Start: start, Comm: comm, Place: wait}, stats.Ledger{PID: 7, TID: 7, Start: start, Comm: comm}
	in.NS[event.GPUWait], out.NS[event.Running], out.NS[event.Runnable] = 500e6, 400e6, 100e6
	w.Books(at.Unix(), []stats.Ledger{in, out}, []stats.Pair{{PID: 7, State: event.Runnable, OtherPID: 66, OtherComm: thief, NS: 100e6, Count: 50}})
	w.Drained(at.Unix(), 1e9)
}

// Names of processes are the text of strangers: whatever they are, they show
// as text, in every view.
func TestHostileNames(t *testing.T) {
	const script, picture = "</script><script>window.bad = 1</script>", `<img src=x onerror="window.bad=1">`
	const escape = "\x1b[31mred\u202e\u0007"
	db := write(t, script, func(w *store.Writer, start time.Time) {
		frames := []event.Frame{{IP: 1, Symbol: picture, File: "x.so"}, {IP: 2, PyFile: `"><svg onload=window.bad=1>`, PyFunc: "f", PyLine: 1}}
		w.Place(store.Place{PID: 66, Comm: picture, Cgroup: picture})
		for s := range int64(30) {
			at := start.Add(time.Duration(s) * time.Second)
			second(w, at, start.UnixNano(), escape, picture)
			w.Append([]event.Event{{Start: at.UnixNano(), Dur: 5e8, PID: 7, TID: 7, Op: wait, Comm: script, Stack: 99, Runnable: 1e6, Blocked: 4e8, Rank: event.NoRank}})
		}
		w.Stack(event.Stack{Hash: 99, PID: 7, TID: 7, Op: wait, IPs: []uint64{1, 2}, Frames: frames})
	})
	p := open(t, browser(t), dashboard(t, db), "")
	for _, v := range views {
		p.view(v)
		if eval[bool](p, "window.bad !== undefined || document.querySelector('#app img, #app script') !== null") {
			t.Errorf("%s: a name became part of the page", v)
		}
	}
	p.view("thieves")
	p.sees(picture, script)
	p.view("ledger")
	p.sees("·[31mred··")
}
