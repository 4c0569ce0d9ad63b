package browser

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"ingero/internal/store"
)

// With a token set the page asks for it, refuses a wrong one, and keeps the
// right one for as long as the tab is there.
func TestToken(t *testing.T) {
	p := open(t, browser(t), "", "about:blank")
	p.base = dashboard(t, incident, "INGERO_TOKEN=correct-horse-battery")
	p.expect("401") // the browser reports the refusals
	p.run(chromedp.Navigate(p.base))
	p.sees("This dashboard asks for a token")
	p.run(chromedp.SendKeys(chromedp.CSS("dialog input"), "wrong-horse-battery"+kb.Enter))
	p.sees("That token is not the right one.")
	p.run(chromedp.SendKeys(chromedp.CSS("dialog input"), "correct-horse-battery"+kb.Enter))
	p.sees("The job lost time.", "hog", "live")
	p.run(chromedp.Reload())
	p.sees("The job lost time.")
}

// What goes wrong is said in words that help.
func TestProblems(t *testing.T) {
	at := dashboard(t, incident)
	p := open(t, browser(t), at, "#/ops?since=5m")
	p.sees("No traced process was seen", "sudo ingero trace", "sessions")
	p.expect("400")
	p.goTo("#/ops?since=soon")
	p.sees(`cannot read the duration "soon"`)
	p.goTo("#/nothing")
	p.sees("The job lost time.")
	p.goTo("#/ledger?pid=4242")
	p.sees("No traced process was seen", "all processes instead of 4242")
	p.run(chromedp.Click("//button[text()='from – to']"), chromedp.SendKeys(chromedp.CSS(".fromto input"), "x"+kb.Enter))
	p.sees("Write it like 2026-01-31 15:40:00.")

	p = open(t, browser(t), dashboard(t, write(t, "job", func(*store.Writer, time.Time) {})), "")
	p.sees("No traced process was seen")
}
