package browser

import (
	"testing"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// axe-core knows what is hard to use for people who see, hear or move less.
var axeCore = npmPackage{"axe-core", "4.14.1", "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="}

// No view has a serious violation, light or dark, wide or narrow.
func TestAccessible(t *testing.T) {
	program := string(axeCore.files(t)["package/axe.min.js"])
	p := open(t, browser(t), dashboard(t, incident), "")
	p.sees("The job lost time.")
	if err := call(p.ctx, runtime.Evaluate, runtime.EvaluateParams{Expression: program}); err != nil {
		t.Fatal(err)
	}
	type violation struct{ ID, Impact, Help, Node string }
	for _, theme := range []string{"light", "dark"} {
		p.theme(theme)
		for _, view := range views {
			p.view(view)
			eval[any](p, `(window.found = null, axe.run(document, {resultTypes: ['violations']}).then(r => { window.found = r.violations.flatMap(v => v.nodes.map(n => ({id: v.id, impact: v.impact, help: v.help, node: n.html.slice(0, 160) + ' ' + (n.any[0]?.message ?? '')}))) }), null)`)
			p.until("axe ends", "window.found !== null")
			for _, v := range eval[[]violation](p, "window.found") {
				if v.Impact == "serious" || v.Impact == "critical" {
					t.Errorf("%s, %s: %s: %s: %s", view, theme, v.ID, v.Help, v.Node)
				} else {
					t.Logf("%s, %s: %s (%s): %s", view, theme, v.ID, v.Impact, v.Node)
				}
			}
		}
	}
}

// At the width of a telephone nothing but tables scrolls sideways, and the
// menu opens.
func TestNarrow(t *testing.T) {
	p := open(t, browser(t), dashboard(t, incident), "")
	p.run(chromedp.EmulateViewport(390, 844))
	for _, view := range views {
		p.view(view)
		p.until("nothing is wider than the screen: "+view, "document.documentElement.scrollWidth <= 390")
	}
	p.run(chromedp.Click(chromedp.CSS(".menu")), chromedp.Click("//nav/a[starts-with(., 'Thieves')]"))
	p.sees("hog")
	p.until("the menu closes", "getComputedStyle(document.querySelector('nav')).display === 'none'")
}
