package browser

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
)

var screens = flag.String("screens", "", "write a picture of each view into this folder")

// tallest is the most of a page that a picture shows, px.
const tallest = 1500

// Pictures of each view, light and dark, wide and narrow.
func TestScreens(t *testing.T) {
	if *screens == "" {
		t.Skip("no pictures are asked for: make screens")
	}
	if err := os.MkdirAll(*screens, 0o755); err != nil {
		t.Fatal(err)
	}
	e := ask[explanation](t, incident, "explain")
	c := e.Chains[0]
	places := map[string]string{
		"ops":      "ops?op=cudaStreamSync",
		"timeline": "timeline?" + url.Values{"from": {c.Started}, "to": {c.Ended}, "pid": {fmt.Sprint(c.PID)}, "id": {c.ID}}.Encode(),
		"flame":    "flame?frames=lines",
	}
	p := open(t, browser(t), dashboard(t, incident), "")
	p.sees("The job lost time.", "live")
	for _, width := range []int64{1280, 390} {
		for _, theme := range []string{"light", "dark"} {
			p.theme(theme)
			for _, view := range views {
				height := int64(900)
				if width == 390 {
					height = 844
				}
				p.run(chromedp.EmulateViewport(width, height))
				p.view(view)
				if place, ok := places[view]; ok {
					p.goTo("#/" + place)
					p.settled()
				}
				if view == "timeline" {
					p.run(chromedp.Click(chromedp.CSS("tbody button")))
					p.sees("Trainer.load_batch()")
				}
				if view == "health" {
					p.until("charts", "document.querySelectorAll('.feeder canvas').length === 2")
				}
				p.picture(view, theme, width, height)
			}
		}
	}
}

func (p *page) picture(view, theme string, width, height int64) {
	p.t.Helper()
	if full := eval[int64](p, "Math.ceil(document.querySelector('main').getBoundingClientRect().bottom + scrollY)"); full > height {
		p.run(chromedp.EmulateViewport(width, min(full, tallest)))
	}
	p.until("drawn", "new Promise(f => requestAnimationFrame(() => requestAnimationFrame(() => f(true))))")
	p.settled()
	must(call(p.ctx, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: input.DispatchMouseEventTypeMouseMoved, X: 1, Y: 1}))(p.t) // over nothing
	p.snap(fmt.Sprintf("%s-%s-%d", view, theme, width))
}

// snap writes a picture of what the tab shows.
func (p *page) snap(name string) {
	p.t.Helper()
	p.until("drawn", "new Promise(f => requestAnimationFrame(() => requestAnimationFrame(() => f(true))))")
	var data []byte
	for range 2 { // the first makes the browser paint what came into sight
		var err error
		if data, err = chromedp.Run(p.ctx, chromedp.CaptureScreenshot()); err != nil {
			p.t.Fatal(err)
		}
	}
	path := filepath.Join(*screens, name+".png")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		p.t.Fatal(err)
	}
	if _, err := exec.LookPath("pngquant"); err == nil { // a quarter of the size
		if out, err := exec.Command("pngquant", "--force", "--skip-if-larger", "--strip", "--output", path, "128", path).CombinedOutput(); err != nil {
			p.t.Logf("pngquant: %v: %s", err, out)
		}
	}
}
