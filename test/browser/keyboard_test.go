package browser

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// Everything can be reached by keys: views by their shortcuts, controls by
// Tab in the order in which they are seen, each with a focus that shows.
func TestKeyboard(t *testing.T) {
	p := open(t, browser(t), dashboard(t, incident), "")
	p.sees("The job lost time.")
	for i, view := range views {
		key := fmt.Sprint(i + 1)
		if i >= 9 {
			key = view[:1]
		}
		p.run(chromedp.KeyEvent(key))
		p.until("view "+view, fmt.Sprintf("location.hash.startsWith('#/%s') && document.querySelector('nav [aria-current]').hash.startsWith('#/%[1]s')", view))
		p.settled()
	}
	p.run(chromedp.KeyEvent("1"))
	p.sees("What to do")
	p.run(chromedp.KeyEvent("?"))
	p.until("the list of keys", "document.querySelector('dialog[open]').innerText.includes('go to a view')")
	p.run(chromedp.KeyEvent(kb.Escape))
	p.until("closed", "!document.querySelector('dialog')")
	p.run(chromedp.KeyEvent("t"))
	p.until("light", "document.documentElement.dataset.theme === 'light' && document.querySelector('.top').innerText.includes('light')")
	p.run(chromedp.KeyEvent("t"))
	p.until("dark", "document.documentElement.dataset.theme === 'dark'")
	p.run(chromedp.KeyEvent("l"))
	p.until("paused", "document.querySelector('.link-state').innerText === 'paused'")
	p.run(chromedp.KeyEvent("w"))
	p.until("at the window", "document.activeElement.innerText === '5m'")

	var order []string
	for range 14 {
		p.run(chromedp.KeyEvent(kb.Tab))
		order = append(order, eval[string](p, "document.activeElement.innerText || document.activeElement.tagName"))
		if width := eval[string](p, "getComputedStyle(document.activeElement).outlineWidth"); width == "0px" {
			t.Errorf("the focus on %q does not show", order[len(order)-1])
		}
	}
	got := strings.Join(order, " | ")
	for _, want := range []string{"15m | 1h | 6h | 1d | latest", "copy"} {
		if !strings.Contains(got, want) {
			t.Errorf("Tab goes through %s, without %s", got, want)
		}
	}
}

// The timeline moves, zooms and steps through slow calls by keys.
func TestTimelineKeys(t *testing.T) {
	p := open(t, browser(t), dashboard(t, incident), "#/timeline")
	p.until("drawn", "document.querySelector('.strip canvas')?.height > 100 && document.querySelector('.strip canvas').getAttribute('aria-label').includes('2 threads')")
	p.run(chromedp.Focus(chromedp.CSS(".strip canvas")), chromedp.KeyEvent("+"))
	p.sees("whole window")
	p.run(chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent("n"))
	p.until("a slow call", "document.querySelector('#call')?.innerText.includes('took')")
	p.run(chromedp.KeyEvent("0"))
	p.until("all of it", "document.querySelector('.strip canvas') === document.activeElement")
}
