package trace

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"ingero/internal/bpftest"
	"ingero/internal/event"
)

// server is a real Prometheus that scrapes once a second.
type server struct {
	b   *box
	url string
}

// freePort is one that nobody has now.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (b *box) prometheus(target int, flags ...string) *server {
	b.Helper()
	dir := b.TempDir()
	config := fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: ingero\n  static_configs: [{targets: ['localhost:%d']}]\n", target)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o644); err != nil {
		b.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", freePort(b.T))
	cmd := exec.Command("prometheus", append(flags, "--config.file", filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", address, "--log.level", "warn")...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	return &server{b, "http://" + address}
}

// series is one result of a query.
type series struct {
	Metric map[string]string
	Value  [2]any
}

func (s *server) ask(promql string) ([]series, error) {
	r, err := http.Get(s.url + "/api/v1/query?query=" + url.QueryEscape(promql))
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Status, Error string
		Data          struct{ Result []series }
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Status != "success" {
		return nil, fmt.Errorf("%s: %v %.300s", promql, err, body)
	}
	return answer.Data.Result, nil
}

// value is the one number that a query gives; 0 if there is none yet.
func (s *server) value(promql string) float64 {
	all, err := s.ask(promql)
	if err != nil || len(all) == 0 {
		return 0
	}
	v, _ := strconv.ParseFloat(fmt.Sprint(all[0].Value[1]), 64)
	return v
}

// What a real Prometheus knows is what the job counted itself and what query
// says, in classic and in native histograms; every panel of the dashboard has
// data.
func TestPrometheus(t *testing.T) {
	bpftest.NeedPrometheus(t)
	b := newBox(t)
	port := freePort(t)
	a := b.trace(append(b.libs(), "--prometheus", fmt.Sprintf(":%d", port))...)
	for range 50 { // clients that never ask hurt nobody
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if out, err := exec.Command(bin, "trace", "--record=false", "--prometheus", fmt.Sprintf(":%d", port)).CombinedOutput(); err == nil || !strings.Contains(string(out), "address already in use") {
		t.Errorf("an address in use: %v\n%s", err, out)
	}
	classic, native := b.prometheus(port), b.prometheus(port, "--enable-feature=native-histograms")
	r := b.launch("--steps", "0", "--gap-us", "2000", "--kernel-ns", "1000", "--copy-bytes", "4096", "--threads", "2")
	const launches = `sum(gpu_cuda_operation_count_total{operation="cudaLaunchKernel"})`
	for _, s := range []*server{classic, native} {
		b.until("a few scrapes of the job", func() bool { return s.value(`count_over_time(`+launches+`[1m:1s])`) >= 5 })
	}
	b.panels(classic)
	b.panels(native)
	if err := r.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	truth, err := r.Wait()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*server{classic, native} {
		b.until("the last counts", func() bool { return s.value(launches) == float64(truth.Calls["cudaLaunchKernel"]) })
		for _, row := range event.Calls {
			of := fmt.Sprintf(`{operation="%v",source="%v"}`, row.ID, row.ID.Source())
			want := float64(truth.Calls[row.Exports()[0]])
			if got := s.value(`sum(gpu_cuda_operation_count_total` + of + `)`); got != want {
				t.Errorf("%s: %v calls in Prometheus, %v made", row.Name, got, want)
			}
		}
	}
	const quantile = `histogram_quantile(0.99, sum by (operation) (gpu_cuda_operation_duration_seconds{source="cuda"}))`
	native99, err := native.ask(quantile)
	if err != nil {
		t.Fatal(err)
	}
	if n := classic.value(`sum(gpu_cuda_operation_duration_seconds_bucket{operation="cudaLaunchKernel",le="+Inf"})`); n != float64(truth.Calls["cudaLaunchKernel"]) {
		t.Errorf("%v launches in classic buckets", n)
	}
	a.stop()
	b.sameP99(native99)
	if _, err := http.Get(fmt.Sprintf("http://localhost:%d/metrics", port)); err == nil {
		t.Error("somebody still answers after the end")
	}
}

// sameP99 compares with query. A bucket is 2.2 % wide, and moved by 0.6 %.
func (b *box) sameP99(all []series) {
	b.Helper()
	want, compared := map[string]float64{}, 0
	for _, op := range b.query("--limit", "0").Ops {
		if op.Count >= 1000 {
			want[op.Op] = float64(op.P99NS) / 1e9
		}
	}
	for _, s := range all {
		got, err := strconv.ParseFloat(fmt.Sprint(s.Value[1]), 64)
		ours := want[s.Metric["operation"]]
		if ours == 0 {
			continue
		}
		compared++
		if err != nil || math.Abs(got/ours-1) > 0.03 {
			b.Errorf("p99 of %s: %v s in Prometheus, %v s in query", s.Metric["operation"], got, ours)
		}
	}
	if compared == 0 {
		b.Errorf("no p99 to compare: %v and %v", all, want)
	}
}

// panels asks what the dashboard asks.
func (b *box) panels(s *server) {
	b.Helper()
	text, err := os.ReadFile("../../docs/grafana/ingero.json")
	if err != nil {
		b.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Annotations struct{ List []struct{ Expr string } }
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		b.Fatal(err)
	}
	variables := strings.NewReplacer("$__rate_interval", "5s", "$__range", "1m", "$instance", ".*", "$process", ".*")
	ask := func(title, expr string) int {
		all, err := s.ask(variables.Replace(expr))
		if err != nil {
			b.Errorf("%s: %v", title, err)
		}
		return len(all)
	}
	asked := 0
	for _, p := range dashboard.Panels {
		for _, q := range p.Targets {
			asked++
			if ask(p.Title, q.Expr) > 0 {
				continue
			}
			// There is no GPU, no disk or socket in use, and all may be well.
			if !strings.Contains(q.Expr, "hw_") && !strings.Contains(q.Expr, "gpu_throttled") && !strings.Contains(q.Expr, "anomaly") &&
				!strings.Contains(q.Expr, "block|network") && !strings.Contains(q.Expr, `feeder="false"`) {
				b.Errorf("%s: no data for %s", p.Title, q.Expr)
			}
		}
	}
	for _, l := range dashboard.Annotations.List {
		ask("annotation", l.Expr)
	}
	if asked < 30 {
		b.Errorf("%d queries in the dashboard only", asked)
	}
}
