package store

import (
	"context"
	"crypto/sha256"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ingero/internal/event"
)

// recordingsDir finds the recordings of older versions or skips the test.
func recordingsDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("INGERO_RECORDINGS")
	if dir == "" {
		dir = "../../../shared/recordings"
	}
	if m, _ := filepath.Glob(filepath.Join(dir, "*.db")); len(m) == 0 {
		t.Skip("no recordings of older versions: set INGERO_RECORDINGS to their directory")
	}
	return dir
}

// hashes returns the name, content and time of every file below dir.
func hashes(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		all[path] = string(sum[:]) + info.ModTime().String()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func sameFiles(t *testing.T, before, after map[string]string) {
	t.Helper()
	for path, h := range after {
		if before[path] == "" {
			t.Errorf("%s was created", path)
		} else if before[path] != h {
			t.Errorf("%s was changed", path)
		}
	}
	for path := range before {
		if after[path] == "" {
			t.Errorf("%s was removed", path)
		}
	}
}

// The totals were taken with sqlite3 from event_aggregates, or from events
// for recordings without aggregates.
var recordingTotalsWant = []struct {
	file     string
	counts   map[string]uint64
	sums     map[string]uint64
	events   int64
	switches int64 // total off-CPU time of stored sched_switch events
}{
	{"pytorch-173382-empty-cache.db",
		map[string]uint64{"cudaMalloc": 51, "cudaFree": 54, "cudaLaunchKernel": 31074, "cuLaunchKernel": 31659, "sched_switch": 266, "mm_page_alloc": 249, "net_recv": 41},
		map[string]uint64{"cudaMalloc": 10807097, "cudaLaunchKernel": 508027641, "sched_switch": 56326051496}, 3486, 4773608157},
	{"pytorch-dataloader-starvation.db",
		map[string]uint64{"cudaMalloc": 7, "cudaLaunchKernel": 30, "cudaMemcpyAsync": 21, "cuLaunchKernel": 75, "sched_switch": 191835, "mm_page_alloc": 1430581, "cuCtxSynchronize": 3},
		map[string]uint64{"cudaMemcpyAsync": 665589021, "cudaDeviceSync": 51702862}, 3807, 1473425940},
	{"vllm-37343-logprobs-amplification.db",
		map[string]uint64{"cudaLaunchKernel": 550, "cudaMemcpyAsync": 734, "cuLaunchKernel": 1672, "sched_switch": 7757},
		map[string]uint64{"cudaLaunchKernel": 169962071}, 10869, 15060305378},
	{"sample-cluster.db",
		map[string]uint64{"sched_switch": 219, "cuMemAlloc": 76, "block_read": 98, "block_write": 207},
		map[string]uint64{"cuMemAlloc": 11458833}, 600, 6082845828},
	{"sample-gpu-node-01.db", map[string]uint64{"sched_switch": 99, "block_read": 98, "block_write": 3}, nil, 200, 75141782},
	{"sample-gpu-node-02.db", map[string]uint64{"cuMemAlloc": 40}, nil, 200, 3103797436},
	{"sample-gpu-node-03.db", map[string]uint64{"cuMemAlloc": 36}, nil, 200, 2903906610},
}

func TestRecordingsAnswerAndStayAsTheyAre(t *testing.T) {
	dir := recordingsDir(t)
	before := hashes(t, dir)
	ctx := context.Background()
	for _, want := range recordingTotalsWant {
		t.Run(want.file, func(t *testing.T) {
			r, err := Open(filepath.Join(dir, want.file))
			if err != nil {
				t.Fatal(err)
			}
			if !r.Recording() {
				t.Error("not recognised as a recording")
			}
			totals, err := r.Totals(ctx, Filter{}, false)
			if err != nil {
				t.Fatal(err)
			}
			counts, sums := map[string]uint64{}, map[string]uint64{}
			for _, row := range totals.Rows {
				counts[row.Op.String()] = row.Hist.Count()
				sums[row.Op.String()] = row.Hist.Sum()
			}
			for op, n := range want.counts {
				if counts[op] != n {
					t.Errorf("%s: count %d, want %d", op, counts[op], n)
				}
			}
			for op, n := range want.sums {
				if sums[op] != n {
					t.Errorf("%s: sum %d, want %d", op, sums[op], n)
				}
			}
			byProcess, err := r.Totals(ctx, Filter{}, true)
			if err != nil {
				t.Fatal(err)
			}
			split := map[string]uint64{}
			for _, row := range byProcess.Rows {
				split[row.Op.String()] += row.Hist.Count()
			}
			for op, n := range counts {
				if split[op] != n {
					t.Errorf("%s: %d over all processes, want %d", op, split[op], n)
				}
			}
			table, err := r.SQL(ctx, "SELECT count(*), sum(duration) FILTER (WHERE source = 3 AND op = 1), count(node), sum(bytes) FROM events", Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if got := table.Rows[0]; got[0] != want.events || got[1] != want.switches || got[2] != want.events {
				t.Errorf("SQL: got %v, want %d %d", got, want.events, want.switches)
			}
			all, err := r.Events(ctx, Filter{}, int(want.events)+1)
			if err != nil || len(all) != int(want.events) {
				t.Errorf("%d events, %v; want %d", len(all), err, want.events)
			}
			if _, err := r.Coverage(ctx, Filter{}); err != nil {
				t.Error(err)
			}
			oldest, newest, err := r.Span(ctx)
			if err != nil || oldest == 0 || newest <= oldest {
				t.Errorf("span %d to %d, %v", oldest, newest, err)
			}
		})
	}
	sameFiles(t, before, hashes(t, dir))
}

func TestContextSwitchesOfRecordingsStartAtTheirStart(t *testing.T) {
	r, err := Open(filepath.Join(recordingsDir(t), "vllm-37343-logprobs-amplification.db"))
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	// The first stored row: timestamp 1774099485937549222, duration 100116218.
	table, err := r.SQL(ctx, "SELECT timestamp, duration FROM events WHERE id = 1", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	const start = 1774099485937549222 - 100116218
	if got := table.Rows[0][0]; got != int64(start) {
		t.Errorf("starts at %v, want %d", got, int64(start))
	}
	events, err := r.Events(ctx, Filter{From: start, To: start + 1}, 10)
	if err != nil || len(events) != 1 || events[0].Op != event.MakeOp(event.Host, 1) || events[0].Seq != 1 {
		t.Errorf("events %+v, %v", events, err)
	}
}

func TestRecordingsAreNotRecordedInto(t *testing.T) {
	dir := recordingsDir(t)
	b, err := os.ReadFile(filepath.Join(dir, "sample-gpu-node-01.db"))
	if err != nil {
		t.Fatal(err)
	}
	own := t.TempDir()
	path := filepath.Join(own, "old.db")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	before := hashes(t, own)
	w, err := Create(path, Options{Node: "n"})
	if err == nil {
		w.Close()
		t.Fatal("recorded into a recording of an older ingero")
	}
	if !strings.Contains(err.Error(), "another path with --db") {
		t.Errorf("no remedy in %q", err)
	}
	sameFiles(t, before, hashes(t, own))
}
