// Package browser tests the dashboard in Chromium, on a recorded incident, and
// takes the pictures of docs/screens.
package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

const (
	root     = "../.."
	incident = "testdata/incident.db"
	patience = 30 * time.Second // for anything to appear, on a busy machine
)

// binary is the program under test, built once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "ingero-browser-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "ingero")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/ingero")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

func program(t *testing.T) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMain(m *testing.M) {
	os.Setenv("TZ", "UTC") // of the browser, the program and the tests
	time.Local = time.UTC
	code := m.Run()
	if path, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// skip skips, unless that is forbidden.
func skip(t *testing.T, variable, why string) {
	t.Helper()
	if os.Getenv(variable) != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// browser starts Chromium, which ends with the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		skip(t, "REQUIRE_BROWSER", "needs chromium: apt-get install --no-install-recommends chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.WindowSize(1280, 900), chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", true), chromedp.Flag("force-color-profile", "srgb"))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal("start chromium:", err)
	}
	return ctx
}

// dashboard serves a database and returns its address.
func dashboard(t *testing.T, db string, env ...string) string {
	t.Helper()
	cmd := exec.Command(program(t), "dashboard", "--no-tls", "--addr", "127.0.0.1:0", "-d", db)
	cmd.Env = append(os.Environ(), env...)
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if _, at, ok := strings.Cut(lines.Text(), "listening on "); ok {
			go func() {
				for lines.Scan() {
				}
			}()
			return strings.TrimSpace(at)
		}
	}
	t.Fatal("the dashboard does not start")
	return ""
}

// page is a tab. What must never happen in one fails the test.
type page struct {
	t    *testing.T
	ctx  context.Context
	base string

	mu       sync.Mutex
	problems []string
	expected string // see expect
}

// open opens a place of the dashboard in a tab of its own.
func open(t *testing.T, ctx context.Context, base, place string) *page {
	t.Helper()
	ctx, cancel := chromedp.NewContext(ctx)
	p := &page{t: t, ctx: ctx, base: base}
	t.Cleanup(func() { p.check(); cancel() })
	must(call(ctx, log.Enable, cdp.Empty{}))(t)
	must(call(ctx, network.Enable, network.EnableParams{}))(t)
	must(call(ctx, runtime.Enable, cdp.Empty{}))(t)
	p.listen()
	p.run(chromedp.Navigate(base + place))
	return p
}

func call[P, R any](ctx context.Context, c cdp.Command[P, R], params P) error {
	_, err := chromedp.Call(ctx, c, params)
	return err
}

func must(err error) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// listen watches for what must not happen, until the tab is closed.
func (p *page) listen() {
	watch(p, log.EntryAdded, func(e log.EventEntryAdded) { // also violations of the content security policy
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			p.problem("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	})
	watch(p, runtime.ConsoleAPICalled, func(e runtime.EventConsoleAPICalled) {
		if e.Type == "error" || e.Type == "warning" {
			text, _ := json.Marshal(e.Args)
			p.problem("console: %s", text)
		}
	})
	watch(p, runtime.ExceptionThrown, func(e runtime.EventExceptionThrown) {
		text, _ := json.Marshal(e.ExceptionDetails)
		p.problem("exception: %s", text)
	})
	watch(p, network.RequestWillBeSent, func(e network.EventRequestWillBeSent) {
		if u, err := url.Parse(e.Request.URL); err == nil && u.Scheme != "data" && !strings.HasPrefix(e.Request.URL, p.base) {
			p.problem("a request leaves for %s", e.Request.URL)
		}
	})
}

func watch[E any](p *page, event cdp.Event[E], f func(E)) {
	events := chromedp.Events(p.ctx, event)
	go func() {
		for e, err := range events {
			if err != nil {
				return
			}
			f(e)
		}
	}()
}

func (p *page) problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.expected == "" || !strings.Contains(text, p.expected) {
		p.problems = append(p.problems, text)
	}
}

// expect makes problems that contain a text none: the test brings them about.
func (p *page) expect(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected = text
}

func (p *page) check() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, x := range p.problems {
		p.t.Errorf("%s", x)
	}
	p.problems = nil
}

func (p *page) run(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatal(err)
	}
}

// eval evaluates an expression in the page.
func eval[T any](p *page, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

// until waits for a condition in the page. What is not there yet is no error.
func (p *page) until(what, condition string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Poll[chromedp.Void]("(() => { try { return !!("+condition+") } catch { return false } })()", chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(0))); err != nil {
		text, _ := chromedp.Run(p.ctx, chromedp.Evaluate[string]("document.body.innerText"))
		p.t.Fatalf("%s: %v; the page says:\n%.3000s", what, err, text)
	}
}

// sees waits until the page shows all these texts.
func (p *page) sees(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		quoted, _ := json.Marshal(text)
		p.until("see "+text, fmt.Sprintf("document.body.innerText.includes(%s)", quoted))
	}
}

// goTo goes to another place by its address.
func (p *page) goTo(hash string) {
	p.t.Helper()
	quoted, _ := json.Marshal(hash)
	eval[any](p, fmt.Sprintf("(location.hash = %s, null)", quoted))
}

// view goes to a view and waits until it is there.
func (p *page) view(name string) {
	p.t.Helper()
	p.goTo("#/" + name)
	p.until("view "+name, fmt.Sprintf("document.querySelector('nav [aria-current]').hash.startsWith('#/%s')", name))
	p.settled()
}

// theme makes the page light or dark, as the system would.
func (p *page) theme(name string) {
	p.t.Helper()
	must(call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
	}))(p.t)
	p.until(name, fmt.Sprintf("document.documentElement.dataset.theme === %q", name))
}

// settled waits until no question is on its way.
func (p *page) settled() {
	p.t.Helper()
	p.until("answers arrive", "document.querySelector('main h1, main .panel, main .empty, main .verdict') && !document.querySelector('main .wait')")
}

// ask asks the program the same question on the command line.
func ask[T any](t *testing.T, db, question string, args ...string) (v T) {
	t.Helper()
	out, err := exec.Command(program(t), append([]string{"query", question, "-d", db, "--json"}, args...)...).Output()
	if err != nil {
		t.Fatal(question, err)
	}
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
