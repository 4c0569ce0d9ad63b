package browser

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// views are all views, by their names in addresses.
var views = []string{"health", "ledger", "ops", "findings", "timeline", "flame", "thieves", "graphs", "system", "sessions", "capabilities"}

// shortTime writes ns as the program does.
func shortTime(ns float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, "s"}, {1e6, "ms"}, {1e3, "µs"}} {
		if v := ns / u.size; v >= 100 {
			return fmt.Sprintf("%.0f %s", v, u.name)
		} else if v >= 1 {
			return fmt.Sprintf("%.1f %s", v, u.name)
		}
	}
	return fmt.Sprintf("%.0f ns", ns)
}

func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

type explanation struct {
	Window struct{ From, To string }
	Chains []struct {
		ID, Severity string
		PID          int
		Started      string `json:"started_at"`
		Ended        string `json:"ended_at"`
		Cause        struct {
			Summary  string
			Culprits []struct {
				PID  int
				Comm string
			}
		}
		Impact struct {
			Lost float64 `json:"lost_ns"`
		}
		Fixes []struct{ Text, Command string }
	}
}

// The first view names what was lost, who did it and what to do, without a
// click and without scrolling.
func TestHealth(t *testing.T) {
	p := open(t, browser(t), dashboard(t, incident), "")
	e := ask[explanation](t, incident, "explain")
	if len(e.Chains) != 1 {
		t.Fatalf("%d findings in the recorded incident, want 1", len(e.Chains))
	}
	c := e.Chains[0]
	p.sees("The job lost time.", "1 HIGH", c.Cause.Summary, shortTime(c.Impact.Lost), c.Fixes[0].Text, c.Fixes[0].Command, "Where the time went", "llm-serve")
	if c.Cause.Culprits[0].Comm != "hog" || !strings.Contains(c.Fixes[0].Command, fmt.Sprint(c.Cause.Culprits[0].PID)) {
		t.Errorf("%+v", c)
	}
	if bottom := eval[float64](p, "document.querySelector('.fixes').getBoundingClientRect().bottom"); bottom > 900 {
		t.Errorf("what to do ends %.0f px down", bottom)
	}
	p.until("charts are drawn", "document.querySelectorAll('.feeder canvas').length >= 2")
	p.run(chromedp.Click(chromedp.CSS(".evidence button")))
	p.sees("cudaStreamSync", "runnable")
}

// A job that is well gets no findings, and the page says so.
func TestHealthy(t *testing.T) {
	e := ask[explanation](t, incident, "explain")
	began, err := time.Parse(time.RFC3339, e.Chains[0].Started)
	if err != nil {
		t.Fatal(err)
	}
	before := url.Values{"from": {began.Add(-9 * time.Second).Format(time.RFC3339)}, "to": {began.Add(-time.Second).Format(time.RFC3339)}}
	p := open(t, browser(t), dashboard(t, incident), "#/health?"+before.Encode())
	p.sees("No findings.", "that it does not take when all is well", "python3")
	p.run(chromedp.Click("//button[text()='session']"))
	p.sees("The job lost time.")
}

// The table of operations has the numbers of the command line, and can be
// filtered, sorted, split by process and followed over time.
func TestOps(t *testing.T) {
	p := open(t, browser(t), dashboard(t, incident), "#/ops")
	answer := ask[struct {
		Ops []struct {
			Op    string
			Count int
			P99   float64 `json:"p99_ns"`
			Total float64 `json:"total_ns"`
		}
	}](t, incident, "ops")
	p.sees("cudaStreamSync")
	cells := eval[map[string]string](p, `Object.fromEntries([...document.querySelectorAll('tbody tr')].map(r => [r.cells[0].innerText, r.innerText]))`)
	for _, o := range answer.Ops {
		if o.Total == 0 {
			continue
		}
		for _, want := range []string{thousands(o.Count), shortTime(o.P99), shortTime(o.Total)} {
			if !strings.Contains(cells[o.Op], want) {
				t.Errorf("%s: %q lacks %s", o.Op, cells[o.Op], want)
			}
		}
	}
	p.run(chromedp.SendKeys(chromedp.CSS("input[type=search]"), "memcpy"))
	p.until("filtered", "document.querySelectorAll('tbody tr').length === 2")
	p.run(chromedp.Click("//button[text()='per process']"))
	p.until("per process", "document.querySelector('tbody').innerText.includes('python3') && location.hash.includes('each=1')")
	p.run(chromedp.Click("//button[text()='cudaMemcpyAsync']"))
	p.sees("History of cudaMemcpyAsync", "p99")
	p.until("charts", "document.querySelectorAll('.chart canvas').length === 2")
	p.run(chromedp.Click("//th/button[starts-with(., 'count')]"))
	p.until("sorted", "document.querySelector('th[aria-sort=descending]').innerText.startsWith('count')")
}

// Each other view shows what its question answers.
func TestViews(t *testing.T) {
	p := open(t, browser(t), dashboard(t, incident), "#/ledger")
	thieves := ask[struct {
		Thieves []struct {
			Comm string
			NS   float64
		}
	}](t, incident, "thieves").Thieves
	graphs := ask[struct{ Launches, Captures int }](t, incident, "graph-metrics")
	ledger := ask[struct {
		Processes []struct {
			Threads []struct {
				Wall   float64 `json:"wall_ns"`
				Ledger []struct {
					NS float64
				}
			}
		}
	}](t, incident, "ledger").Processes[0].Threads[0]

	p.sees("python3", shortTime(ledger.Wall)+" in all", shortTime(ledger.Ledger[0].NS), "waiting for a CPU", "between calls")
	p.goTo("#/findings?stored=1")
	p.sees("made while it was recorded", "hog")
	p.goTo("#/thieves")
	p.sees(thieves[0].Comm, shortTime(thieves[0].NS))
	p.goTo("#/graphs")
	p.sees(thousands(graphs.Launches), thousands(graphs.Captures), "hot", "graphInstantiate", "The life of each")
	p.goTo("#/system")
	p.sees("Pressure: some task waited for", "The driver said nothing of GPUs")
	p.until("charts", "document.querySelectorAll('.chart canvas').length >= 6")
	p.goTo("#/sessions")
	p.sees("gpu-node-01", "ended")
	p.run(chromedp.Click(chromedp.CSS("tbody a")))
	p.sees("The job lost time.")
	p.goTo("#/capabilities")
	p.sees("SM occupancy")
	p.run(chromedp.Focus("//li[contains(., 'SM occupancy')]"))
	p.until("the tool that is needed", "getComputedStyle(document.querySelector('.missing:focus .hint')).display === 'block' && document.activeElement.innerText.includes('DCGM')")
}

// From a finding to the calls and states around it, and to one slow call with
// its Python line.
func TestTimeline(t *testing.T) {
	p := open(t, browser(t), dashboard(t, incident), "")
	p.sees("zoom in")
	p.run(chromedp.Click("//a[text()='zoom in']"))
	p.sees("Slowest recorded calls and gaps", "cpu contention: hog")
	p.until("one process", "!document.querySelector('table').innerText.includes('llm-serve')")
	p.run(chromedp.Click(chromedp.CSS("tbody button")))
	p.sees("Trainer.load_batch()", "waiting for a CPU", "look at this span only")
	before := eval[string](p, "location.hash")
	p.run(chromedp.Click("//button[text()='look at this span only']"))
	p.until("a shorter window", fmt.Sprintf("location.hash !== %q && document.querySelector('.span').innerText.includes('ms')", before))
}

// The flame graph has the lines of Python, by mouse and by keyboard.
func TestFlame(t *testing.T) {
	p := open(t, browser(t), dashboard(t, incident), "#/flame")
	p.sees("Lost time by code", "Trainer.train_step")
	p.run(chromedp.Click("//button[text()='Python only']"))
	p.until("no native frames", "document.querySelectorAll('.flame .py').length > 2 && document.querySelectorAll('.flame .native').length === 0")
	p.run(chromedp.Focus(chromedp.CSS(".flame g.root")))
	for range 3 {
		p.run(chromedp.KeyEvent(kb.ArrowDown)) // arrow down
	}
	below := eval[string](p, "document.activeElement.getAttribute('aria-label')")
	if !strings.Contains(below, "train.py") && !strings.Contains(below, "between calls") {
		t.Errorf("three down is %q", below)
	}
	p.run(chromedp.KeyEvent(kb.Enter))
	p.until("zoomed in", "document.querySelector('.path').innerText.includes('›')")
	p.run(chromedp.KeyEvent(kb.Escape))
	p.run(chromedp.KeyEvent(kb.Home)) // home
	p.until("zoomed out", "!document.querySelector('.path').innerText.includes('›')")
}
