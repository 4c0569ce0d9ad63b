package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// speedscope shows profiles: https://github.com/jlfwong/speedscope.
var speedscope = npmPackage{"speedscope", "1.25.0", "sha512-cpf9HWTZf1ijLXBJrk87Ve/54tnYx6rlf0gUThvn3ook6h63hLXVOQiMf44PT+XoV503cPfvfiT5gP5vojp6Ag=="}

// What we export opens in speedscope: its profiles by their names, with the
// calls and their stacks.
func TestSpeedscope(t *testing.T) {
	release := speedscope.files(t)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{name}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, r.PathValue("name"), time.Time{}, bytes.NewReader(release["package/dist/release/"+r.PathValue("name")]))
	})
	dir := t.TempDir()
	mux.Handle("GET /exported/", http.StripPrefix("/exported/", http.FileServer(http.Dir(dir))))
	server := httptest.NewServer(mux)
	defer server.Close()
	ctx := browser(t)
	for _, c := range []struct{ format, file, picture, profile, function string }{
		{"chrome", "trace.json", "chrome", "gpu-node-01 python3 (pid 7954), python3 (tid 7954) (1/4)", "cudaStreamSync\n"},
		{"speedscope", "profile.json", "lost", "lost time: waiting for a CPU, or blocked (1/2)", "main (train.py:172)"},
	} {
		t.Run(c.format, func(t *testing.T) {
			out := filepath.Join(dir, c.file)
			if text, err := exec.Command(program(t), "export", "--format", c.format, "-d", incident, "-o", out).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			p := foreign(t, ctx, server.URL+"/index.html#profileURL="+server.URL+"/exported/"+c.file)
			p.sees("Left Heavy", c.profile)
			p.tab("Left Heavy")
			if *screens != "" {
				p.snap("speedscope-" + c.picture)
			}
			p.tab("Sandwich")
			p.sees(c.function)
		})
	}
}

// foreign opens a page of another program, which may warn and ask for what it
// likes.
func foreign(t *testing.T, ctx context.Context, address string) *page {
	t.Helper()
	ctx, cancel := chromedp.NewContext(ctx)
	p := &page{t: t, ctx: ctx}
	t.Cleanup(func() { p.check(); cancel() })
	must(call(ctx, runtime.Enable, cdp.Empty{}))(t)
	watch(p, runtime.ExceptionThrown, func(e runtime.EventExceptionThrown) {
		text, _ := json.Marshal(e.ExceptionDetails)
		p.problem("exception: %s", text)
	})
	p.run(chromedp.EmulateViewport(1280, 720), chromedp.Navigate(address))
	return p
}

// tab goes to one of speedscope's views, which are named after their symbol.
func (p *page) tab(name string) {
	p.t.Helper()
	eval[any](p, fmt.Sprintf("([...document.querySelectorAll('div')].filter(e => e.textContent.length < %d && e.textContent.endsWith(%q)).pop().click(), null)", len(name)+4, name))
}
